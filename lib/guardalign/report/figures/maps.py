"""Heat maps: every pair of arms, and every guardrail by arm."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.papers import mathtext
from guardalign.report.figures.style import DIVERGING, MUTED, ON_DARK, ON_LIGHT, SEQUENTIAL, canvas, finish, styled
from guardalign.report.figures.words import HOLD, Name, caption, interval, span
from guardalign.stats import opponents

LONGEST_NAME = 46
# A strict win rate below this reads as 50 %.
TIED = 0.505


def pair_map(
    rates: pd.DataFrame, dimension: str = "adherence", title: str = "", profile: str = "", note: str = ""
) -> Figure:
    """Strict win rate (ties half) of the row's arm against the column's, in %; pairs that never met stay empty."""
    rows = rates[rates["dimension"] == dimension]
    means = opponents(rows).groupby("arm")["win"].mean().sort_values(ascending=False)
    arms = sorted(means.index, key=lambda arm: str(arm)[:1])
    grid = pd.DataFrame(np.nan, index=arms, columns=arms)
    for one, two, strict in zip(rows["arm_1"], rows["arm_2"], rows["strict"], strict=True):
        grid.loc[one, two], grid.loc[two, one] = strict, 1 - strict
    side = 1.6 + 0.44 * len(grid)
    with styled():
        figure, (axes,) = canvas(side + 1.1, width=max(6.0, side + 1.6))
        reach = max(0.15, float(np.nanmax(np.abs(grid.to_numpy() - 0.5))))
        _cells(axes, grid.to_numpy(), DIVERGING, 0.5 - reach, 0.5 + reach)
        names = [mathtext(arm) for arm in grid.index]
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=0 if len(names) < 7 else 45)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.set_xlabel("against")
        axes.set_aspect("equal")
        met = int(rows[["arm_1", "arm_2"]].drop_duplicates().shape[0])
        words = title or _widest(rows, dimension)
        more = (
            f"{met} pairs met; strict win rate of the row’s arm in %: better counts 1, both or none ½. {note}".strip()
        )
        return finish(figure, words, caption(rows, profile, more), title or _widest(rows, dimension, str))


def guardrail_map(
    compliance: pd.DataFrame, title: str = "", profile: str = "", note: str = "", most: int = 30
) -> Figure:
    """Which guardrails each arm keeps: share kept of the times it applied, guardrail × arm.

    ``compliance`` is ``stats.compliance``'s result; the ``most`` guardrails that applied most often are shown,
    the least kept first.
    """
    counts = compliance.groupby("guardrail")["applied"].sum().nlargest(most)
    shown = compliance[compliance["guardrail"].isin(counts.index)]
    grid = shown.pivot_table(index="guardrail", columns="arm", values="kept")
    grid = grid.loc[grid.mean(axis=1).sort_values().index, grid.mean().sort_values(ascending=False).index]
    with styled():
        figure, (axes,) = canvas(1.7 + 0.27 * len(grid))
        _cells(axes, grid.to_numpy(), SEQUENTIAL, 0.0, 1.0)
        axes.set_xticks(np.arange(grid.shape[1]) + 0.5, [mathtext(str(arm)) for arm in grid.columns])
        axes.set_yticks(np.arange(len(grid)) + 0.5, [_short(str(name)) for name in grid.index], fontsize=8.5)
        axes.xaxis.tick_top()
        judge = ", ".join(sorted(compliance["judge"].unique()))
        seeds = int(compliance["seeds"].max())
        worst = shown.iloc[int(shown["kept"].argmin())]
        value = interval(worst["kept"], worst["kept_low"], worst["kept_high"])
        rule = _short(str(worst["guardrail"]))
        words = title or f"Most often broken: “{rule}”, kept by {mathtext(worst['arm'])} in {value}{HOLD}%"
        below = (
            f"Share of guardrails kept in %, where they apply; {span(counts)} judged replies a guardrail, all arms; "
            f"judge: {judge}; {seeds} training seed{'s' * (seeds > 1)}; in brackets: 95 % interval"
            + (f"; profile: {profile}" if profile else "")
            + f". {note}"
        )
        return finish(figure, words, below.strip(), words.replace(mathtext(worst["arm"]), worst["arm"]))


def _cells(axes: Axes, values: np.ndarray, colours: str, low: float, high: float) -> None:
    rows, columns = values.shape
    scale = matplotlib.colormaps[colours]
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=scale, vmin=low, vmax=high, edgecolors="face", linewidth=0)
    for row in range(rows):
        for column in range(columns):
            value = values[row, column]
            known = not np.isnan(value)
            axes.text(
                column + 0.5, row + 0.5, f"{100 * value:.0f}" if known else "·", ha="center", va="center",
                fontsize=8.5, color=_on(scale((value - low) / (high - low))) if known else MUTED,
            )  # fmt: skip
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _on(colour: tuple[float, float, float, float]) -> str:
    red, green, blue, _ = colour
    return ON_LIGHT if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else ON_DARK


def _widest(rows: pd.DataFrame, dimension: str, name: Name = mathtext) -> str:
    row = rows.iloc[int((rows["strict"] - 0.5).abs().argmax())]
    ahead, behind, share = (
        (row["arm_1"], row["arm_2"], row["strict"])
        if row["strict"] >= 0.5
        else (row["arm_2"], row["arm_1"], 1 - row["strict"])
    )
    if share < TIED:
        return f"No pair of arms differs in {dimension}"
    return f"Widest gap in {dimension}: {name(ahead)} wins {100 * share:.0f} % against {name(behind)}"


def _short(text: str) -> str:
    text = text.replace("$", r"\$")
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1].rstrip() + "…"
