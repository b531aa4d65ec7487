"""Points with their intervals: contrasts, arms, rankings, held-out figures, and the papers' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.papers import B_SAMPLES, mathtext
from guardalign.report import tables
from guardalign.report.figures.looks import Look, looks, plain
from guardalign.report.figures.style import (
    ACCENT,
    INK,
    MUTED,
    PAPER,
    SETTINGS,
    SMALL,
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
    table: pd.DataFrame,
    order: Sequence[str],
    panels: Sequence[str],
    looked: Mapping[str, Look],
    height: float = 0.0,
    sharex: bool = False,
    hollow: Sequence[str] = (),
) -> tuple[Figure, list[Axes]]:
    """A panel per entry of ``panels``, a row per entry of ``order`` (top first).

    ``table`` has a row per point: panel, row, x, low, high (NaN: no interval) and ``look``, a key of ``looked``;
    points of looks in ``hollow`` are not filled.
    """
    figure = Figure(figsize=(WIDTH, height or 1.6 + ROW * len(order)), layout="constrained")
    scales: dict[str, Any] = {
        "color": {name: each.colour for name, each in looked.items()},
        "marker": {name: each.marker for name, each in looked.items()},
        "fill": {False: True, True: False},
    }
    move = [so.Dodge(by=["fill"])] if hollow else []
    table = table.reset_index(drop=True).assign(hollow=[look in hollow for look in table["look"]])
    (
        so.Plot(table, x="x", y="row", color="look", marker="look", fill="hollow")
        .facet(col="panel", order=list(panels))
        .share(x=sharex)
        .add(so.Range(linewidth=1.5), *move, xmin="low", xmax="high", legend=False)
        .add(so.Dot(pointsize=5.5, stroke=1.2), *move, legend=False)
        .scale(y=so.Nominal(order=list(order)), **scales)
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


def contrasts(differences: pd.DataFrame, measures: Sequence[str], profile: str = "", note: str = "") -> Figure:
    """Paired differences in points, arm 2 less arm 1; a row a contrast, those named beforehand first.

    ``differences`` is ``tables.differences``'s result; ``measures`` are those to show, a panel each. The words at
    either side say who is better where the point lies.
    """
    shown = differences[differences["measure"].isin(measures)]
    rows = shown.drop_duplicates(["arm_1", "arm_2"]).sort_values("named", ascending=False, kind="stable")
    keys = [f"{place}" for place in range(len(rows))]
    place = {(one, two): key for key, one, two in zip(keys, rows["arm_1"], rows["arm_2"], strict=True)}
    points = pd.DataFrame({
        "row": [place[pair] for pair in zip(shown["arm_1"], shown["arm_2"], strict=True)],
        "panel": shown["measure"], "x": shown["difference"], "low": shown["low"], "high": shown["high"],
        "look": shown["arm_2"],
    })  # fmt: skip
    looked = looks(rows["arm_2"])
    with styled():
        figure, axes = point_plot(points, keys, measures, looked, 1.9 + 0.52 * len(keys))
        for axis, measure in zip(axes, measures, strict=True):
            axis.axvline(0, color=INK, linewidth=0.9)
            axis.set_title(_measure(measure))
            axis.set_xlabel("difference, points")
            for one in points[points["panel"] == measure].to_dict("records"):
                words = interval(one["x"] / 100, one["low"] / 100, one["high"] / 100, 1, signed=True)
                where = (one["x"], keys.index(one["row"]))
                axis.annotate(
                    words, where, (0, 5), textcoords="offset points", ha="center", fontsize=SMALL, bbox=BEHIND
                )
            low, high = axis.get_xlim()
            axis.set_xlim(min(low, -1) - 0.12 * (high - low), max(high, 1) + 0.12 * (high - low))
            named = int(rows["named"].sum())
            if 0 < named < len(keys):
                axis.axhline(named - 0.5, color=MUTED, linewidth=0.8, linestyle=":")
        _sides(axes, rows, keys)
        more = (
            "Dotted line: above it the contrasts named beforehand, below it exploration." if named < len(keys) else ""
        )
        below = f"{_basis(shown)}. {more} {note}".strip()
        title = "Paired differences between arms" + (f" · {profile}" if profile else "")
        return finish(figure, title, below)


def _sides(axes: Sequence[Axes], rows: pd.DataFrame, keys: Sequence[str]) -> None:
    left = [wrap(f"{plain(arm)} better ←", 24) for arm in rows["arm_1"]]
    right = [wrap(f"→ {plain(arm)} better", 24) for arm in rows["arm_2"]]
    axes[0].set_yticks(range(len(keys)), left, fontsize=9)
    other = axes[-1].secondary_yaxis("right")
    other.set_yticks(range(len(keys)), right, fontsize=9)
    other.tick_params(length=0)
    other.spines["right"].set_visible(False)


def _measure(name: str) -> str:
    return wrap(tables.MEASURES[name].capitalize(), 22)


def _basis(table: pd.DataFrame) -> str:
    judge = f", judge: {', '.join(sorted(set(table['judge'])))}" if "judge" in table else ""
    seeds = int(table["seeds"].max())
    whom = "of the methods" if seeds > 1 else "of these trained models"
    conversations = int(table["conversations"].max())
    return f"{count(seeds, 'training seed')}, {conversations} conversations{judge}; 95 % intervals {whom}"


def arms(kept: pd.DataFrame, profile: str = "", marks: Mapping[str, str] | None = None, note: str = "") -> Figure:
    """What each arm keeps, a panel a measure. ``kept`` is ``tables.arms``'s result; ``marks`` are put behind names."""
    order = list(dict.fromkeys(kept["arm"]))
    measures = list(dict.fromkeys(kept["measure"]))
    points = kept.rename(columns={"measure": "panel"}).assign(
        row=kept["arm"], look=kept["arm"], x=kept["value"], low=kept["low"], high=kept["high"]
    )
    with styled():
        figure, axes = point_plot(points, order, measures, looks(order))
        for axis, measure in zip(axes, measures, strict=True):
            axis.set_title(_measure(measure), fontsize=9.5)
            percent_axis(axis.xaxis)
        name_rows(axes[0], order, marks)
        title = "Shares per arm" + (f" · {profile}" if profile else "")
        below = "of guardrail applications in the first panel, of prompts in the others"
        return finish(figure, f"{title}: {below}", f"{_basis(kept)}. {note}".strip())


