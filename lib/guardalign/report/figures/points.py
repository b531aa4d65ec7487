"""Points with their intervals: contrasts, arms, rankings, held-out figures, and the papers' tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Number

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from guardalign.papers import B_METHODS, B_SAMPLES, mathtext
from guardalign.report import tables
from guardalign.report.breakdown import PARTS
from guardalign.report.figures import style
from guardalign.report.figures.looks import Look, looks, named, warning
from guardalign.report.figures.words import caption, interval
from guardalign.stats import Ranking

ROW = 0.34
"""Inches that a row takes."""


def point_plot(
    table: pd.DataFrame, rows: Mapping[str, str], panels: Mapping[str, str], looked: Mapping[str, Look] | None = None,
    height: float = 0.0, sharex: bool = False, line: float | None = None, xlabel: str = "",
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """A panel per entry of ``panels``, a row per entry of ``rows`` (top first), a point per row of ``table``.

    ``table`` has panel, row (keys of these, whose values are shown), x, low, high (NaN: no interval), ``look``, a key
    of ``looked`` (default: an arm), and maybe ``hollow``: hollow points are drawn a little below the filled ones.
    ``line``: the value of no effect.
    """
    figure = Figure(figsize=(style.WIDTH, height or 1.6 + ROW * len(rows)), layout="constrained")
    points = table.reset_index(drop=True)
    points = points.assign(hollow=points.get("hollow", False))
    looked = looked or looks(points["look"])
    move = [so.Dodge(by=["fill"])] if points["hollow"].any() else []
    (
        so.Plot(points, x="x", y="row", color="look", marker="look", fill="hollow")
        .facet(col="panel", order=list(panels))
        .share(x=sharex)
        .add(so.Range(linewidth=1.5), *move, xmin="low", xmax="high", legend=False)
        .add(so.Dot(pointsize=5.5, stroke=1.2), *move, legend=False)
        .scale(
            y=so.Nominal(order=list(rows)),
            color={name: each.colour for name, each in looked.items()},
            marker={name: each.marker for name, each in looked.items()},
            fill={False: True, True: False},
        )
        .theme(style.SETTINGS)
        .label(x="", y="")
        .on(figure)
        .plot()
    )
    axes = list(figure.axes)
    for axis, title in zip(axes, panels.values(), strict=True):
        axis.set_title(style.wrap(title, 22 if len(panels) > 1 else 60), fontsize=9.5)
        style.label_axes(axis, "x")
        axis.set_ylim(len(rows) - 0.4, -0.6)
        if line is not None:
            axis.axvline(line, color=style.INK, linewidth=0.9, alpha=0.6)
    axes[len(axes) // 2].set_xlabel(xlabel)
    axes[0].set_yticks(range(len(rows)), list(rows.values()))
    return figure, axes


def _measured(table: pd.DataFrame, measure: str, **more: object) -> pd.DataFrame:
    """Rows for ``point_plot``: ``measure`` and its interval, if there is one, as x, low and high; and ``more``."""
    ends = {"x": measure, "low": f"{measure}_low", "high": f"{measure}_high"}
    return table.assign(**{to: table.get(name, np.nan) for to, name in ends.items()}, **more)  # type: ignore[arg-type]


def _names(arms: Iterable[str], marks: Collection[str] = ()) -> dict[str, str]:
    return {arm: named(arm, marks) for arm in arms}


def contrasts(
    differences: pd.DataFrame, measures: Sequence[str], profile: str = "", marks: Collection[str] = (),
    level: float = 0.95,
) -> Figure:  # fmt: skip
    """Paired differences in points, arm 2 minus arm 1; one row per contrast, those named beforehand first.

    ``differences`` is ``tables.differences``'s result; ``measures`` are those to show, a panel each. The words at
    either side name the better arm for points on that side. ``marks`` are collapsed arms and ``level`` that of the
    intervals, in all figures.
    """
    shown = differences[differences["measure"].isin(measures)]
    shown = shown.assign(row=shown["arm_1"] + " " + shown["arm_2"], panel=shown["measure"], look=shown["arm_2"])
    shown = shown.sort_values("named", ascending=False, kind="stable").rename(columns={"difference": "x"})
    pairs = shown.drop_duplicates("row").set_index("row")
    left = {str(row): f"{named(arm, marks, 20)} better ←" for row, arm in pairs["arm_1"].items()}
    first = int(pairs["named"].sum())
    divided = 0 < first < len(left)
    with style.styled():
        titles = {measure: tables.MEASURES[measure].capitalize() for measure in measures}
        height = 1.9 + 0.52 * len(left)
        figure, axes = point_plot(shown, left, titles, height=height, line=0, xlabel="difference, points")
        for axis, measure in zip(axes, measures, strict=True):
            for one in shown[shown["measure"] == measure].to_dict("records"):
                words = interval(one["x"] / 100, one["low"] / 100, one["high"] / 100, 1, signed=True)
                axis.annotate(words, (one["x"], list(left).index(one["row"])), (0, 8), textcoords="offset points",
                              ha="center", fontsize=style.SMALL, bbox=style.BEHIND)  # fmt: skip
            low, high = axis.get_xlim()
            axis.set_xlim(min(low, -1) - 0.12 * (high - low), max(high, 1) + 0.12 * (high - low))
            if divided:
                axis.axhline(first - 0.5, color=style.MUTED, linewidth=0.8, linestyle=":")
        other = axes[-1].secondary_yaxis("right")
        other.set_yticks(range(len(left)), [f"→ {named(arm, marks, 20)} better" for arm in pairs["arm_2"]])
        other.tick_params(length=0)
        other.spines["right"].set_visible(False)
        more = "Above the dotted line: named beforehand; below: exploration." if divided else ""
        more += warning([*pairs["arm_1"], *pairs["arm_2"]], marks)
        return style.titled(figure, "Paired differences between arms", caption(shown, more, level), profile)


def arms(kept: pd.DataFrame, profile: str = "", marks: Collection[str] = (), level: float = 0.95) -> Figure:
    """What each arm keeps, one panel per measure. ``kept`` is ``tables.arms``'s result."""
    points = kept.assign(row=kept["arm"], look=kept["arm"], panel=kept["measure"], x=kept["value"])
    with style.styled():
        titles = {measure: tables.MEASURES[measure].capitalize() for measure in kept["measure"]}
        figure, axes = point_plot(points, _names(kept["arm"], marks), titles)
        for axis in axes:
            style.percent_axis(axis.xaxis)
        of = "Shares are of prompts" + (", applications of guardrails apart" if "applications" in titles else "")
        below = caption(kept, f"{of}.{warning(kept['arm'], marks)}", level)
        return style.titled(figure, "What each arm keeps", below, profile)


