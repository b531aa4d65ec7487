"""The ranking of all arms (Bradley–Terry with ties) as intervals on one scale."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from guardalign.judging.verdicts import DIMENSIONS
from guardalign.papers import mathtext
from guardalign.report.figures.style import MARKERS, SERIES, canvas, finish, label_axes, styled
from guardalign.report.figures.words import caption
from guardalign.stats import Ranking


def ranking(ranked: Ranking, rates: pd.DataFrame, title: str = "", profile: str = "", note: str = "") -> Figure:
    """Log-strength of each arm with its interval, a panel a dimension; groups without a finite distance stand apart.

    ``ranked`` is ``stats.rank``'s result, ``rates`` the table of the same verdicts (for the caption).
    """
    scores = ranked.scores
    shown = [name for name in DIMENSIONS if name in set(scores["dimension"])]
    first = scores[scores["dimension"] == shown[0]].sort_values(["group", "rank"])
    arms = list(first["arm"])
    places = {
        arm: place + 0.6 * (group - 1) for place, (arm, group) in enumerate(zip(arms, first["group"], strict=True))
    }
    with styled():
        figure, axes = canvas(1.7 + 0.33 * len(arms), columns=len(shown), sharey=True)
        for axis, name, colour, marker in zip(axes, shown, SERIES, MARKERS, strict=False):
            rows = scores[scores["dimension"] == name]
            y = [places[arm] for arm in rows["arm"]]
            reach = [rows["strength"] - rows["low"], rows["high"] - rows["strength"]]
            axis.axvline(0, color=SERIES[7], linewidth=0.8)
            axis.errorbar(rows["strength"], y, xerr=reach, fmt=marker, color=colour, capsize=2.5, markersize=5)
            axis.set_title(name.capitalize())
            label_axes(axis, "x")
        axes[0].set_yticks(list(places.values()), [mathtext(arm) for arm in arms])
        axes[0].set_ylim(max(places.values()) + 0.6, -0.6)
        axes[len(shown) // 2].set_xlabel("log-strength (0: the group’s mean)")
        groups = scores["group"].nunique()
        tops = first[first["rank"] == 1]["arm"]
        words = "First in {}: {}".format(shown[0], " and ".join("{}" for _ in tops))
        if groups > 1:
            words += f" ({groups} groups of arms, each ranked by itself)"
        fit = f"fitted shares of outcomes are within {100 * ranked.fit['worst'].max():.0f} points of the observed ones"
        below = f"Bradley–Terry with ties (Davidson); {fit}; strengths compare within a group only. {note}".strip()
        return finish(
            figure, title or words.format(*map(mathtext, tops)), caption(rates, profile, below),
            title or words.format(*tops),
        )  # fmt: skip
