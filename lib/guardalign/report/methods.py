"""The comparison of methods: its table and its figure."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from guardalign.papers import mathtext
from guardalign.report.figures.heldout import caption, finding
from guardalign.report.figures.style import INK, MUTED, SERIES, canvas, finish, percent, styled


def table_of_methods(held_out: pd.DataFrame, statistics: pd.DataFrame) -> pd.DataFrame:
    """The held-out figures of each arm with its replies' mean length (words), repetition and share cut off."""
    means = statistics.assign(cut_off=~statistics["finished"]).groupby("arm")[["words", "repetition", "cut_off"]].mean()
    return held_out.merge(means, left_on="arm", right_index=True, how="left", validate="one_to_one")


def method_figure(table: pd.DataFrame, profile: str = "") -> Figure:
    """Held-out preference accuracy against the chosen replies' negative log-likelihood, a point a method."""
    with styled():
        figure, (axes,) = canvas(4.8, width=7.6)
        reach = [table["accuracy"] - table["accuracy_low"], table["accuracy_high"] - table["accuracy"]]
        looks: dict[str, Any] = {"color": SERIES[0], "ecolor": MUTED, "elinewidth": 1, "capsize": 2}
        axes.errorbar(table["accuracy"], -table["nll"], xerr=reach, fmt="o", **looks)
        for name, across, nll in zip(table["arm"], table["accuracy"], table["nll"], strict=True):
            axes.annotate(
                mathtext(name), (across, -nll), xytext=(5, 4), textcoords="offset points", color=INK, fontsize=9
            )
        axes.xaxis.set_major_formatter(percent)
        axes.set_xlabel("chosen reply more likely than rejected (held-out pairs)")
        axes.set_ylabel("log-likelihood a token\nof the chosen reply (nats)")
    return finish(figure, finding(table), caption(table, profile))