def parts(table: pd.DataFrame, profile: str = "", marks: Collection[str] = (), level: float = 0.95) -> Figure:
    """Differences in applications kept, arm 2 minus arm 1: a row per part, a panel per contrast.

    ``table`` is ``breakdown.parts``'s result.
    """
    pairs = table["arm_1"] + " " + table["arm_2"]
    titles = {
        pair: f"{named(two, marks, 40)} minus {named(one, marks, 40)}"
        for pair, one, two in zip(pairs, table["arm_1"], table["arm_2"], strict=True)
    }
    shares = ["net", "net_low", "net_high"]
    points = _measured(table.assign(**100 * table[shares]), "net", row=table["part"], panel=pairs, look=table["arm_2"])
    rows = {part: style.wrap(words, 24) for part, words in PARTS.items() if part in set(table["part"])}
    with style.styled():
        height, xlabel = 2.6 + 0.42 * len(rows), "difference, points"
        figure, axes = point_plot(points, rows, titles, height=height, sharex=True, line=0, xlabel=xlabel)
        for axis in axes:
            axis.title.set_fontsize(style.SMALL)
        return style.titled(figure, "Applications kept, by part", caption(table, level=level), profile)


def effects(
    table: pd.DataFrame, panels: Mapping[str, str], title: str, profile: str = "", level: float = 0.95
) -> Figure:
    """``side_effects.effects``: a panel per measure, in its own unit and named by ``panels``; a row per effect."""
    points = _measured(table, "value", row=table["effect"], panel=table["measure"], look=table["effect"])
    with style.styled():
        shown = {measure: panels[measure] for measure in table["measure"]}
        figure, axes = point_plot(points, _names(table["effect"]), shown, line=0)
        for axis in axes:
            axis.locator_params(axis="x", nbins=3)
        return style.titled(figure, title, caption(table, "Right of the line is better.", level), profile)