def name_rows(axes: Axes, order: Sequence[str], marks: Mapping[str, str] | None = None) -> None:
    """Arms in words at the rows of ``axes``, top first; ``marks`` say what to beware of."""
    marks = marks or {}
    names = [plain(arm) + (f"\n⚠ {marks[arm]}" if arm in marks else "") for arm in order]
    axes.set_yticks(range(len(order)), [wrap(name, 28) if "\n" not in name else name for name in names], fontsize=9)


def ranking(ranked: Ranking, rates: pd.DataFrame, profile: str = "", note: str = "") -> Figure:
    """Log-strength of each arm, a panel a dimension; arms without a finite distance are in groups of their own.

    ``ranked`` is ``stats.rank``'s result, ``rates`` the table of the same verdicts (for the caption).
    """
    scores = ranked.scores
    dimensions = list(dict.fromkeys(scores["dimension"]))
    first = scores[scores["dimension"] == dimensions[0]].sort_values(["group", "rank"])
    order = list(first["arm"])
    points = scores.assign(
        row=scores["arm"], look=scores["arm"], panel=scores["dimension"].str.capitalize(), x=scores["strength"]
    )
    with styled():
        figure, axes = point_plot(points, order, [name.capitalize() for name in dimensions], looks(order))
        for axis in axes:
            axis.axvline(0, color=MUTED, linewidth=0.8)
            for edge in np.flatnonzero(np.diff(first["group"])) + 0.5:
                axis.axhline(edge, color=MUTED, linewidth=0.8, linestyle=":")
        axes[len(axes) // 2].set_xlabel("log-strength (0: mean of the group)")
        name_rows(axes[0], order)
        gap = ranked.fit["worst"].max()
        fit = f"fitted shares of outcomes are within {100 * gap:.0f} points of the observed ones" if gap == gap else ""
        below = f"Bradley–Terry with ties (Davidson); strengths compare within a group only; {fit}. {note}".strip()
        return finish(figure, "Strength of each arm over all comparisons", caption(rates, profile, below))


def held_out(table: pd.DataFrame, profile: str = "", note: str = "") -> Figure:
    """Held-out preference accuracy of every arm, best at the top (``heldout.table``'s columns)."""
    rows = table.sort_values("accuracy", ascending=False)
    points = rows.assign(row=rows["arm"], look=rows["arm"], panel="", x=rows["accuracy"], low=rows["accuracy_low"],
                         high=rows["accuracy_high"])  # fmt: skip
    with styled():
        figure, (axes,) = point_plot(points, list(rows["arm"]), [""], looks(rows["arm"]))
        axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
        percent_axis(axes.xaxis)
        axes.set_xlabel("pairs whose chosen reply is more likely than the rejected one (dotted: chance)")
        name_rows(axes, list(rows["arm"]))
        basis = f"n = {int(table['n'].max() / table['seeds'].max()):,} pairs; {_basis(table)}. {note}".strip()
        return finish(figure, "Held-out preference accuracy" + (f" · {profile}" if profile else ""), basis)


def methods(table: pd.DataFrame, profile: str = "") -> Figure:
    """Held-out preference accuracy against the chosen replies' log-likelihood, a point an arm."""
    own = looks(table["arm"])
    with styled():
        figure, (axes,) = canvas(4.6)
        for row in table.to_dict("records"):
            arm = row["arm"]
            reach = [[row["accuracy"] - row["accuracy_low"]], [row["accuracy_high"] - row["accuracy"]]]
            axes.errorbar(row["accuracy"], -row["nll"], xerr=reach, fmt=own[arm].marker, color=own[arm].colour,
                          elinewidth=1, markersize=7, label=plain(arm))  # fmt: skip
        percent_axis(axes.xaxis)
        label_axes(axes)
        axes.set_xlabel("pairs whose chosen reply is more likely than the rejected one")
        axes.set_ylabel("log-likelihood of the chosen reply,\nnats per token")
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
        title = "Preference accuracy and likelihood on held-out pairs" + (f" · {profile}" if profile else "")
        return finish(figure, title, f"n = {int(table['n'].max()):,} pairs; {_basis(table)}.")


def table_1(rates: pd.DataFrame, profile: str = "", note: str = "") -> Figure:
    """Paper A's Table 1. Filled: this run, with its interval; hollow: the printed number, which has none."""
    table = tables.table_1(rates)
    names = [f"{mathtext(one)} vs {mathtext(two)}" for one, two in zip(table["arm"], table["opponent"], strict=True)]
    here = table.assign(row=names, panel=table["dimension"].str.capitalize(), x=table["here"], low=table["here_low"],
                        high=table["here_high"], look="this run")  # fmt: skip
    paper = here.assign(x=table["paper"], low=np.nan, high=np.nan, look="paper A")
    with styled():
        figure, axes = _beside(pd.concat([here, paper]), ["paper A"])
        for place, axis in enumerate(axes):
            axis.set_xlabel("win rate, %" if place == 1 else "")
            for edge in (1.5, 3.5):
                axis.axhline(edge, color=MUTED, linewidth=0.6, alpha=0.6)
        differs = "A win is “better or both acceptable”. Paper A: another model, data and judge, no interval given."
        used = rates[rates["comparison"].isin(table["arm"] + "-vs-" + table["opponent"])]
        below = caption(used if len(used) else rates, profile, f"{differs} {note}".strip())
        return finish(figure, "Win rates of paper A’s Table 1: this run (filled) and the paper (hollow)", below)


PAPERS_SETS = {"hh": "HH", "tldr": "TL;DR", "alpaca_eval": "AlpacaEval 2.0"}


def table_3(rates: pd.DataFrame, profile: str = "", note: str = "") -> Figure:
    """Paper B's Table 3: methods against the preferred reply, this run in the first panel, the paper's sets beside it.

    ``rates`` is ``stats.table``'s result of comparisons ``<arm>-vs-chosen``.
    """
    table = tables.table_3(tables.against_preferred(rates))
    parts = []
    panels = {"here": "This run: adherence"} | {f"paper {key}": f"Paper B: {name}" for key, name in PAPERS_SETS.items()}
    for name, panel in panels.items():
        ends = [table.get(f"{name}_{end}", pd.Series(np.nan, table.index)) for end in ("low", "high")]
        parts.append(pd.DataFrame({
            "row": table["method"].map(plain), "panel": panel, "x": table[name], "low": ends[0], "high": ends[1],
            "look": "this run" if name == "here" else "paper B",
        }))  # fmt: skip
    with styled():
        figure, axes = _beside(pd.concat(parts), ["paper B"])
        for place, axis in enumerate(axes):
            axis.axvline(50, color=INK, linewidth=0.8, alpha=0.5)
            axis.set_xlabel("beats the preferred reply, %" if place == 1 else "")
        differs = (
            "Ties count half: 50 % is as good as the data’s own replies. Paper B: another model, other data, another "
            f"judge; its intervals are Wilson’s for {B_SAMPLES} samples, none for AlpacaEval."
        )
        title = "Replies against the preferred ones, as in paper B’s Table 3"
        return finish(figure, title, caption(rates, profile, f"{differs} {note}".strip()))


def _beside(points: pd.DataFrame, papers: Sequence[str]) -> tuple[Figure, list[Axes]]:
    order, panels = list(dict.fromkeys(points["row"])), list(dict.fromkeys(points["panel"]))
    looked = {"this run": Look(ACCENT, "o", "-")} | {name: Look(MUTED, "D", "-") for name in papers}
    return point_plot(points, order, panels, looked, sharex=True, hollow=papers)


def tasks(
    identical: pd.DataFrame, measure: str, level: float, words: str, tuned: pd.DataFrame | None = None,
    profile: str = "", note: str = "",
) -> Figure:  # fmt: skip
    """``measure`` of every arm, a panel a task; filled: identical settings, hollow: a rate and β of the arm's own.

    Both tables have task, arm, seeds, ``measure`` and its ``_low`` and ``_high``; ``level`` is what no effect is.
    """
    parts = [(identical, "")] + ([(tuned, " (own rate and β)")] if tuned is not None else [])
    rows = [
        {"panel": one["task"].capitalize(), "row": plain(one["arm"]), "x": one[measure], "low": one[f"{measure}_low"],
         "high": one[f"{measure}_high"], "look": one["arm"] + suffix}
        for table, suffix in parts
        for one in table.to_dict("records")
        if one["arm"] in set(identical["arm"])
    ]  # fmt: skip
    own = looks(identical["arm"])
    looked = own | {f"{arm}{parts[-1][1]}": each for arm, each in own.items()}
    points, arms_ = pd.DataFrame(rows), list(dict.fromkeys(identical["arm"]))
    with styled():
        figure, axes = point_plot(points, [plain(arm) for arm in arms_], list(dict.fromkeys(points["panel"])), looked,
                                  sharex=True, hollow=[name for name in looked if name not in own])  # fmt: skip
        for axis in axes:
            axis.axvline(level, color=INK, linewidth=0.8, alpha=0.5)
            percent_axis(axis.xaxis)
        axes[len(axes) // 2].set_xlabel(words)
        hollow = " Hollow: with a rate and β of the arm’s own." if tuned is not None else ""
        prompts = f"n = {int(identical['conversations'].max())} prompts; " if "conversations" in identical else ""
        basis = f"{prompts}{count(int(identical['seeds'].max()), 'seed')} per arm; 95 % intervals.{hollow} {note}"
        return finish(figure, f"{words[:1].upper()}{words[1:]}" + (f" · {profile}" if profile else ""), basis.strip())
