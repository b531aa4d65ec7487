"""The comparison's figures: win rates and accuracy gains with intervals, training dynamics, equal losses, cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.report.comparison.names import label
from guardalign.report.figures.style import (
    INK,
    LINES,
    MUTED,
    PAPER,
    SERIES,
    canvas,
    finish,
    label_axes,
    percent_axis,
    styled,
    wrap,
)
from guardalign.report.figures.words import span
from guardalign.study.comparison.dynamics import OBSERVED
from guardalign.study.comparison.jobs import SFT

PANELS = {
    "margin": "Margin β·Δ (nats)",
    "grad_norm": "Gradient norm",
    "entropy": "Entropy (nats a token)",
    "kl": "log π/r (nats a reply)",
}
DRAWN = (*OBSERVED, "rpo")
TWIN = "Twins of the paper’s tasks in the embedded world, judged by reading the text; not the paper’s data."


def preferred(identical: pd.DataFrame, tuned: pd.DataFrame | None = None, profile: str = "") -> Figure:
    """Win rate against the data's preferred reply, a panel a task, a row a method; hollow: with its own rate and β.

    Both are a protocol's ``_methods.csv``.
    """
    methods = identical[identical["arm"] != SFT]
    best = methods.sort_values("win").iloc[-1]
    clear = (methods["win_low"] > 0.5).groupby(methods["task"], sort=False).sum()
    beyond = ", ".join(f"{count} in {task}" for task, count in clear.items() if count)
    title = (
        f"{label(best['arm'])} wins most ({best['task']}: {100 * best['win']:.0f} %); arms that beat the preferred "
        f"reply beyond doubt: {beyond or 'none'}"
    )
    note = f"Share of prompts whose reply reads better than the data’s preferred one, ties half. {TWIN}"
    return _forest(
        identical, tuned, "win", 0.5, "beats the preferred reply", title, _caption(identical, tuned, profile, note)
    )


def accuracy_gains(identical: pd.DataFrame, tuned: pd.DataFrame | None = None, profile: str = "") -> Figure:
    """Held-out preference accuracy less the SFT model's, laid out as :func:`preferred`."""
    methods = identical[identical["arm"] != SFT]
    raised, count = int((methods["accuracy_gain_low"] > 0).sum()), len(methods)
    title = f"In {raised} of {count} cases training raises held-out preference accuracy beyond doubt"
    note = "Share of held-out pairs whose chosen reply has the higher log-probability, less the SFT model’s share."
    words = "gain in preference accuracy"
    return _forest(methods, tuned, "accuracy_gain", 0.0, words, title, _caption(identical, tuned, profile, note))


