"""How numbers and arms are written in a page; everything from outside is escaped here or by jinja2."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from guardalign.papers import notation

KEEPS = {
    "adherence": "keeps all its guardrails on",
    "naturalness": "sounds natural on",
    "hallucination": "stays with the known facts on",
}


def arm(name: str) -> Markup:
    """The paper's notation with real sub- and superscripts."""
    letter, stage, method = notation(str(name))
    text = Markup("<i>{}</i>").format(letter) if stage or method else escape(letter)
    text += Markup("<sub>{}</sub>").format(stage) if stage else ""
    return text + (Markup("<sup>{}</sup>").format(method) if method else "")


def percent(value: float, digits: int = 0) -> str:
    """0.654 → ``65``; minus is a minus sign."""
    return f"{100 * value:.{digits}f}".replace("-", "−")


def share(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.1f} %"


def p_value(value: float) -> str:
    if pd.isna(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def plain(cell: Any) -> str:
    """A table's cell: four significant digits, nothing for a missing value."""
    if isinstance(cell, float):
        return "" if pd.isna(cell) else f"{cell:.4g}".replace("-", "−")
    return str(cell)


def script_json(text: str) -> Markup:
    """JSON that may stand in a script element: no text in it can end the element or start a comment."""
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def headline(row: pd.Series) -> Markup:
    """The finding of one comparison and dimension, with its uncertainty, in a sentence."""
    if row["n"] == 0:
        return Markup("No valid verdict on {} against {}.").format(arm(row["arm_1"]), arm(row["arm_2"]))
    does = KEEPS.get(row["dimension"], f"is acceptable in {row['dimension']} on")
    rates = [
        f"{percent(row[f'win_{side}'])} % [{percent(row[f'win_{side}_low'])}, {percent(row[f'win_{side}_high'])}]"
        for side in (1, 2)
    ]
    points = f"{percent(-row['net'], 1)} [{percent(-row['net_high'], 1)}, {percent(-row['net_low'], 1)}]"
    tested = "" if pd.isna(row["p_holm"]) else f" (p = {p_value(row['p_holm'])}, Holm-corrected)"
    ends = "" if row["clear"] else " No difference detected."
    return Markup("{} {} {} of prompts, {} on {}: a difference of {} points{}.{}").format(
        arm(row["arm_2"]), does, rates[1], arm(row["arm_1"]), rates[0], points, tested, ends
    )


def training_seeds(count: int) -> str:
    """What the intervals of so many training seeds cover."""
    if count > 1:
        return f"{count} training seeds; intervals cover conversations and seeds."
    return "One training seed: intervals cover the choice of conversations, not what training again would change."


def lead(row: pd.Series, start: pd.Series) -> Markup:
    """One arm's held-out accuracy beside that of the arm it started from (rows of ``heldout.table``)."""
    shares = [
        f"{percent(each['accuracy'])} % [{percent(each['accuracy_low'])}, {percent(each['accuracy_high'])}]"
        for each in (row, start)
    ]
    points = f"{percent(row['lead'], 1)} [{percent(row['lead_low'], 1)}, {percent(row['lead_high'], 1)}]"
    clear = row["lead_low"] > 0 or row["lead_high"] < 0
    ends = "" if clear else " No difference detected."
    does = "{} prefers the chosen reply in {} of {} held-out pairs, {} in {}"
    return Markup(does + ": a difference of {} points.{}").format(
        arm(row["arm"]), shares[0], row["n"], arm(start["arm"]), shares[1], points, ends
    )


def summary(rates: pd.DataFrame) -> str:
    """How many comparisons differ on each dimension."""
    parts = []
    for dimension, rows in rates.groupby("dimension", sort=False):
        parts.append(f"{int(rows['clear'].sum())} of {len(rows)} in {dimension}")
    return f"Comparisons whose interval excludes zero: {'; '.join(parts)}."
