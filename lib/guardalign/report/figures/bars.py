"""Four-segment bars a comparison (paper A's Figures 3 and 4), with numbers and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from guardalign.judging.verdicts import DIMENSIONS
from guardalign.papers import mathtext, panel, table_1
from guardalign.report.figures.style import (
    BIN_HATCH,
    BINS,
    INK,
    MUTED,
    ON_DARK,
    ON_LIGHT,
    canvas,
    finish,
    percent_axis,
    styled,
)
from guardalign.report.figures.words import Name, caption, finding, interval

HEIGHT = 0.62
NARROW = 0.045


def comparison_bars(
    rates: pd.DataFrame,
    comparisons: Sequence[tuple[str, str]] | None = None,
    title: str = "",
    profile: str = "",
    note: str = "",
) -> Figure:
    """One panel a comparison, one bar a dimension: 1 better, both acceptable, none acceptable, 2 better.

    ``rates`` is ``stats.table``'s result for one judge; ``comparisons`` are the (arm_1, arm_2) to show, in order
    (default: all). Whiskers: intervals of the two outer segments. At the right: paper A's win rates of both arms.
    """
    order = list(comparisons or rates[["arm_1", "arm_2"]].drop_duplicates().itertuples(index=False, name=None))
    shown = pd.concat([rates[(rates["arm_1"] == one) & (rates["arm_2"] == two)] for one, two in order])
    with styled():
        figure, axes = canvas(1.15 + 1.95 * len(order), rows=len(order))
        for position, ((one, two), axis) in enumerate(zip(order, axes, strict=True)):
            rows = shown[(shown["arm_1"] == one) & (shown["arm_2"] == two)]
            letter = f"({chr(ord('a') + position)})  " if len(order) > 1 else ""
            names = f"{letter}1 = {mathtext(one)}   2 = {mathtext(two)}"
            _panel(axis, rows.set_index("dimension"), names, panel(one, two))
        axes[0].legend(
            handles=_keys(),
            loc="lower left",
            bbox_to_anchor=(-0.14, 1.2),
            ncols=4,
            fontsize=9,
            handlelength=1.4,
            borderaxespad=0,
        )
        more = "A win is “better or both acceptable”, so the two win rates may add to more than 100 %."
        return finish(
            figure,
            title or headline(shown),
            caption(shown, profile, f"{more} {note}".strip()),
            title or headline(shown, str),
        )


def headline(rates: pd.DataFrame, name: Name = mathtext) -> str:
    """The finding of one comparison on its first dimension, or of several: how many differ, and the widest."""
    first = rates[rates["dimension"] == rates["dimension"].iloc[0]]
    if len(first) == 1:
        return finding(first.iloc[0], name)
    clear = first[first["clear"]]
    dimension = first["dimension"].iloc[0]
    if clear.empty:
        return f"None of {len(first)} comparisons differs clearly in {dimension}"
    widest = clear.iloc[int(clear["net"].abs().argmax())]
    return f"{len(clear)} of {len(first)} comparisons differ clearly in {dimension}; widest: {finding(widest, name)}"


def _panel(axes: Axes, rows: pd.DataFrame, title: str, paper_panel: str) -> None:
    names = [name for name in DIMENSIONS if name in rows.index]
    for position, name in enumerate(names):
        row = rows.loc[[name]].iloc[0]
        _bar(axes, position, row)
        _win_rates(axes, position, row, paper_panel)
    axes.set_yticks(range(len(names)), [name.capitalize() for name in names])
    axes.set_ylim(len(names) - 0.5, -0.75)
    axes.set_xlim(0, 1)
    percent_axis(axes.xaxis)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title(title + (f"   (paper A’s Fig. {paper_panel})" if paper_panel else ""), fontweight="normal")
    axes.annotate(
        "win rate of 1 · of 2, %",
        (1.015, -0.62),
        xycoords=("axes fraction", "data"),
        fontsize=7.5,
        color=MUTED,
        va="center",
    )


def _bar(axes: Axes, position: int, row: pd.Series) -> None:
    left = 0.0
    for name, colour in BINS.items():
        share = row[name]
        axes.barh(
            position, share, HEIGHT, left, color=colour, edgecolor=ON_LIGHT, linewidth=0.5, hatch=BIN_HATCH.get(name)
        )
        if share >= NARROW:
            _number(axes, left + share / 2, position, share, name)
        left += share
    for x, low, high in (
        (row["better_1"], row["better_1_low"], row["better_1_high"]),
        (1 - row["better_2"], 1 - row["better_2_high"], 1 - row["better_2_low"]),
    ):
        axes.errorbar(
            x,
            position + HEIGHT / 2 + 0.07,
            xerr=[[x - low], [high - x]],
            color=INK,
            capsize=2.5,
            linewidth=1.1,
            clip_on=False,
        )


def _win_rates(axes: Axes, position: int, row: pd.Series, paper_panel: str) -> None:
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
    axes.annotate(
        f"{interval(row['win_1'], row['win_1_low'], row['win_1_high'])}\n"
        f"{interval(row['win_2'], row['win_2_low'], row['win_2_high'])}",
        (1.015, position),
        fontsize=8.5,
        color=INK,
        linespacing=1.3,
        **place,
    )
    published = table_1()
    paper = published[published["panel"] == paper_panel][row.name].tolist()
    if paper:
        axes.annotate(
            "paper A:\n" + " · ".join(f"{rate:.0f}" for rate in paper),
            (1.19, position),
            fontsize=7.5,
            color=MUTED,
            style="italic",
            linespacing=1.3,
            **place,
        )


def _number(axes: Axes, x: float, position: int, share: float, name: str) -> None:
    box = {"boxstyle": "round,pad=0.15", "facecolor": BINS[name], "edgecolor": "none"} if name in BIN_HATCH else None
    axes.text(
        x,
        position,
        f"{100 * share:.0f}",
        ha="center",
        va="center",
        fontsize=8.5,
        bbox=box,
        color=ON_DARK if name == "better_1" else ON_LIGHT,
    )


def _keys() -> list[Patch]:
    texts = {"better_1": "1 better", "both": "both acceptable", "none": "none acceptable", "better_2": "2 better"}
    return [
        Patch(facecolor=colour, edgecolor=ON_LIGHT, linewidth=0.5, hatch=BIN_HATCH.get(name), label=texts[name])
        for name, colour in BINS.items()
    ]
