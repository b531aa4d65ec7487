"""Points with their intervals: contrasts, arms, rankings, held-out figures, and the papers' tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.papers import B_METHODS, B_SAMPLES, mathtext
from guardalign.report import tables
from guardalign.report.breakdown import PARTS
from guardalign.report.figures.looks import LINES, MARKERS, Look, looks, named, warning
from guardalign.report.figures.style import (
    ACCENT,
    INK,
    MUTED,
    PAPER,
    SETTINGS,
    SMALL,
    TASKS,
    WIDTH,
    canvas,
    finish,
    label_axes,
    percent_axis,
    styled,
    wrap,
)
from guardalign.report.figures.words import caption, count, interval
from guardalign.stats import Ranking

BEHIND = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none"}
ROW = 0.34
"""Inches that a row takes."""


def point_plot(
    table: pd.DataFrame, order: Sequence[str], panels: Sequence[str], looked: Mapping[str, Look], height: float = 0.0,
    sharex: bool = False,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """A panel per entry of ``panels``, a row per entry of ``order`` (top first), a point per row of ``table``.

    ``table`` has panel, row, x, low, high (NaN: no interval), ``look``, a key of ``looked``, and maybe ``hollow``:
    hollow points are drawn a little below the filled ones.
    """
    figure = Figure(figsize=(WIDTH, height or 1.6 + ROW * len(order)), layout="constrained")
    points = table.reset_index(drop=True)
    points = points.assign(hollow=points.get("hollow", False))
    move = [so.Dodge(by=["fill"])] if points["hollow"].any() else []
    (
        so.Plot(points, x="x", y="row", color="look", marker="look", fill="hollow")
        .facet(col="panel", order=list(panels))
        .share(x=sharex)
        .add(so.Range(linewidth=1.5), *move, xmin="low", xmax="high", legend=False)
        .add(so.Dot(pointsize=5.5, stroke=1.2), *move, legend=False)
        .scale(
            y=so.Nominal(order=list(order)),
            color={name: each.colour for name, each in looked.items()},
            marker={name: each.marker for name, each in looked.items()},
            fill={False: True, True: False},
        )
        .theme(SETTINGS)
        .label(x="", y="")
        .on(figure)
        .plot()
    )
    for axes, panel in zip(figure.axes, panels, strict=True):
        axes.set_title(wrap(panel, 22), fontsize=9.5)
        label_axes(axes, "x")
        axes.set_ylim(len(order) - 0.4, -0.6)
    return figure, list(figure.axes)


def contrasts(
    differences: pd.DataFrame, measures: Sequence[str], profile: str = "", marks: Collection[str] = ()
) -> Figure:
    """Paired differences in points, arm 2 less arm 1; one row per contrast, those named beforehand first.

    ``differences`` is ``tables.differences``'s result; ``measures`` are those to show, a panel each. The words at
    either side name the better arm for points on that side. ``marks`` are collapsed arms, in all figures.
    """
    shown = differences[differences["measure"].isin(measures)]
    rows = shown.drop_duplicates(["arm_1", "arm_2"]).sort_values("named", ascending=False, kind="stable")
    place = {pair: f"{at}" for at, pair in enumerate(zip(rows["arm_1"], rows["arm_2"], strict=True))}
    pairs = zip(shown["arm_1"], shown["arm_2"], strict=True)
    points = shown.assign(
        row=[place[pair] for pair in pairs], panel=shown["measure"], x=shown["difference"], look=shown["arm_2"]
    )
    named_first, keys = int(rows["named"].sum()), list(place.values())
    with styled():
        figure, axes = point_plot(points, keys, measures, looks(rows["arm_2"]), 1.9 + 0.52 * len(keys))
        for axis, measure in zip(axes, measures, strict=True):
            axis.axvline(0, color=INK, linewidth=0.9)
            axis.set_title(_measure(measure))
            axis.set_xlabel("difference, points")
            for one in points[points["panel"] == measure].to_dict("records"):
                words = interval(one["x"] / 100, one["low"] / 100, one["high"] / 100, 1, signed=True)
                axis.annotate(words, (one["x"], int(one["row"])), (0, 5), textcoords="offset points", ha="center",
                              fontsize=SMALL, bbox=BEHIND)  # fmt: skip
            low, high = axis.get_xlim()
            axis.set_xlim(min(low, -1) - 0.12 * (high - low), max(high, 1) + 0.12 * (high - low))
            if 0 < named_first < len(keys):
                axis.axhline(named_first - 0.5, color=MUTED, linewidth=0.8, linestyle=":")
        axes[0].set_yticks(range(len(keys)), [f"{named(arm, marks, 20)} better ←" for arm in rows["arm_1"]])
        other = axes[-1].secondary_yaxis("right")
        other.set_yticks(range(len(keys)), [f"→ {named(arm, marks, 20)} better" for arm in rows["arm_2"]])
        other.tick_params(length=0)
        other.spines["right"].set_visible(False)
        more = " Above the dotted line: named beforehand; below: exploration." if 0 < named_first < len(keys) else ""
        below = f"{_basis(shown)}.{more}{warning([*rows['arm_1'], *rows['arm_2']], marks)}"
        return finish(figure, "Paired differences between arms", below, profile)


def _measure(name: str) -> str:
    return wrap(tables.MEASURES[name].capitalize(), 22)


def _basis(table: pd.DataFrame) -> str:
    judge = f", judge: {', '.join(sorted(set(table['judge'])))}" if "judge" in table else ""
    seeds, conversations = int(table["seeds"].max()), int(table["conversations"].max())
    whom = "the methods" if seeds > 1 else "these trained models"
    return f"{count(seeds, 'training seed')} × {conversations} conversations{judge}; 95 % intervals of {whom}"


def arms(kept: pd.DataFrame, profile: str = "", marks: Collection[str] = ()) -> Figure:
    """What each arm keeps, one panel per measure. ``kept`` is ``tables.arms``'s result."""
    order, measures = list(dict.fromkeys(kept["arm"])), list(dict.fromkeys(kept["measure"]))
    points = kept.assign(row=kept["arm"], look=kept["arm"], panel=kept["measure"], x=kept["value"])
    with styled():
        figure, axes = point_plot(points, order, measures, looks(order))
        for axis, measure in zip(axes, measures, strict=True):
            axis.set_title(_measure(measure), fontsize=9.5)
            percent_axis(axis.xaxis)
        name_rows(axes[0], order, marks)
        of = "Shares are of prompts" + (", applications of guardrails apart" if "applications" in measures else "")
        return finish(figure, "What each arm keeps", f"{_basis(kept)}. {of}.{warning(order, marks)}", profile)


