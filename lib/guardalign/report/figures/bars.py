"""Paper A's Figures 3 and 4: four-segment bars, one panel per comparison, with win rates and intervals next to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from guardalign.judging.verdicts import DIMENSIONS
from guardalign.papers import mathtext, panel, table_1
from guardalign.report.figures.looks import named, warning
from guardalign.report.figures.style import (
    BIN_HATCH,
    BINS,
    INK,
    MUTED,
    ON_DARK,
    ON_LIGHT,
    SMALL,
    canvas,
    finish,
    percent_axis,
    styled,
)
from guardalign.report.figures.words import caption, interval

NARROW = 0.045
WORDS = {"better_1": "1 better", "both": "both acceptable", "none": "none acceptable", "better_2": "2 better"}


def comparison_bars(
    rates: pd.DataFrame,
    comparisons: Sequence[tuple[str, str]] | None = None,
    profile: str = "",
    marks: Collection[str] = (),
) -> Figure:
    """One bar a dimension: 1 better, both acceptable, none acceptable, 2 better.

    ``rates`` is ``stats.table``'s result for one judge; ``comparisons`` are the (arm_1, arm_2) to show, in order
    (default: all). Whiskers: intervals of the two outer segments. At the right: win rates, paper A's in italics.
    """
    order = list(comparisons or rates[["arm_1", "arm_2"]].drop_duplicates().itertuples(index=False, name=None))
    shown = pd.concat([rates[(rates["arm_1"] == one) & (rates["arm_2"] == two)] for one, two in order])
    with styled():
        figure, axes = canvas(1.25 + 1.95 * len(order), rows=len(order))
        for (one, two), axis in zip(order, axes, strict=True):
            rows = shown[(shown["arm_1"] == one) & (shown["arm_2"] == two)].set_index("dimension")
            _panel(axis, rows, panel(one, two))
            head = f"Fig. {panel(one, two)}: " if panel(one, two) else ""
            axis.set_title(f"{head}1 = {_name(one, marks)},  2 = {_name(two, marks)}", fontweight="normal")
        axes[0].legend(
            handles=[
                Patch(facecolor=colour, edgecolor=ON_LIGHT, linewidth=0.5, hatch=BIN_HATCH.get(bin_), label=WORDS[bin_])
                for bin_, colour in BINS.items()
            ],
            loc="lower left", bbox_to_anchor=(-0.14, 1.2), ncols=4, fontsize=9, handlelength=1.4, borderaxespad=0,
        )  # fmt: skip
        more = "A win is “better or both acceptable”, so the two win rates may add to more than 100 %."
        below = caption(shown, more + warning([arm for pair in order for arm in pair], marks))
        return finish(figure, "Verdicts on pairs of replies, % of prompts", below, profile)


def _name(arm: str, marks: Collection[str]) -> str:
    return named(arm, marks, 60) + (f" {mathtext(arm)}" if mathtext(arm) != arm else "")


def _panel(axes: Axes, rows: pd.DataFrame, paper_panel: str) -> None:
    names = [name for name in DIMENSIONS if name in rows.index]
    published = table_1()
    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "linespacing": 1.3}
    for position, name in enumerate(names):
        row = rows.loc[[name]].iloc[0]
        _bar(axes, position, row)
        own = [interval(row[f"win_{side}"], row[f"win_{side}_low"], row[f"win_{side}_high"]) for side in (1, 2)]
        axes.annotate("\n".join(own), (1.015, position), fontsize=8.5, color=INK, **beside)
        paper = published[published["panel"] == paper_panel][name].tolist()
        if paper:
            text = "paper A:\n" + " · ".join(f"{rate:.0f}" for rate in paper)
            axes.annotate(text, (1.19, position), fontsize=SMALL, color=MUTED, style="italic", **beside)
    axes.annotate("win rate of 1 · of 2, %", (1.015, -0.62), fontsize=SMALL, color=MUTED, **beside)
    axes.set_yticks(range(len(names)), [name.capitalize() for name in names])
    axes.set_ylim(len(names) - 0.5, -0.75)
    axes.set_xlim(0, 1)
    percent_axis(axes.xaxis)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _bar(axes: Axes, position: int, row: pd.Series) -> None:
    left = 0.0
    for name, colour in BINS.items():
        share, hatch = row[name], BIN_HATCH.get(name)
        axes.barh(position, share, 0.62, left, color=colour, edgecolor=ON_LIGHT, linewidth=0.5, hatch=hatch)
        if share >= NARROW:
            box = {"boxstyle": "round,pad=0.15", "facecolor": colour, "edgecolor": "none"} if hatch else None
            axes.text(left + share / 2, position, f"{100 * share:.0f}", ha="center", va="center", fontsize=8.5,
                      bbox=box, color=ON_DARK if name == "better_1" else ON_LIGHT)  # fmt: skip
        left += share
    for x, low, high in (
        (row["better_1"], row["better_1_low"], row["better_1_high"]),
        (1 - row["better_2"], 1 - row["better_2_high"], 1 - row["better_2_low"]),
    ):
        axes.errorbar(x, position + 0.38, xerr=[[x - low], [high - x]], color=INK, capsize=2.5, linewidth=1.1,
                      clip_on=False)  # fmt: skip
