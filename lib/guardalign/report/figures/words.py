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


def caption(table: pd.DataFrame, more: str = "", level: float = 0.95) -> str:
    """What the rows that a figure shows rest on, as far as their columns tell: prompts, seeds, judge, intervals."""
    if table.empty:
        return more
    seeds = int(table["seeds"].max())
    parts = [f"{span(table['conversations'])} conversations × {count(seeds, 'seed')}"]
    if "dimension" in table:
        parts[0] = f"{span((table['n'] / table['seeds'].clip(lower=1)).round())} judged prompts of {parts[0]}"
    parts += [f"judge: {', '.join(sorted(table['judge'].unique()))}"] if "judge" in table else []
    over = "seeds and conversations" if seeds > 1 else "conversations, of these trained models"
    parts += [f"{100 * level:.0f} % intervals over {over}"]
    for name, words in (("invalid", "invalid verdicts"), ("flips", "preference changes with the order")):
        if name in table and table[name].max() > 0:
            parts.append(f"{words}: at most {100 * table[name].max():.1f} %")
    return f"{'; '.join(parts)}. {more.strip()}".strip()


def p_value(value: float) -> str:
    if isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


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
