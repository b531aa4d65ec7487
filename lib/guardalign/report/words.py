"""How numbers, arms and findings are written in a page; everything from outside is escaped here or by jinja2."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from guardalign.papers import notation as parts
from guardalign.report.figures.looks import plain
from guardalign.report.figures.words import count, interval, p_value

DOES = {
    "adherence": "keeps all guardrails on",
    "applications": "keeps",
    "naturalness": "sounds natural on",
    "hallucination": "invents nothing on",
}
GLOSSARY = (
    ("guardrail", "a rule that the operator of the bot wrote, such as “never promise a refund”"),
    ("application", "one guardrail that applies to the reply to one prompt"),
    ("adherence", "the reply keeps all guardrails that apply"),
    ("naturalness", "the reply continues the conversation naturally"),
    ("hallucination", "here: the reply stays with what guardrails and conversation say, and invents nothing"),
    ("win rate", "paper A’s: the share of prompts where the arm is better or both are acceptable; two win rates may add to more than 100 %"),  # noqa: E501
    ("strict win rate", "better counts 1, both acceptable and none acceptable count ½"),
    ("difference", "the share of prompts where only the second arm’s reply is acceptable, minus the share where only the first arm’s is, in points"),  # noqa: E501
    ("SFT", "fine-tuning on the chosen replies"),
    ("IPO, KTO, DPO, …", "preference alignment: training on pairs of a chosen and a rejected reply"),
    ("named beforehand", "decided on before any result was seen; p-values are Holm-corrected over these contrasts and all others are exploration"),  # noqa: E501
)  # fmt: skip
"""Terms and what they mean."""


def notation(name: str) -> Markup:
    """The paper's notation with real sub- and superscripts; "" for arms that the papers do not have."""
    letter, stage, method = parts(str(name))
    if not (stage or method) or method not in ("", "ipo", "kto"):
        return Markup("")
    text = Markup("<i>{}</i>").format(letter)
    text += Markup("<sub>{}</sub>").format(stage) if stage else ""
    return text + (Markup("<sup>{}</sup>").format(method) if method else "")


def sentence(row: pd.Series | dict[str, Any], level: float = 0.95) -> Markup:
    """The result of one contrast on one measure: a row of ``tables.differences``.

    The interval, of ``level``, is in the direction of the words; it and the p-value tell whether a difference was
    detected.
    """
    less = row["difference"] < 0
    ends = (-row["high"], -row["low"]) if less else (row["low"], row["high"])
    points = interval(abs(row["difference"]) / 100, ends[0] / 100, ends[1] / 100, 1)
    number, _, brackets = points.partition("\N{NO-BREAK SPACE}")
    tested = "" if pd.isna(row["p"]) else f", p {'' if row['p'] < 0.001 else '= '}{p_value(row['p'])} (Holm)"
    clear = (row["low"] > 0 or row["high"] < 0) and not row["p"] >= 1 - level
    what = "guardrail applications" if row["measure"] == "applications" else "prompts"
    basis = f"{count(int(row['seeds']), 'seed')} × {int(row['conversations']):,} conversations{tested}"
    by = f"{number} points {'fewer' if less else 'more'} of the {what} than" if float(number) else f"as many {what} as"
    return Markup("<b>{}</b> {} {} <b>{}</b> {}, {}.{}").format(
        plain(row["arm_2"]), DOES[str(row["measure"])], by, plain(row["arm_1"]), brackets, basis,
        "" if clear else " No difference detected.",
    )  # fmt: skip


def training_seeds(number: int) -> str:
    """What intervals over this number of training seeds cover."""
    if number > 1:
        return f"{number} training seeds: intervals cover the choice of conversations and of seeds."
    return "One training seed: intervals are of these trained models, not of what training again would change."


def lead(row: pd.Series, start: pd.Series) -> Markup:
    """One arm's held-out accuracy next to that of the arm it started from (rows of ``heldout.table``)."""
    shares = [interval(each["accuracy"], each["accuracy_low"], each["accuracy_high"]) for each in (row, start)]
    points = interval(row["lead"], row["lead_low"], row["lead_high"], 1, signed=True)
    clear = row["lead_low"] > 0 or row["lead_high"] < 0
    does = "<b>{}</b> finds the chosen reply more likely in {} % of {} held-out pairs, <b>{}</b> in {} %"
    return Markup(does + ": a difference of {} points.{}").format(
        plain(row["arm"]), shares[0], int(row["n"]), plain(start["arm"]), shares[1], points,
        "" if clear else " No difference detected.",
    )  # fmt: skip
