"""Paper A's Table 1 and paper B's Table 3 as pictures: this run's win rates, the papers' in another shape."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.judging.verdicts import DIMENSIONS
from guardalign.papers import B_SAMPLES, mathtext
from guardalign.report.figures.style import INK, MUTED, PAPER, SERIES, canvas, finish, label_axes, styled
from guardalign.report.figures.words import caption
from guardalign.report.tables import against_preferred
from guardalign.report.tables import table_1 as numbers
from guardalign.report.tables import table_3 as methods


def table_1(rates: pd.DataFrame, title: str = "", profile: str = "", note: str = "") -> Figure:
    """Filled: this run, with its interval. Hollow: paper A's printed number, which has none."""
    table = numbers(rates)
    lines = table[["panel", "arm", "opponent"]].drop_duplicates().reset_index(drop=True)
    with styled():
        figure, axes = canvas(1.9 + 0.42 * len(lines), columns=len(DIMENSIONS), sharey=True, sharex=True)
        for axis, dimension in zip(axes, DIMENSIONS, strict=True):
            rows = lines.merge(table[table["dimension"] == dimension], how="left")
            places = rows.index.to_numpy()
            reach = [rows["here"] - rows["here_low"], rows["here_high"] - rows["here"]]
            axis.errorbar(
                rows["here"], places - 0.13, xerr=reach, fmt="o", color=SERIES[0], capsize=2.5, label="this run"
            )
            axis.plot(rows["paper"], places + 0.2, "D", markerfacecolor=PAPER, markeredgecolor=MUTED, label="paper A")
            for place, here, paper in zip(places, rows["here"], rows["paper"], strict=True):
                axis.annotate(
                    f"{paper:.1f}",
                    (paper, place + 0.2),
                    (6, 0),
                    "data",
                    "offset points",
                    fontsize=7,
                    color=MUTED,
                    style="italic",
                    va="center",
                )
                if pd.notna(here):
                    axis.annotate(
                        f"{here:.0f}",
                        (here, place - 0.13),
                        (0, 4),
                        "data",
                        "offset points",
                        fontsize=7.5,
                        color=INK,
                        ha="center",
                    )
            axis.set_title(dimension.capitalize())
            label_axes(axis, "x")
            for place in range(1, len(lines)):
                axis.axhline(place - 0.5, color=MUTED, linewidth=0.8 if place % 2 == 0 else 0.2, alpha=0.5)
        axes[0].set_xlim(float(np.nanmin(table[["here_low", "here", "paper"]].to_numpy())) - 3, 107)
        axes[0].set_yticks(
            range(len(lines)),
            [
                f"{mathtext(arm)} vs {mathtext(opponent)}"
                for arm, opponent in zip(lines["arm"], lines["opponent"], strict=True)
            ],
        )
        axes[0].set_ylim(len(lines) - 0.45, -0.6)
        handles, names = axes[0].get_legend_handles_labels()
        axes[0].legend(
            handles[::-1],
            names[::-1],
            loc="lower left",
            bbox_to_anchor=(0, 1.09),
            ncols=2,
            fontsize=8.5,
            borderaxespad=0,
        )
        axes[1].set_xlabel("win rate, % (better or both acceptable)")
        words = title or agreement(table)
        used = rates[rates["comparison"].isin(lines["arm"].map(str) + "-vs-" + lines["opponent"])]
        differs = "Paper A: Table 1, another model, other data, another judge, no interval given."
        below = caption(used if len(used) else rates, profile, f"{differs} {note}".strip())
        return finish(figure, words, below, words)


def agreement(table: pd.DataFrame) -> str:
    """In how many of the paper's comparisons and dimensions the same arm is ahead here."""
    wide = table.pivot_table(
        index=["panel", "dimension"],
        columns=table.groupby(["panel", "dimension"]).cumcount(),
        values=["here", "paper"],
        sort=False,
    )
    if "here" not in wide.columns.get_level_values(0):
        return "None of paper A’s Table 1 was judged in this run"
    known = wide.dropna()
    same = (known["here"][0] < known["here"][1]) == (known["paper"][0] < known["paper"][1])
    return f"The same arm is ahead as in paper A’s Table 1 in {int(same.sum())} of {len(known)} places"


PAPERS_SETS = {"hh": ("HH", "D"), "tldr": ("TL;DR", "s"), "alpaca_eval": ("AlpacaEval 2.0", "^")}


def table_3(rates: pd.DataFrame, title: str = "", profile: str = "", note: str = "") -> Figure:
    """Methods against the preferred reply: this run in one panel, paper B's printed numbers in another.

    ``rates`` is ``stats.table``'s result of comparisons ``<arm>-vs-chosen``.
    """
    table = methods(against_preferred(rates))
    with styled():
        figure, (here, paper) = canvas(1.9 + 0.4 * len(table), columns=2, sharey=True, sharex=True)
        _points(here, table, "here", "o", SERIES[0], SERIES[0], 0.0)
        for place, (name, (label, marker)) in enumerate(PAPERS_SETS.items()):
            _points(paper, table, f"paper {name}", marker, PAPER, MUTED, 0.22 * (place - 1), label)
        for axis, head in ((here, "This run (adherence)"), (paper, "Paper B")):
            axis.set_title(head)
            axis.axvline(50, color=INK, linewidth=0.8, alpha=0.5)
            axis.set_xlabel("beats the preferred reply, %")
            label_axes(axis, "x")
        here.set_yticks(range(len(table)), [mathtext(name) for name in table["method"]])
        here.set_ylim(len(table) - 0.4, -0.6)
        here.set_xlim(0, max(82.0, float(table["here_high"].max()) + 4))  # NaN, where no interval is known, is no max
        paper.legend(loc="lower right", fontsize=8)
    own = table.dropna(subset=["here"])
    best = own["method"].iloc[int(own["here"].argmax())]
    words = f"{best} comes closest to the data’s preferred replies ({{:.0f}} %)"
    words = title or words.format(own["here"].max())
    differs = (
        "Ties count half: 50 % is as good as the data’s own replies. Paper B: Table 3, another model, other data, "
        f"another judge; its intervals are Wilson’s for {B_SAMPLES} samples, none for AlpacaEval."
    )
    return finish(figure, words, caption(rates, profile, f"{differs} {note}".strip()), words)


def _points(
    axis: Axes, table: pd.DataFrame, name: str, marker: str, face: str, edge: str, shift: float, label: str = ""
) -> None:
    """One column of the table, a row a method, with its interval where it has one."""
    places = table.index.to_numpy() + shift
    if f"{name}_low" in table:
        spans = [table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]]
        axis.errorbar(table[name], places, xerr=spans, fmt="none", ecolor=edge, elinewidth=1, capsize=2)
    axis.plot(table[name], places, marker, markerfacecolor=face, markeredgecolor=edge, label=label, markersize=5)
    if not label:
        for place, value in zip(places, table[name], strict=True):
            if pd.notna(value):
                axis.annotate(
                    f"{value:.0f}", (value, place), (0, 5), "data", "offset points", fontsize=7.5, ha="center"
                )
            else:
                axis.annotate("not trained here", (2, place), fontsize=7.5, color=MUTED, style="italic", va="center")
