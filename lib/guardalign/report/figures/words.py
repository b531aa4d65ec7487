"""What a figure says in words: findings for titles, and captions that say how the numbers came about."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan

import pandas as pd

from guardalign.papers import mathtext
from guardalign.stats import opponents

Name = Callable[[str], str]
KEEPS = {
    "adherence": "keeps its guardrails",
    "naturalness": "sounds natural",
    "hallucination": "stays with the known facts",
}
HOLD = "\N{NO-BREAK SPACE}"


def interval(value: float, low: float, high: float, digits: int = 0, signed: bool = False) -> str:
    """Fractions as percent: ``65 [61, 69]`` held on one line; without brackets where there is no interval."""
    sign = "+" if signed else ""
    number = _minus(f"{100 * value:{sign}.{digits}f}")
    if isnan(low):
        return number
    ends = [_minus(f"{100 * end:{sign}.{digits}f}") for end in (low, high)]
    return f"{number}{HOLD}[{ends[0]},{HOLD}{ends[1]}]"


def finding(row: pd.Series, name: Name = mathtext) -> str:
    """One sentence on who is ahead on the row's dimension, by how much, and whether that is more than chance.

    ``row`` is one of ``stats.table``'s. Ahead means acceptable on more prompts.
    """
    ahead, behind = ("arm_1", "arm_2") if row["net"] >= 0 else ("arm_2", "arm_1")
    sign = 1 if ahead == "arm_1" else -1
    low, high = sorted((sign * row["net_low"], sign * row["net_high"]))
    points = interval(sign * row["net"], low, high, 1, signed=True) + f"{HOLD}points"
    does = KEEPS.get(row["dimension"], row["dimension"])
    if row["n"] == 0:
        return f"{name(row['arm_1'])} and {name(row['arm_2'])}: no valid verdict on {row['dimension']}"
    if row["clear"]:
        return f"{name(row[ahead])} {does} more often than {name(row[behind])}: {points}"
    return f"No clear difference in {row['dimension']} between {name(row[ahead])} and {name(row[behind])}: {points}"


def caption(rates: pd.DataFrame, profile: str = "", more: str = "") -> str:
    """n, judge, orders, interval, seeds and profile of the rows that a figure shows."""
    if rates.empty:
        return more
    level = f"{100 * rates['level'].iloc[0]:.0f} %"
    parts = [
        f"n = {span(rates['n'])} judged prompts of {span(rates['conversations'])} conversations",
        f"judge: {', '.join(sorted(rates['judge'].unique()))}",
        f"{span(rates['orders'])} order{'s' if rates['orders'].max() > 1 else ''} a prompt",
        f"{level} intervals of " + ("the methods" if rates["seeds"].max() > 1 else "these trained models"),
        f"{span(rates['seeds'])} training seed{'s' if rates['seeds'].max() > 1 else ''}",
        f"invalid verdicts {100 * rates['invalid'].max():.1f} %" + _at_most(rates["invalid"]),
    ]
    if not rates["flips"].isna().all():
        parts.append(f"position flips {100 * rates['flips'].max():.1f} %" + _at_most(rates["flips"]))
    moved = _opponents_effect(rates)
    parts += [f"an arm’s win rate moves by at most {moved:.1f} points with its opponent"] if moved is not None else []
    parts += [f"profile: {profile}"] if profile else []
    return "; ".join(parts) + "." + (f" {more}" if more else "")


def _opponents_effect(rates: pd.DataFrame) -> float | None:
    """Points; None where no arm met two opponents, so that there is nothing to say."""
    sides = opponents(rates)
    sides = sides[sides["arm"] != "chosen"]  # the data's own replies are no arm
    if sides.groupby("arm")["opponent"].nunique().max() < 2:
        return None
    return float(100 * sides["range"].max())


def span(values: pd.Series) -> str:
    """``40`` or ``40–160``: the range of whole numbers."""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _at_most(values: pd.Series) -> str:
    return " at most" if values.nunique() > 1 else ""


def _minus(number: str) -> str:
    return number.replace("-", "−")
