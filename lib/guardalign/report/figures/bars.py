"""Paper A's Figures 3 and 4: four-segment bars, one panel per comparison, with win rates and intervals next to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.judging.verdicts import DIMENSIONS
from guardalign.papers import mathtext, panel, table_1
from guardalign.report.figures import style
from guardalign.report.figures.looks import named, warning
from guardalign.report.figures.words import caption, interval

NARROW = 0.045
WORDS = {"better_1": "1 better", "both": "both acceptable", "none": "none acceptable", "better_2": "2 better"}


def comparison_bars(
    rates: pd.DataFrame, comparisons: Sequence[tuple[str, str]], profile: str = "", marks: Collection[str] = (),
    level: float = 0.95,
) -> Figure:  # fmt: skip
    """One bar per dimension: 1 better, both acceptable, none acceptable, 2 better.

    ``rates`` is ``stats.table``'s result for one judge; ``comparisons`` are the (arm_1, arm_2) to show, in order.
    Whiskers: intervals of the two outer segments. At the right: win rates, paper A's in italics.
    """
    parts = [rates[(rates["arm_1"] == one) & (rates["arm_2"] == two)] for one, two in comparisons]
    with style.styled():
        figure, axes = style.canvas(1.25 + 1.95 * len(parts), rows=len(parts))
        for pair, part, axis in zip(comparisons, parts, axes, strict=True):
            rows = part.set_index("dimension")
            _panel(axis, rows.reindex([name for name in DIMENSIONS if name in rows.index]), panel(*pair))
            names = [named(arm, marks, 60) + (f" {mathtext(arm)}" if mathtext(arm) != arm else "") for arm in pair]
            head = f"Fig. {panel(*pair)}: " if panel(*pair) else ""
            axis.set_title(f"{head}1 = {names[0]},  2 = {names[1]}", fontweight="normal")
        handles = [bars[0] for bars in axes[0].containers[: len(WORDS)]]
        axes[0].legend(handles, WORDS.values(), loc="lower left", bbox_to_anchor=(-0.14, 1.2), ncols=4, fontsize=9,
                       handlelength=1.4, borderaxespad=0)  # fmt: skip
        more = "A win is “better or both acceptable”, so the two win rates may add to more than 100 %."
        below = caption(pd.concat(parts), more + warning([arm for pair in comparisons for arm in pair], marks), level)
        return style.titled(figure, "Verdicts on pairs of replies, % of prompts", below, profile)


def _panel(axes: Axes, rows: pd.DataFrame, paper_panel: str) -> None:
    positions, left = np.arange(len(rows)), np.zeros(len(rows))
    for name, colour in style.BINS.items():
        hatch = style.BIN_HATCH.get(name)
        bars = axes.barh(
            positions, rows[name], 0.62, left, color=colour, edgecolor=style.ON_LIGHT, linewidth=0.5, hatch=hatch
        )
        box = {"boxstyle": "round,pad=0.15", "facecolor": colour, "edgecolor": "none"} if hatch else None
        texts = [f"{100 * share:.0f}" if share >= NARROW else "" for share in rows[name]]
        ink = style.ON_DARK if name == "better_1" else style.ON_LIGHT
        for label in axes.bar_label(bars, texts, label_type="center", fontsize=8.5, color=ink):
            label.set_bbox(box if label.get_text() else None)
        left = left + rows[name].to_numpy()
    whisker: dict[str, Any] = {"fmt": "none", "color": style.INK, "capsize": 2.5, "linewidth": 1.1, "clip_on": False}
    for name, at, low, high in (
        ("better_1", rows["better_1"], "_low", "_high"),
        ("better_2", 1 - rows["better_2"], "_high", "_low"),
    ):
        reach = [(rows[name] - rows[f"{name}{end}"]).abs() for end in (low, high)]
        axes.errorbar(at, positions + 0.38, xerr=reach, **whisker)
    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "linespacing": 1.3}
    published = table_1()
    for position, (dimension, row) in enumerate(rows.iterrows()):
        intervals = [interval(row[f"win_{side}"], row[f"win_{side}_low"], row[f"win_{side}_high"]) for side in (1, 2)]
        axes.annotate("\n".join(intervals), (1.015, position), fontsize=8.5, color=style.INK, **beside)
        if paper := published[published["panel"] == paper_panel][str(dimension)].tolist():
            text = "paper A:\n" + " · ".join(f"{rate:.0f}" for rate in paper)
            axes.annotate(text, (1.19, position), fontsize=style.SMALL, color=style.MUTED, style="italic", **beside)
    axes.annotate("win rate of 1 · of 2, %", (1.015, -0.62), fontsize=style.SMALL, color=style.MUTED, **beside)
    axes.set_yticks(positions, [str(name).capitalize() for name in rows.index])
    axes.set_ylim(len(rows) - 0.5, -0.75)
    axes.set_xlim(0, 1)
    style.percent_axis(axes.xaxis)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
