"""Arms compared without a judge: how often each prefers the data's own chosen reply."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from guardalign.papers import mathtext
from guardalign.report.figures.style import INK, MUTED, SERIES, canvas, finish, percent, styled


def finding(table: pd.DataFrame) -> str:
    """What ``table``'s accuracies say in a sentence: who is ahead, or that nobody is."""
    ranked = table.sort_values("accuracy", ascending=False)
    best, second = ranked.iloc[0], ranked.iloc[min(1, len(ranked) - 1)]
    if len(ranked) > 1 and best["accuracy_low"] <= second["accuracy"]:
        low, high = table["accuracy"].min(), table["accuracy"].max()
        return f"No arm stands clear of the next: {low:.0%} to {high:.0%} of held-out pairs are told apart"
    return f"{best['arm']} prefers the chosen reply most often: in {best['accuracy']:.0%} of held-out pairs"


def caption(table: pd.DataFrame, profile: str) -> str:
    """How many pairs of how many conversations, and what the bars are."""
    count = int(table["seeds"].max())
    return (
        f"{profile}: n = {int(table['n'].max())} pairs of {int(table['conversations'].max())} conversations, "
        f"{count} training seed{'s' * (count > 1)}. Bars: 95 % intervals."
    )


def held_out(table: pd.DataFrame, profile: str = "") -> Figure:
    """Held-out preference accuracy of every arm with its interval, best at the top (``heldout.table``'s columns)."""
    rows = table.sort_values("accuracy").reset_index(drop=True)
    with styled():
        figure, (axes,) = canvas(1.6 + 0.36 * len(rows), width=7.6)
        reach = [rows["accuracy"] - rows["accuracy_low"], rows["accuracy_high"] - rows["accuracy"]]
        axes.errorbar(rows["accuracy"], rows.index, xerr=reach, fmt="o", color=SERIES[0], ecolor=MUTED, capsize=2)
        axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_yticks(rows.index, [mathtext(arm) for arm in rows["arm"]], color=INK)
        axes.xaxis.set_major_formatter(percent)
        axes.set_xlabel("chosen reply more likely than rejected")
    return finish(figure, finding(table), f"{caption(table, profile)} Dotted: chance.")
