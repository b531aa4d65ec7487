"""Heat maps: which guardrails each arm keeps, and what a grid of learning rates and β shows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from guardalign.report.figures.looks import named, plain, warning
from guardalign.report.figures.style import MUTED, SEQUENTIAL, SMALL, canvas, styled, titled, wrap
from guardalign.report.figures.words import count, span
from guardalign.stats import live

LONGEST_NAME = 46


def guardrail_map(compliance: pd.DataFrame, profile: str = "", marks: Collection[str] = (), most: int = 30) -> Figure:
    """Share kept of the times a guardrail applied, guardrail × arm; the ``most`` frequent, least kept first.

    ``compliance`` is ``stats.compliance``'s result. Kinds that no arm keeps, or every arm, are set apart in grey.
    """
    counts = compliance.groupby("guardrail")["applied"].sum().nlargest(most)
    shown = compliance[compliance["guardrail"].isin(counts.index)]
    grid = 100 * shown.pivot_table(index="guardrail", columns="arm", values="kept", sort=False)
    grid = grid.loc[grid.mean(axis=1).sort_values().index]
    telling = live(compliance).set_index("guardrail")["live"]
    with styled():
        figure, (axes,) = canvas(2.5 + 0.27 * len(grid))
        sns.heatmap(grid, ax=axes, cmap=SEQUENTIAL, vmin=0, vmax=100, annot=True, fmt=".0f", cbar=False,
                    annot_kws={"fontsize": SMALL})  # fmt: skip
        axes.set(xlabel="", ylabel="")
        axes.xaxis.tick_top()
        names = [named(arm, marks, 14) for arm in grid.columns]
        turned: dict[str, Any] = {"rotation": 90} if len(names) > 7 else {}
        axes.set_xticks(np.arange(len(names)) + 0.5, names, fontsize=SMALL, **turned)
        axes.set_yticks(
            np.arange(len(grid)) + 0.5, [_short(str(name)) for name in grid.index], fontsize=8.5, rotation=0
        )
        for label, name in zip(axes.get_yticklabels(), grid.index, strict=True):
            label.set_color(label.get_color() if telling[name] else MUTED)
        axes.tick_params(length=0)
        judge = ", ".join(sorted(compliance["judge"].unique()))
        below = (
            f"{span(counts)} judged applications per guardrail, all arms; judge: {judge}; "
            f"{count(int(compliance['seeds'].max()), 'training seed')}. {int(telling.sum())} of {len(telling)} kinds "
            f"are live; kinds in grey are kept on 95 % or more, or on 5 % or less, by every arm."
            + warning(map(str, grid.columns), marks)
        )
        return titled(figure, "Applications of each guardrail that an arm keeps, %", below, profile)


def grid(table: pd.DataFrame, choice: pd.DataFrame, profile: str = "") -> Figure:
    """``worth`` of every candidate, in %: a panel per method and start, learning rate × β; the chosen cell is framed.

    Both tables, ``tuning.tune``'s ``tried`` and ``choice``, have method, start, learning_rate and beta; ``table`` has
    ``worth``, a fraction.
    """
    panels = list(table.groupby(["start", "method"], sort=False))
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    low, high = 100 * table["worth"].min(), 100 * table["worth"].max()
    with styled():
        figure, axes = canvas(1.5 + 2.0 * -(-len(panels) // columns), -(-len(panels) // columns), columns)
        for axis, ((start, method), part) in zip(axes, panels, strict=False):
            cells = 100 * part.pivot_table(index="beta", columns="learning_rate", values="worth")
            sns.heatmap(cells, ax=axis, cmap=SEQUENTIAL, vmin=low, vmax=high, annot=True, fmt=".0f", cbar=False,
                        annot_kws={"fontsize": SMALL})  # fmt: skip
            axis.set_title(wrap(f"{plain(method)}, from {plain(start)}", 26), fontsize=9.5)
            axis.set(xlabel="learning rate", ylabel="β")
            rates = [f"{rate:.1e}".replace(".0", "").replace("e-0", "e-") for rate in cells.columns]
            axis.set_xticklabels(rates, rotation=0)
            axis.set_yticklabels([f"{beta:.3g}" for beta in cells.index], rotation=0)
            axis.tick_params(length=0)
            for row in choice[(choice["method"] == method) & (choice["start"] == start)].to_dict("records"):
                if row["beta"] in cells.index and row["learning_rate"] in cells.columns:
                    corner = (list(cells.columns).index(row["learning_rate"]), list(cells.index).index(row["beta"]))
                    axis.add_patch(
                        Rectangle(corner, 1, 1, fill=False, edgecolor="#d55e00", linewidth=2.5, clip_on=False)
                    )
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        below = (
            "Worth of a reply: 0 if it is unnatural or invents something, else the share of its guardrails kept. "
            "Framed: the rate and β chosen. A frame at the rim of its grid means that the grid was too small."
        )
        return titled(figure, "Mean worth of the replies to validation prompts, %", below, profile)


def _short(text: str) -> str:
    text = text.replace("$", r"\$")
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1].rstrip() + "…"