def trend(table: pd.DataFrame, lines: Mapping[str, str], title: str, profile: str = "", level: float = 0.95) -> Figure:
    """Shares with intervals along what a panel varies: a panel per ``panel``, a line per ``line``, two panels a row.

    ``table`` has panel, x, line, value, low, high, seeds, conversations. A panel's x are numbers, in order and joined
    by lines, or words, as they come; ``lines`` are the lines' names in words, by names that ``looks`` knows.
    """
    looked, points, ticks, joined = looks(lines), [], {}, {}
    shift = {line: 0.11 * (at - (len(lines) - 1) / 2) for at, line in enumerate(lines)}
    for panel, panel_rows in table.groupby("panel", sort=False):
        values = list(panel_rows["x"].unique())
        joined[panel] = all(isinstance(each, Number) for each in values)
        ticks[panel] = sorted(values) if joined[panel] else values
        points.append(panel_rows.assign(at=panel_rows["x"].map(ticks[panel].index) + panel_rows["line"].map(shift)))
    shown = pd.concat(points, ignore_index=True)
    with style.styled():
        rows = -(-len(ticks) // 2)
        figure = Figure(figsize=(style.WIDTH, 1.3 + 2.5 * rows), layout="constrained")
        (
            so.Plot(shown, x="at", y="value", color="line")
            .facet(col="panel", order=list(ticks), wrap=2)
            .share(x=False)
            .add(so.Line(linewidth=1.3), linestyle="line", legend=False, data=shown[shown["panel"].map(joined)])
            .add(so.Range(linewidth=1.3), ymin="low", ymax="high", legend=False)
            .add(so.Dot(pointsize=5), marker="line", legend=False)
            .scale(
                color={name: each.colour for name, each in looked.items()},
                marker={name: each.marker for name, each in looked.items()},
                linestyle={name: each.line for name, each in looked.items()},
            )
            .theme(style.SETTINGS)
            .label(x="", y="")
            .on(figure)
            .plot()
        )
        for axes, (panel, values) in zip(figure.axes, ticks.items(), strict=True):
            words = [f"{each:g}" if isinstance(each, Number) else style.wrap(str(each), 12) for each in values]
            axes.set_xticks(range(len(words)), words)
            axes.set_xlim(-0.5, len(words) - 0.5)
            axes.set_title(style.wrap(str(panel), 44))
            style.label_axes(axes, "y")
            style.percent_axis(axes.yaxis)
        handles = [
            Line2D([], [], color=each.colour, marker=each.marker, ls=each.line, label=lines[name])
            for name, each in looked.items()
        ]
        figure.axes[0].legend(handles=handles, loc="best", fontsize=style.SMALL)
        return style.titled(figure, title, caption(table, level=level), profile)


def ranking(
    ranked: Ranking, rates: pd.DataFrame, profile: str = "", marks: Collection[str] = (), level: float = 0.95
) -> Figure:
    """Log-strength of each arm, one panel per dimension; arms without a finite distance are in groups of their own.

    ``ranked`` is ``stats.rank``'s result, ``rates`` the table of the same verdicts (for the caption).
    """
    scores = ranked.scores.rename(columns={"dimension": "panel", "strength": "x"})
    points = scores.assign(row=scores["arm"], look=scores["arm"])
    first = scores[scores["panel"] == scores["panel"].iloc[0]].sort_values(["group", "rank"])
    panels = {name: name.capitalize() for name in scores["panel"]}
    with style.styled():
        xlabel = "log-strength (0: mean of the group)"
        figure, axes = point_plot(points, _names(first["arm"], marks), panels, line=0, xlabel=xlabel)
        for axis in axes:
            for edge in np.flatnonzero(np.diff(first["group"])) + 0.5:
                axis.axhline(edge, color=style.MUTED, linewidth=0.8, linestyle=":")
        gap = ranked.fit["worst"].max()
        fit = f"; fitted shares of outcomes are within {100 * gap:.0f} points of the observed" if gap == gap else ""
        below = (
            f"Bradley–Terry with ties (Davidson); strengths compare within a group{fit}.{warning(first['arm'], marks)}"
        )
        return style.titled(figure, "Strength of each arm over all comparisons", caption(rates, below, level), profile)


def held_out(table: pd.DataFrame, profile: str = "", level: float = 0.95) -> Figure:
    """Which of the data's replies each arm finds more likely, and how likely the chosen one (``heldout.table``)."""
    panels = {"accuracy": "Chosen reply more likely than rejected", "nll": "Chosen reply, −log π in nats per token"}
    points = pd.concat([_measured(table, name, row=table["arm"], look=table["arm"], panel=name) for name in panels])
    with style.styled():
        figure, axes = point_plot(points, _names(table["arm"]), panels)
        style.percent_axis(axes[0].xaxis)
        return style.titled(figure, "Held-out pairs of the data", caption(table, level=level), profile)


def tasks(
    identical: pd.DataFrame, measure: str, line: float, words: str, tuned: pd.DataFrame | None = None,
    profile: str = "", note: str = "", level: float = 0.95,
) -> Figure:  # fmt: skip
    """``measure`` of every arm, one panel per task; filled: identical settings, hollow: a rate and β of the arm's own.

    Both tables have task, arm, seeds, ``measure`` and its ``_low`` and ``_high``; ``line`` is the value of no effect.
    """
    both = pd.concat([identical.assign(hollow=False), *([] if tuned is None else [tuned.assign(hollow=True)])])
    both = both[both["arm"].isin(set(identical["arm"]))]
    points = _measured(both, measure, panel=both["task"], row=both["arm"], look=both["arm"])
    with style.styled():
        panels = {task: task.capitalize() for task in both["task"]}
        figure, axes = point_plot(points, _names(identical["arm"]), panels, sharex=True, line=line, xlabel=words)
        for axis in axes:
            style.percent_axis(axis.xaxis)
        hollow = "" if tuned is None else " Hollow: with a rate and β of the arm’s own."
        below = caption(identical, f"{note}{hollow}", level)
        return style.titled(figure, f"{words[:1].upper()}{words[1:]}", below, profile)


def table_1(rates: pd.DataFrame, profile: str = "", level: float = 0.95) -> Figure:
    """Paper A's Table 1. Filled: this run, with its interval; hollow: the printed number, which has none."""
    table = tables.table_1(rates)
    table = table.assign(row=table["arm"] + " " + table["opponent"], panel=table["dimension"])
    rows = {row: " vs ".join(map(mathtext, row.split())) for row in table["row"]}
    used = rates[rates["comparison"].isin(table["arm"] + "-vs-" + table["opponent"])]
    with style.styled():
        panels = {name: name.capitalize() for name in table["panel"]}
        figure, axes = _beside(table, rows, panels, {"here": False, "paper": True}, xlabel="win rate, %")
        for axis in axes:
            for edge in (1.5, 3.5):
                axis.axhline(edge, color=style.MUTED, linewidth=0.6, alpha=0.6)
        differs = "A win is “better or both acceptable”. Paper A: another model, data and judge, no interval given."
        title = "Win rates of paper A’s Table 1: this run (filled) and the paper (hollow)"
        return style.titled(figure, title, caption(used if len(used) else rates, differs, level), profile)


PANELS_3 = {
    "here": "This run: adherence", "paper hh": "Paper B: HH", "paper tldr": "Paper B: TL;DR",
    "paper alpaca_eval": "Paper B: AlpacaEval",
}  # fmt: skip


def table_3(rates: pd.DataFrame, profile: str = "", marks: Collection[str] = (), level: float = 0.95) -> Figure:
    """Paper B's Table 3: methods against the preferred reply, this run in the first panel, the paper's sets next to it.

    ``rates`` is ``stats.table``'s result of comparisons ``<arm>-vs-chosen``.
    """
    table = tables.table_3(tables.against_preferred(rates))
    marked = {B_METHODS.get(arm, arm) for arm in marks}
    rows, hollow = _names(table["method"], marked), {name: name != "here" for name in PANELS_3}
    with style.styled():
        xlabel = "beats the preferred reply, %"
        figure, _ = _beside(table.assign(row=table["method"]), rows, PANELS_3, hollow, line=50, xlabel=xlabel)
        differs = (
            "Ties count half: 50 % is as good as the data’s own replies. Paper B: another model, other data, another "
            f"judge; its intervals are Wilson’s for {B_SAMPLES} samples, none for AlpacaEval."
        )
        below = caption(rates, differs + warning(table["method"], marked), level)
        return style.titled(figure, "Replies against the preferred ones, as in paper B’s Table 3", below, profile)


def _beside(
    table: pd.DataFrame, rows: Mapping[str, str], panels: Mapping[str, str], hollow: Mapping[str, bool],
    line: float | None = None, xlabel: str = "",
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """The columns that ``hollow`` names as points, this run's filled; a panel each if ``panels`` names them."""
    points = pd.concat([
        _measured(table, name, look=name, hollow=empty, panel=name if name in panels else table["panel"])
        for name, empty in hollow.items()
    ])  # fmt: skip
    filled, empty = Look(style.ACCENT, "o", "-"), Look(style.MUTED, "D", "-")
    looked = {name: empty if is_hollow else filled for name, is_hollow in hollow.items()}
    return point_plot(points, rows, panels, looked, sharex=True, line=line, xlabel=xlabel)
