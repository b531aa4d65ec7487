"""Panels on the replies themselves: length, repetition, cut-offs; adherence against naturalness; cost against wins."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from guardalign.papers import mathtext
from guardalign.report.figures.style import (
    INK,
    MARKERS,
    MUTED,
    SERIES,
    canvas,
    finish,
    label_axes,
    look,
    percent_axis,
    styled,
)
from guardalign.report.figures.words import HOLD, caption, span
from guardalign.stats import opponents


def reply_panels(statistics: pd.DataFrame, title: str = "", profile: str = "", note: str = "") -> Figure:
    """Words a reply (box: quartiles, whiskers: 5–95 %), mean share of repeated 3-grams, share cut off; a row an arm.

    ``statistics`` is ``replystats.reply_statistics``'s result.
    """
    medians = statistics.groupby("arm")["words"].median().sort_values()
    arms = list(medians.index)
    groups = [statistics[statistics["arm"] == arm] for arm in arms]
    with styled():
        figure, axes = canvas(1.6 + 0.32 * len(arms), columns=3, sharey=True, width_ratios=[2, 1, 1])
        axes[0].boxplot(
            [group["words"] for group in groups], orientation="horizontal", positions=range(len(arms)), whis=(5, 95),
            showfliers=False, widths=0.55, patch_artist=True, medianprops={"color": INK, "linewidth": 1.6},
            boxprops={"facecolor": "#b9d6ea", "edgecolor": MUTED}, whiskerprops={"color": MUTED},
            capprops={"color": MUTED},
        )  # fmt: skip
        _shares(axes[1], [float(group["repetition"].mean()) for group in groups], SERIES[1])
        _shares(axes[2], [1 - float(group["finished"].mean()) for group in groups], SERIES[7])
        for axis, text in zip(axes, ("Words a reply", "Repeated 3-grams", "Cut off"), strict=True):
            axis.set_title(text)
            label_axes(axis, "x")
        axes[0].set_yticks(range(len(arms)), [mathtext(arm) for arm in arms])
        spread = medians.iloc[-1] / max(medians.iloc[0], 1)
        lengths = [f"{medians.iloc[place]:.0f}" for place in (0, -1)]
        words = title or f"Median reply length: {' to '.join(dict.fromkeys(lengths))} words" + (
            "; longest and shortest arms differ by more than half" if spread > 1.5 else ""
        )
        count = statistics.groupby("arm").size()
        below = (
            f"n = {span(count)} replies an arm; boxes: quartiles, whiskers: 5th and 95th percentile"
            + (f"; profile: {profile}" if profile else "")
            + f". {note}"
        )
        return finish(figure, words, below.strip(), words)


def tradeoff(
    rates: pd.DataFrame, x: str = "adherence", y: str = "naturalness", title: str = "", profile: str = "",
    note: str = "",
) -> Figure:  # fmt: skip
    """One point an arm: mean win rate on ``x`` against that on ``y``, over its opponents, with mean intervals."""
    sides = opponents(rates)
    across, up = (sides[sides["dimension"] == name].groupby("arm")[["win", "low", "high"]].mean() for name in (x, y))
    up = up.reindex(across.index)
    with styled():
        figure, (axes,) = canvas(4.6, width=7.2)
        _points(axes, across["win"], up["win"], _reach(up), _reach(across))
        axes.set_xlabel(f"{x.capitalize()}: win rate")
        axes.set_ylabel(f"{y.capitalize()}: win rate")
        percent_axis(axes.xaxis)
        correlation = across["win"].corr(up["win"])
        strength = f"(r{HOLD}={HOLD}{correlation:.2f} over {len(across)} arms)"
        words = title or f"Arms that win on {x} {_trade(correlation)} on {y} {strength}"
        if np.isnan(correlation) and not title:
            words = f"{x.capitalize()} and {y} of {len(across)} arms"
        below = f"Mean over an arm’s opponents of “better or both acceptable”. {note}".strip()
        return finish(figure, words.replace("-", "−"), caption(rates, profile, below), words)


def cost_against_wins(
    rates: pd.DataFrame, cost: pd.Series, unit: str, dimension: str = "adherence", title: str = "", profile: str = "",
    note: str = "",
) -> Figure:  # fmt: skip
    """One point an arm: what it cost (``cost``: arm → number, in ``unit``) against its mean win rate."""
    sides = opponents(rates[rates["dimension"] == dimension])
    means = sides.groupby("arm")[["win", "low", "high"]].mean()
    known = means.join(cost.rename("cost"), how="inner")
    with styled():
        figure, (axes,) = canvas(4.2, width=7.2)
        axes.set_xlim(0, 1.12 * float(known["cost"].max()))
        _points(axes, known["cost"], known["win"], _reach(known))
        axes.set_xlabel(f"cost of the arm, {unit}")
        axes.set_ylabel(f"{dimension.capitalize()}: win rate")
        best, cheapest = str(known["win"].idxmax()), str(known["cost"].idxmin())
        top = known.loc[[best]].iloc[0]
        words = f"{{}} wins most ({100 * top['win']:.0f} %) at {top['cost']:.3g} {unit}"
        if best != cheapest:
            words += f"; the cheapest arm, {{}}, {100 * known.loc[[cheapest]].iloc[0]['win']:.0f} %"
        below = caption(rates, profile, f"Mean over an arm’s opponents. {note}".strip())
        names = [mathtext(arm) for arm in (best, cheapest)]
        return finish(figure, title or words.format(*names), below, title or words.format(best, cheapest))


def _reach(sides: pd.DataFrame) -> np.ndarray:
    return np.array([sides["win"] - sides["low"], sides["high"] - sides["win"]])


def _points(axes: Axes, x: pd.Series, y: pd.Series, up: np.ndarray, across: np.ndarray | None = None) -> None:
    """A marker an arm above its intervals; names stand in a legend, where no two can cover each other."""
    for place in range(len(x)):
        colour, marker = look(place, MARKERS)
        sideways = None if across is None else across[:, [place]]
        point = (x.iloc[place], y.iloc[place])
        axes.errorbar(*point, yerr=up[:, [place]], xerr=sideways, color=colour, elinewidth=0.9, zorder=2)
        axes.plot(*point, marker, color=colour, markersize=7, zorder=4, label=mathtext(str(x.index[place])))
    percent_axis(axes.yaxis)
    label_axes(axes)
    axes.grid(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0, labelspacing=0.8)


def _trade(correlation: float) -> str:
    if np.isnan(correlation) or abs(correlation) < 0.3:
        return "neither gain nor lose"
    return "also win" if correlation > 0 else "lose"


def _shares(axes: Axes, shares: list[float], colour: str) -> None:
    axes.barh(range(len(shares)), shares, 0.55, color=colour)
    for place, share in enumerate(shares):
        axes.annotate(f"{100 * share:.1f} %", (share, place), (4, 0), textcoords="offset points", va="center",
                      fontsize=8)  # fmt: skip
    axes.set_xlim(0, max(0.05, 1.5 * max(shares)))
    axes.xaxis.set_major_locator(MaxNLocator(3))
    percent_axis(axes.xaxis)