def parts(table: pd.DataFrame, profile: str = "", marks: Collection[str] = ()) -> Figure:
    """Differences in applications kept, arm 2 less arm 1: a row per part, a panel per contrast.

    ``table`` is ``breakdown.parts``'s result.
    """
    pairs = list(dict.fromkeys(zip(table["arm_1"], table["arm_2"], strict=True)))
    titles = {(one, two): f"{named(two, marks, 40)} less {named(one, marks, 40)}" for one, two in pairs}
    order = [part for part in PARTS if part in set(table["part"])]
    points = table.assign(
        row=table["part"],
        panel=[titles[pair] for pair in zip(table["arm_1"], table["arm_2"], strict=True)],
        look=table["arm_2"],
        **{to: 100 * table[name] for to, name in (("x", "net"), ("low", "net_low"), ("high", "net_high"))},
    )
    with styled():
        height = 2.6 + 0.42 * len(order)
        figure, axes = point_plot(points, order, list(titles.values()), looks(table["arm_2"]), height, sharex=True)
        for axis in axes:
            axis.axvline(0, color=INK, linewidth=0.9)
            axis.title.set_fontsize(SMALL)
        axes[len(axes) // 2].set_xlabel("difference, points")
        axes[0].set_yticks(range(len(order)), [wrap(PARTS[part], 24) for part in order])
        return finish(figure, "Applications kept, by part", f"{_basis(table)}.", profile)


def trend(table: pd.DataFrame, x: str, words: str, title: str, profile: str = "") -> Figure:
    """Shares with intervals along ``x`` (in ``words`` on the axis): a panel per ``panel``, a line per ``line``.

    ``table`` has x, panel, line, value, low, high (shares), seeds, conversations. Lines are drawn a little apart.
    """
    panels, lines = list(dict.fromkeys(table["panel"])), list(dict.fromkeys(table["line"]))
    places = {value: at for at, value in enumerate(sorted(set(table[x])))}
    with styled():
        figure, axes = canvas(3.4, 1, len(panels), sharey=True)
        for axis, panel in zip(axes, panels, strict=True):
            for at, line in enumerate(lines):
                own = table[(table["panel"] == panel) & (table["line"] == line)].sort_values(x)
                here = [places[value] + 0.12 * (at - (len(lines) - 1) / 2) for value in own[x]]
                reach = [own["value"] - own["low"], own["high"] - own["value"]]
                axis.errorbar(here, own["value"], reach, color=TASKS[at % 4], marker=MARKERS[at], linestyle=LINES[at],
                              label=line)  # fmt: skip
            axis.set_xticks(range(len(places)), [f"{value:g}" for value in places])
            axis.set(title=panel, xlabel=words)
            label_axes(axis, "y")
            percent_axis(axis.yaxis)
        axes[0].legend()
        return finish(figure, title, f"{_basis(table)}.", profile)


def name_rows(axes: Axes, order: Sequence[str], marks: Collection[str] = ()) -> None:
    """Arms in words at the rows of ``axes``, top first."""
    axes.set_yticks(range(len(order)), [named(arm, marks) for arm in order])


def ranking(ranked: Ranking, rates: pd.DataFrame, profile: str = "", marks: Collection[str] = ()) -> Figure:
    """Log-strength of each arm, one panel per dimension; arms without a finite distance are in groups of their own.

    ``ranked`` is ``stats.rank``'s result, ``rates`` the table of the same verdicts (for the caption).
    """
    scores = ranked.scores.assign(panel=ranked.scores["dimension"].str.capitalize())
    first = scores[scores["panel"] == scores["panel"].iloc[0]].sort_values(["group", "rank"])
    order = list(first["arm"])
    points = scores.assign(row=scores["arm"], look=scores["arm"], x=scores["strength"])
    with styled():
        figure, axes = point_plot(points, order, list(dict.fromkeys(scores["panel"])), looks(order))
        for axis in axes:
            axis.axvline(0, color=MUTED, linewidth=0.8)
            for edge in np.flatnonzero(np.diff(first["group"])) + 0.5:
                axis.axhline(edge, color=MUTED, linewidth=0.8, linestyle=":")
        axes[len(axes) // 2].set_xlabel("log-strength (0: mean of the group)")
        name_rows(axes[0], order, marks)
        gap = ranked.fit["worst"].max()
        fit = (
            f"; fitted shares of outcomes are within {100 * gap:.0f} points of the observed ones" if gap == gap else ""
        )
        below = f"Bradley–Terry with ties (Davidson); strengths compare within a group{fit}.{warning(order, marks)}"
        return finish(figure, "Strength of each arm over all comparisons", caption(rates, below), profile)


def held_out(table: pd.DataFrame, profile: str = "") -> Figure:
    """Which of the data's replies each arm finds more likely, and how likely the chosen one (``heldout.table``)."""
    order = list(table["arm"])
    panels = {"accuracy": "Chosen reply more likely than rejected", "nll": "Chosen reply, −log π in nats per token"}
    points = pd.concat([
        table.assign(row=order, look=order, panel=panel, x=table[name], low=table.get(f"{name}_low", np.nan),
                     high=table.get(f"{name}_high", np.nan))
        for name, panel in panels.items()
    ])  # fmt: skip
    with styled():
        figure, axes = point_plot(points, order, list(panels.values()), looks(order))
        percent_axis(axes[0].xaxis)
        name_rows(axes[0], order)
        pairs = int((table["n"] / table["seeds"]).max())
        return finish(figure, "Held-out pairs of the data", f"{pairs:,} pairs; {_basis(table)}.", profile)


def table_1(rates: pd.DataFrame, profile: str = "") -> Figure:
    """Paper A's Table 1. Filled: this run, with its interval; hollow: the printed number, which has none."""
    table = tables.table_1(rates)
    names = [f"{mathtext(one)} vs {mathtext(two)}" for one, two in zip(table["arm"], table["opponent"], strict=True)]
    table = table.assign(row=names, panel=table["dimension"].str.capitalize())
    used = rates[rates["comparison"].isin(table["arm"] + "-vs-" + table["opponent"])]
    with styled():
        figure, axes = _beside(table, {"here": False, "paper": True})
        axes[1].set_xlabel("win rate, %")
        for axis in axes:
            for edge in (1.5, 3.5):
                axis.axhline(edge, color=MUTED, linewidth=0.6, alpha=0.6)
        differs = "A win is “better or both acceptable”. Paper A: another model, data and judge, no interval given."
        title = "Win rates of paper A’s Table 1: this run (filled) and the paper (hollow)"
        return finish(figure, title, caption(used if len(used) else rates, differs), profile)


PANELS_3 = {
    "here": "This run: adherence", "paper hh": "Paper B: HH", "paper tldr": "Paper B: TL;DR",
    "paper alpaca_eval": "Paper B: AlpacaEval",
}  # fmt: skip


def table_3(rates: pd.DataFrame, profile: str = "", marks: Collection[str] = ()) -> Figure:
    """Paper B's Table 3: methods against the preferred reply, this run in the first panel, the paper's sets next to it.

    ``rates`` is ``stats.table``'s result of comparisons ``<arm>-vs-chosen``.
    """
    table = tables.table_3(tables.against_preferred(rates))
    marked = {B_METHODS.get(arm, arm) for arm in marks}
    table = table.assign(row=[named(method, marked) for method in table["method"]])
    with styled():
        figure, axes = _beside(table, {name: name != "here" for name in PANELS_3}, PANELS_3)
        axes[1].set_xlabel("beats the preferred reply, %")
        for axis in axes:
            axis.axvline(50, color=INK, linewidth=0.8, alpha=0.5)
        differs = (
            "Ties count half: 50 % is as good as the data’s own replies. Paper B: another model, other data, another "
            f"judge; its intervals are Wilson’s for {B_SAMPLES} samples, none for AlpacaEval."
        )
        below = caption(rates, differs + warning(table["method"], marked))
        return finish(figure, "Replies against the preferred ones, as in paper B’s Table 3", below, profile)


def _beside(
    table: pd.DataFrame, hollow: Mapping[str, bool], panels: Mapping[str, str] | None = None
) -> tuple[Figure, list[Axes]]:
    """The columns that ``hollow`` names as points, this run's filled; a panel each if ``panels`` names them."""
    points = pd.concat([
        table.assign(x=table[name], low=table.get(f"{name}_low", np.nan), high=table.get(f"{name}_high", np.nan),
                     look=name, hollow=empty, panel=panels[name] if panels else table["panel"])
        for name, empty in hollow.items()
    ])  # fmt: skip
    looked = {name: Look(MUTED, "D", "-") if empty else Look(ACCENT, "o", "-") for name, empty in hollow.items()}
    order, shown = list(dict.fromkeys(points["row"])), list(dict.fromkeys(points["panel"]))
    return point_plot(points, order, shown, looked, sharex=True)


def tasks(
    identical: pd.DataFrame, measure: str, level: float, words: str, tuned: pd.DataFrame | None = None,
    profile: str = "", note: str = "",
) -> Figure:  # fmt: skip
    """``measure`` of every arm, one panel per task; filled: identical settings, hollow: a rate and β of the arm's own.

    Both tables have task, arm, seeds, ``measure`` and its ``_low`` and ``_high``; ``level`` is what no effect is.
    """
    order = list(dict.fromkeys(identical["arm"]))
    both = pd.concat([identical.assign(hollow=False), *([] if tuned is None else [tuned.assign(hollow=True)])])
    both = both[both["arm"].isin(order)]
    points = both.assign(panel=both["task"].str.capitalize(), row=both["arm"], look=both["arm"], x=both[measure],
                         low=both[f"{measure}_low"], high=both[f"{measure}_high"])  # fmt: skip
    with styled():
        figure, axes = point_plot(points, order, list(dict.fromkeys(points["panel"])), looks(order), sharex=True)
        for axis in axes:
            axis.axvline(level, color=INK, linewidth=0.8, alpha=0.5)
            percent_axis(axis.xaxis)
        name_rows(axes[0], order)
        axes[len(axes) // 2].set_xlabel(words)
        hollow = " Hollow: with a rate and β of the arm’s own." if tuned is not None else ""
        prompts = f"{int(identical['conversations'].max())} prompts × " if "conversations" in identical else ""
        below = f"{prompts}{count(int(identical['seeds'].max()), 'seed')} per arm; 95 % intervals.{hollow} {note}"
        return finish(figure, f"{words[:1].upper()}{words[1:]}", below.strip(), profile)