def _forest(
    table: pd.DataFrame, other: pd.DataFrame | None, measure: str, level: float, words: str, title: str, caption: str
) -> Figure:
    arms, tasks = list(dict.fromkeys(table["arm"])), list(dict.fromkeys(table["task"]))
    with styled():
        figure, axes = canvas(1.9 + 0.3 * len(arms), columns=len(tasks), sharey=True, sharex=True)
        for axis, task, colour in zip(axes, tasks, SERIES, strict=False):
            axis.axvline(level, color=INK, linewidth=0.8, alpha=0.5)
            _intervals(axis, table[table["task"] == task], arms, measure, colour, colour, 0.0, "identical settings")
            if other is not None:
                rows = other[(other["task"] == task) & other["arm"].isin(arms) & (other["arm"] != SFT)]
                _intervals(axis, rows, arms, measure, PAPER, colour, 0.27, "own rate and β")
            axis.set_title(task.capitalize())
            percent_axis(axis.xaxis)
            label_axes(axis, "x")
        axes[0].set_yticks(range(len(arms)), [label(arm) for arm in arms])
        axes[0].set_ylim(len(arms) - 0.3, -0.6)
        axes[len(tasks) // 2].set_xlabel(words)
        if other is not None:
            axes[0].set_ylim(len(arms) + 1.4, -0.6)
            axes[0].legend(loc="lower left", fontsize=7.5, handletextpad=0.3)
        return finish(figure, title, caption)


def _intervals(
    axis: Axes, rows: pd.DataFrame, arms: Sequence[str], measure: str, face: str, edge: str, shift: float, name: str
) -> None:
    places = [arms.index(arm) + shift for arm in rows["arm"]]
    # Of very few prompts an estimate may lie outside its percentile interval.
    reach = np.maximum(0, [rows[measure] - rows[f"{measure}_low"], rows[f"{measure}_high"] - rows[measure]])
    axis.errorbar(
        rows[measure], places, xerr=reach, fmt="o", markersize=4.5, markerfacecolor=face, markeredgecolor=edge,
        ecolor=edge, elinewidth=1.2, capsize=2, label=name,
    )  # fmt: skip


def dynamics(steps: pd.DataFrame, profile: str = "", window: float = 0.15) -> Figure:
    """Paper B's observations in words, this run's curves beside them: a row a method, a line a task, mean over seeds.

    ``steps`` is ``dynamics.curves``'s result; identical settings alone.
    """
    own = steps[(steps["protocol"] == "identical") & steps["arm"].isin(DRAWN)]
    arms, tasks = [arm for arm in DRAWN if arm in set(own["arm"])], list(dict.fromkeys(own["task"]))
    with styled():
        figure, axes = canvas(
            1.6 + 1.12 * len(arms), len(arms), 1 + len(PANELS), width_ratios=[1.25, 1, 1, 1, 1], sharex="col"
        )
        grid = np.array(axes).reshape(len(arms), -1)
        for line, arm in zip(grid, arms, strict=True):
            _words(line[0], arm)
            for axis, name in zip(line[1:], PANELS, strict=True):
                _lines(axis, own[own["arm"] == arm], tasks, name, window)
        for place, (name, text) in enumerate(PANELS.items(), 1):
            grid[0, place].set_title(wrap(text, 14), fontsize=9)
            grid[-1, place].set_xlabel("share of the steps", fontsize=8)
            _same_range(list(grid[:, place]), name == "grad_norm")
        grid[-1, 0].legend(*grid[0, 1].get_legend_handles_labels(), loc="lower left", fontsize=8)
        last = own[own["step"] > 0.8 * own.groupby("arm")["step"].transform("max")].groupby("arm")["margin"].mean()
        most, least = str(last.idxmax()), str(last.idxmin())
        title = (
            f"Margins end widest under {label(most)} ({last[most]:.2g} nats), narrowest under {label(least)} "
            f"({last[least]:.2g})"
        )
        note = (
            f"Training batches, running mean over {100 * window:.0f} % of the steps; a mean over {_seeds(own)}, "
            "one line a task. r: the SFT model. Paper B: its Table 2, another model and other data."
        )
        return finish(figure, title.replace("-", "−"), note + (f" Profile: {profile}." if profile else ""))


def _words(axis: Axes, arm: str) -> None:
    axis.axis("off")
    axis.text(0, 0.98, label(arm), fontweight="bold", va="top", transform=axis.transAxes)
    observed = OBSERVED.get(arm)
    text = f"Paper B: {observed}" if observed else "not in paper B’s table"
    axis.text(0, 0.74, wrap(text, 25), fontsize=7.5, color=MUTED, va="top", transform=axis.transAxes)


def _lines(axis: Axes, own: pd.DataFrame, tasks: Sequence[str], name: str, window: float) -> None:
    for task, colour, style in zip(tasks, SERIES, LINES, strict=False):
        rows = own[own["task"] == task]
        if name in rows and rows[name].notna().any():
            mean = rows.groupby("step")[name].mean()
            width = max(1, round(window * len(mean)))
            smooth = mean.rolling(width, min_periods=1, center=True).mean()
            axis.plot(smooth.index / smooth.index.max(), smooth, color=colour, linestyle=style, label=task)
        else:
            axis.plot([], [], color=colour, linestyle=style, label=task)
    label_axes(axis, "y")
    axis.tick_params(labelsize=7.5)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])


def _same_range(axes: Sequence[Axes], logarithmic: bool) -> None:
    """The same scale for all methods, so that a narrow range is seen to be one."""
    ends = np.array([axis.get_ylim() for axis in axes if any(np.size(line.get_xdata()) for line in axis.lines)])
    for axis in axes:
        if logarithmic:
            axis.set_yscale("log")
            axis.minorticks_off()
            axis.set_ylim(max(ends[:, 0].min(), 1e-3) / 1.5, 1.5 * ends[:, 1].max())
        else:
            axis.set_ylim(ends[:, 0].min(), ends[:, 1].max())


