"""Forest plot: every arm's win rate against every opponent, with intervals."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
from matplotlib.figure import Figure

from guardalign.judging.verdicts import DIMENSIONS
from guardalign.papers import mathtext
from guardalign.report.figures.style import INK, MARKERS, SERIES, canvas, finish, label_axes, percent_axis, styled
from guardalign.report.figures.words import caption
from guardalign.stats import opponents


def forest(rates: pd.DataFrame, title: str = "", profile: str = "", note: str = "") -> Figure:
    """Paper A's win rate of each arm, one line an opponent, one panel a dimension; arms ordered by mean adherence."""
    sides = opponents(rates)
    first = next(name for name in DIMENSIONS if name in set(sides["dimension"]))
    means = sides[sides["dimension"] == first].groupby("arm")["win"].mean().sort_values(ascending=False)
    lines = [
        (arm, opponent) for arm in means.index for opponent in dict.fromkeys(sides[sides["arm"] == arm]["opponent"])
    ]
    shown = [name for name in DIMENSIONS if name in set(sides["dimension"])]
    with styled():
        figure, axes = canvas(1.5 + 0.3 * len(lines), columns=len(shown), sharey=True)
        for axis, name, colour, marker in zip(axes, shown, SERIES, MARKERS, strict=False):
            rows = sides[sides["dimension"] == name].set_index(["arm", "opponent"])
            for place, line in enumerate(lines):
                if line in rows.index:
                    row = rows.loc[[line]].iloc[0]
                    axis.errorbar(
                        row["win"],
                        place,
                        xerr=[[row["win"] - row["low"]], [row["high"] - row["win"]]],
                        fmt=marker,
                        color=colour,
                        capsize=2.5,
                        markersize=5,
                        linewidth=1.4,
                    )
            axis.set_title(name.capitalize())
            percent_axis(axis.xaxis)
            label_axes(axis, "x")
            for place, (before, after) in enumerate(pairwise(lines)):
                if before[0] != after[0]:
                    axis.axhline(place + 0.5, color=INK, linewidth=0.4, alpha=0.35)
        axes[0].set_yticks(range(len(lines)), [f"{mathtext(arm)} vs {mathtext(other)}" for arm, other in lines])
        axes[0].set_ylim(len(lines) - 0.4, -0.6)
        best = means.index[0]
        words = "{} has the highest mean win rate in " + f"{first} ({100 * means.iloc[0]:.0f} %)"
        return finish(
            figure,
            title or words.format(mathtext(best)),
            caption(rates, profile, f"Win: better or both acceptable, against the opponent named. {note}".strip()),
            title or words.format(best),
        )
