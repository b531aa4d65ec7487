"""Readable tables: columns with names and units, intervals in one cell, no powers of ten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import pandas as pd

from guardalign.report.figures.looks import plain
from guardalign.report.figures.words import interval, minus, p_value

POINTS, PERCENT = "points", "%"
HEADINGS = {
    "arm_1": "arm 1", "arm_2": "arm 2", "n": "prompts × seeds", "p_holm": "p (Holm)",
    "seconds": "training, s", "seconds_in_all": "with the arms it starts from, s", "steps": "optimizer steps",
    "logical_tokens": "tokens of all pairs", "unique_tokens": "tokens computed",
    "detectable": "smallest difference found with 80 % power", "sd_seeds": "SD between seeds",
    "sd_conversations": "SD between conversations", "sd_rest": "SD of the rest",
    "nll": "nats per token of the chosen reply", "accuracy": "chosen reply more likely",
    "per_token": "the same per token", "gain": "margin grew", "lead": "above its start", "words": "words per reply",
    "chosen_change": "chosen reply’s log-probability moved, nats", "repetition": "repeated 3-grams",
    "cut_off": "cut off", "win_1": "win rate of 1", "win_2": "win rate of 2", "strict": "strict win rate of 1",
    "net": "1 better − 2 better", "invalid": "invalid verdicts", "flips": "changes with the order",
    "first_preferred": "first shown preferred", "beta": "β",
    "chosen_preferred": "chosen reply preferred", "separated": "only the chosen reply acceptable",
    "preferred": "prefers 1, ties half", "canned": "replies with a canned phrase", "here": "this run",
    "paper hh": "paper B, HH", "paper tldr": "paper B, TL;DR", "paper alpaca_eval": "paper B, AlpacaEval 2.0",
}  # fmt: skip
UNITS = dict.fromkeys(
    ("accuracy", "per_token", "gain", "repetition", "cut_off", "win", "win_1", "win_2", "strict", "kept", "invalid",
     "flips", "first_preferred", "chosen_preferred", "separated",
     "preferred", "worth", "agreement", "canned", "here", "paper hh", "paper tldr",
     "paper alpaca_eval"), PERCENT,
) | dict.fromkeys(("net", "lead", "detectable", "sd_seeds", "sd_conversations", "sd_rest"), POINTS)  # fmt: skip
"""Columns that hold fractions, and what they are shown in."""


def readable(
    table: pd.DataFrame, columns: Sequence[str] = (), units: Mapping[str, str] = UNITS, signed: bool = False
) -> pd.DataFrame:
    """A copy of text: ``x`` with ``x_low`` and ``x_high`` becomes one column, arms are named in words.

    ``columns`` are those shown (default: all that have a value). ``n`` of several seeds is prompts × seeds. ``signed``:
    with a plus in intervals.
    """
    shown: dict[str, list[str]] = {}
    for name in columns or map(str, table.columns):
        stem = name.removesuffix("_low").removesuffix("_high")
        idle = table[name].isna().all() or name in ("level", "comparison", "seeds") or (stem != name and stem in table)
        if idle and name not in columns:
            continue
        unit = units.get(name, "")
        scale, digits = (1, int(unit == POINTS or name.startswith("paper"))) if unit else (0.01, 2)
        if f"{name}_low" in table:
            spans = zip(*(scale * table[f"{name}{end}"] for end in ("", "_low", "_high")), strict=True)
            cells = ["–" if pd.isna(x) else interval(x, low, high, digits, signed) for x, low, high in spans]
        elif name == "n" and "seeds" in table:
            cells = [f"{int(n / max(s, 1)):,} × {s}" for n, s in zip(table["n"], table["seeds"], strict=True)]
        elif name in ("arm", "arm_1", "arm_2", "method", "start"):
            cells = [plain(value) for value in table[name]]
        elif name == "p_holm":
            cells = [p_value(value) for value in table[name]]
        else:
            cells = [cell(value) for value in (100 * table[name] if unit else table[name])]
        heading = HEADINGS.get(name, name.replace("_", " "))
        if name.startswith("conversations_"):
            heading = f"conversations for 5 points, {name.rpartition('_')[2]} seed(s)"
        shown[heading + (f", {unit}" if unit else "")] = cells
    return pd.DataFrame(shown)


def cell(value: Any) -> str:
    """Whole numbers with separators, others with three significant digits, never a power of ten; – for nothing."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, Number):
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    if number == float("inf"):
        return "more than 10,000"
    if number == round(number):
        return minus(f"{number:,.0f}")
    if abs(number) >= 1e-4:
        digits = max(0, 2 - int(f"{number:e}".partition("e")[2]))
        return minus(f"{number:,.{digits}f}")
    return minus(f"{number:.2g}".replace("e-0", "e-"))
