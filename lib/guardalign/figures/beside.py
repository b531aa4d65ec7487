"""Paper A's Table 1 as a picture: this run's win rates with intervals, the paper's beside them in another shape."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from guardalign.figures.style import INK, MUTED, PAPER, SERIES, canvas, finish, label_axes, styled
from guardalign.figures.words import caption
from guardalign.judging.verdicts import DIMENSIONS
from guardalign.papers import mathtext
from guardalign.tables import table_1 as numbers


def table_1(rates: pd.DataFrame, title: str = "", profile: str = "", note: str = "") -> Figure:
    """Filled: this run, with its interval. Hollow: paper A's printed number, which has none."""
    table = numbers(rates)
    lines = table[["panel", "arm", "opponent"]].drop_duplicates().reset_index(drop=True)
    with styled():
        figure, axes = canvas(1.9 + 0.42 * len(lines), columns=len(DIMENSIONS), sharey=True, sharex=True)
        for axis, dimension in zip(axes, DIMENSIONS, strict=True):
            rows = lines.merge(table[table["dimension"] == dimension], how="left")
            places = rows.index.to_numpy()
            reach = [rows["here"] - rows["here_low"], rows["here_high"] - rows["here"]]
            axis.errorbar(
                rows["here"], places - 0.13, xerr=reach, fmt="o", color=SERIES[0], capsize=2.5, label="this run"
            )
            axis.plot(rows["paper"], places + 0.2, "D", markerfacecolor=PAPER, markeredgecolor=MUTED, label="paper A")
            for place, here, paper in zip(places, rows["here"], rows["paper"], strict=True):
                axis.annotate(
                    f"{paper:.1f}",
                    (paper, place + 0.2),
                    (6, 0),
                    "data",
                    "offset points",
                    fontsize=7,
                    color=MUTED,
                    style="italic",
                    va="center",
                )
                if pd.notna(here):
                    axis.annotate(
                        f"{here:.0f}",
                        (here, place - 0.13),
                        (0, 4),
                        "data",
                        "offset points",
                        fontsize=7.5,
                        color=INK,
                        ha="center",
                    )
            axis.set_title(dimension.capitalize())
            label_axes(axis, "x")
            for place in range(1, len(lines)):
                axis.axhline(place - 0.5, color=MUTED, linewidth=0.8 if place % 2 == 0 else 0.2, alpha=0.5)
        axes[0].set_xlim(float(np.nanmin(table[["here_low", "here", "paper"]].to_numpy())) - 3, 107)
        axes[0].set_yticks(
            range(len(lines)),
            [
                f"{mathtext(arm)} vs {mathtext(opponent)}"
                for arm, opponent in zip(lines["arm"], lines["opponent"], strict=True)
            ],
        )
        axes[0].set_ylim(len(lines) - 0.45, -0.6)
        handles, names = axes[0].get_legend_handles_labels()
        axes[0].legend(
            handles[::-1],
            names[::-1],
            loc="lower left",
            bbox_to_anchor=(0, 1.09),
            ncols=2,
            fontsize=8.5,
            borderaxespad=0,
        )
        axes[1].set_xlabel("win rate, % (better or both acceptable)")
        words = title or agreement(table)
        used = rates[rates["comparison"].isin(lines["arm"].map(str) + "-vs-" + lines["opponent"])]
        differs = "Paper A: Table 1, another model, other data, another judge, no interval given."
        below = caption(used if len(used) else rates, profile, f"{differs} {note}".strip())
        return finish(figure, words, below, words)


def agreement(table: pd.DataFrame) -> str:
    """In how many of the paper's comparisons and dimensions the same arm is ahead here."""
    wide = table.pivot_table(
        index=["panel", "dimension"],
        columns=table.groupby(["panel", "dimension"]).cumcount(),
        values=["here", "paper"],
        sort=False,
    )
    if "here" not in wide.columns.get_level_values(0):
        return "None of paper A’s Table 1 was judged in this run"
    known = wide.dropna()
    same = (known["here"][0] < known["here"][1]) == (known["paper"][0] < known["paper"][1])
    return f"The same arm is ahead as in paper A’s Table 1 in {int(same.sum())} of {len(known)} places"
