"""How figures write numbers, and the captions that describe their origin."""

from __future__ import annotations

from math import isnan

import pandas as pd

HOLD = "\N{NO-BREAK SPACE}"


def interval(value: float, low: float, high: float, digits: int = 0, signed: bool = False) -> str:
    """Fractions as percent: ``65 [61, 69]`` held on one line; without brackets if there is no interval."""
    sign = "+" if signed else ""
    number = minus(f"{100 * value:{sign}.{digits}f}")
    if isnan(low):
        return number
    ends = [minus(f"{100 * end:{sign}.{digits}f}") for end in (low, high)]
    return f"{number}{HOLD}[{ends[0]},{HOLD}{ends[1]}]"


def caption(rates: pd.DataFrame, more: str = "") -> str:
    """Prompts, seeds, judge and intervals of the rows of ``stats.table`` that a figure shows."""
    if rates.empty:
        return more
    seeds = int(rates["seeds"].max())
    per_seed = (rates["n"] / rates["seeds"].clip(lower=1)).round()
    parts = [
        f"{span(per_seed)} judged prompts of {span(rates['conversations'])} conversations × {count(seeds, 'seed')}",
        f"judge: {', '.join(sorted(rates['judge'].unique()))}",
        f"{100 * rates['level'].iloc[0]:.0f} % intervals of "
        + ("the methods" if seeds > 1 else "these trained models"),
    ]
    parts += [f"invalid verdicts: at most {100 * rates['invalid'].max():.1f} %"] if rates["invalid"].max() else []
    if not rates["flips"].isna().all():
        parts.append(f"preference changes with the order: at most {100 * rates['flips'].max():.1f} %")
    return "; ".join(parts) + "." + (f" {more}" if more else "")


def count(number: int, word: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def span(values: pd.Series) -> str:
    """``40`` or ``40–160``: the range of whole numbers."""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def minus(number: str) -> str:
    """A number with a minus sign, and none before a zero: ``-0.0`` → ``0.0``."""
    return number.lstrip("+-") if not number.strip("+-0.") else number.replace("-", "−")