def equal_losses(table: pd.DataFrame, profile: str = "") -> Figure:
    """The losses of KTO (tanh) and of KTO at doubled β, drawn over each other; ``dynamics.same_loss``'s result."""
    one, other = [str(name) for name in table.columns if name not in ("task", "seed", "step", "difference")]
    tasks = list(dict.fromkeys(table["task"]))
    with styled():
        figure, axes = canvas(3.3, columns=len(tasks), sharey=True, sharex=True)
        for axis, task in zip(axes, tasks, strict=True):
            rows = table[(table["task"] == task) & (table["seed"] == table["seed"].min())]
            axis.plot(rows["step"], rows[one], color=SERIES[5], linewidth=5, alpha=0.6, label=label(one))
            axis.plot(rows["step"], rows[other], color=SERIES[1], linewidth=1.3, label=f"{label(other)}, terms twice")
            axis.set_title(f"{task.capitalize()} (≤ {rows['difference'].max():.0e} apart)", fontsize=9)
            label_axes(axis, "y")
        axes[0].set_ylabel("loss")
        axes[len(tasks) // 2].set_xlabel("training step")
        axes[0].legend(fontsize=8, loc="lower left")
        worst = table["difference"].max()
        word = "are the same loss" if worst < 1e-4 else "part"
        title = f"{label(one)} and {label(other)} {word}: apart by {worst:.0e} at most"
        note = "1 − tanh(u) = 2 (1 − σ(2u)): paper B’s comparison of the two is one of β." + (
            f" Profile: {profile}." if profile else ""
        )
        return finish(figure, title, note)


COSTS = {
    "seconds": "Training, s",
    "memory_gib": "Most memory, GiB",
    "passes": "Replies scored a pair",
}


def cost(summary: pd.DataFrame, profile: str = "") -> Figure:
    """Time, memory and passes of each arm after SFT, means over tasks and seeds.

    Passes are through the policy, the reference and, online, the reward model.
    """
    kinds = [name for name in ("policy_passes", "reference_passes", "reward_passes") if name in summary]
    rows = summary[summary["arm"] != SFT]
    table = rows.groupby("arm", sort=False)[["seconds", "memory_gib", *kinds]].mean().sort_values("seconds")
    places = np.arange(len(table))
    with styled():
        figure, axes = canvas(1.8 + 0.28 * len(table), columns=3, sharey=True)
        for axis, (name, text), colour in zip(axes, COSTS.items(), (SERIES[0], SERIES[7], SERIES[2]), strict=True):
            if name == "passes":
                _stacked(axis, table[kinds].fillna(0), places)
            else:
                axis.barh(places, table[name], 0.6, color=colour)
                for place, value in zip(places, table[name], strict=True):
                    axis.annotate(
                        f"{value:.3g}", (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7.5
                    )
                axis.set_xlim(0, 1.2 * float(table[name].max()))
            axis.set_title(text)
            label_axes(axis, "x")
        axes[0].set_yticks(places, [label(arm) for arm in table.index])
        axes[0].set_ylim(len(table) - 0.4, -0.6)
        dearest, cheapest = table.index[-1], table.index[0]
        title = (
            f"{label(dearest)} takes {table['seconds'].iloc[-1] / table['seconds'].iloc[0]:.1f} times as long as "
            f"{label(cheapest)}"
        )
        note = (
            "Means over tasks and seeds. Reference log-probabilities are computed once for all arms of a task and "
            "seed, outside these times. Memory on a CPU is the process’s resident size, Python and libraries included."
        )
        return finish(figure, title, note + (f" Profile: {profile}." if profile else ""))


def _stacked(axis: Axes, table: pd.DataFrame, places: np.ndarray) -> None:
    left = np.zeros(len(table))
    for (name, values), colour in zip(table.items(), (SERIES[2], PAPER, SERIES[4]), strict=False):
        word = str(name).removesuffix("_passes")
        axis.barh(places, values, 0.6, left=left, color=colour, edgecolor=SERIES[2], linewidth=0.8, label=word)
        left += values.to_numpy()
    axis.set_xlim(0, 1.7 * float(table.sum(axis=1).max()))
    axis.legend(fontsize=7.5, loc="upper right")


def _caption(table: pd.DataFrame, tuned: pd.DataFrame | None, profile: str, note: str) -> str:
    bounds = "95 % intervals of " + ("the methods" if table["seeds"].max() > 1 else "these trained models")
    seeds = f"{span(table['seeds'])} seed{'s' if table['seeds'].max() > 1 else ''} an arm"
    if tuned is not None:
        seeds += f" ({span(tuned.loc[tuned['arm'] != SFT, 'seeds'])} with its own rate and β)"
    facts = f"n = {span(table['conversations'])} prompts, {seeds}; {bounds}."
    return f"{facts} {note}" + (f" Profile: {profile}." if profile else "")


def _seeds(own: pd.DataFrame) -> str:
    count = own["seed"].nunique()
    return f"{count} seed{'s' if count > 1 else ''}"
