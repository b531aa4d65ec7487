"""How training went: a row a method, a panel a measure, a line an arm or task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.report.figures.looks import METHODS, looks, plain
from guardalign.report.figures.style import LINES, MUTED, SMALL, TASKS, canvas, finish, label_axes, styled, wrap
from guardalign.report.figures.words import count

PANELS = {
    "loss": "Loss",
    "margin": "Margin β·Δ, nats",
    "accuracy": "Pairs with the chosen reply preferred",
    "kl": "log π/r, nats per reply",
    "entropy": "Entropy, nats per token",
    "grad_norm": "Gradient norm",
}


def training_curves(
    metrics: Mapping[str, pd.DataFrame], methods: Mapping[str, str] | None = None, profile: str = "", note: str = "",
    panels: Sequence[str] = ("loss", "margin", "accuracy", "kl"), window: float = 0.1,
) -> Figure:  # fmt: skip
    """A row a method (losses of two methods do not compare), a panel a measure that it has, a line an arm.

    ``metrics``: arm → rows of its ``metrics.jsonl``; ``methods``: arm → method, by default read from the arm's name.
    Lines are running means over ``window`` of an arm's steps; a single step is a point.
    """
    own = looks(metrics)
    groups: dict[str, list[str]] = {}
    for arm in metrics:
        groups.setdefault((methods or {}).get(arm) or _method(arm), []).append(arm)
    shown = [name for name in panels if any(_has(rows, name) for rows in metrics.values())]
    with styled():
        figure, axes = canvas(1.5 + 1.35 * len(groups), len(groups), len(shown), sharex=True)
        cells = np.array(axes).reshape(len(groups), -1)
        for line, (method, arms) in zip(cells, groups.items(), strict=True):
            for axis, name in zip(line, shown, strict=True):
                for arm in arms:
                    if _has(metrics[arm], name):
                        axis.plot(*_smooth(metrics[arm], name, window), color=own[arm].colour, linestyle=own[arm].line,
                                  marker=own[arm].marker if len(metrics[arm]) == 1 else "",
                                  linewidth=1.5, label=plain(arm))  # fmt: skip
                axis.set_visible(bool(axis.lines))
                label_axes(axis, "y")
                axis.tick_params(labelsize=SMALL)
                axis.set_xlim(0, 1)
                axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
            line[0].set_ylabel(wrap(METHODS.get(method, method), 12), fontweight="bold", fontsize=9)
        for place, name in enumerate(shown):
            column = [axis for axis in axes[place :: len(shown)] if axis.get_visible()]
            column[0].set_title(wrap(PANELS[name], 15), fontsize=9)
            column[-1].set_xlabel("share of steps", fontsize=SMALL)
            column[-1].tick_params(labelbottom=True)
        _legend(figure, axes)
        steps = sorted({int(rows["step"].max()) for rows in metrics.values()})
        lengths = count(steps[0], "step") if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,} steps"
        below = f"Training batches, {lengths}, running mean over {100 * window:.0f} % of them. {note}"
        return finish(figure, "Training of each arm, a row per method" + (f" · {profile}" if profile else ""), below)


def _method(arm: str) -> str:
    last = arm.rpartition("_")[2].lower()
    return "sft" if last.endswith("sft") else last if last in METHODS else arm


def _has(rows: pd.DataFrame, name: str) -> bool:
    return name in rows and bool(rows[name].notna().any())


def _smooth(rows: pd.DataFrame, name: str, window: float) -> tuple[np.ndarray, np.ndarray]:
    known = rows.groupby("step")[name].mean().dropna()
    width = max(1, round(window * len(known)))
    values = known.rolling(width, min_periods=1, center=True).mean()
    return known.index.to_numpy() / max(1, known.index.max()), values.to_numpy()


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    named = {text: line for axis in axes for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=8.5, handlelength=2.6)


def dynamics(steps: pd.DataFrame, observed: Mapping[str, str], profile: str = "", window: float = 0.15) -> Figure:
    """Paper B's observations in words, this run's curves beside them: a row an arm, a line a task, mean over seeds.

    ``steps`` has arm, task, seed, step and the measures; ``observed``: arm → the paper's words.
    """
    names = [name for name in ("margin", "grad_norm", "entropy", "kl") if name in steps]
    arms = [arm for arm in (*observed, "rpo") if arm in set(steps["arm"])]
    tasks = list(dict.fromkeys(steps["task"]))
    with styled():
        figure, axes = canvas(1.6 + 1.2 * len(arms), len(arms), 1 + len(names), sharex="col",
                              width_ratios=[1.3, *([1] * len(names))])  # fmt: skip
        cells = np.array(axes).reshape(len(arms), -1)
        for line, arm in zip(cells, arms, strict=True):
            line[0].axis("off")
            line[0].text(0, 0.98, plain(arm), fontweight="bold", va="top", transform=line[0].transAxes)
            text = f"Paper B: {observed[arm]}" if arm in observed else "not in paper B’s table"
            line[0].text(0, 0.74, wrap(text, 24), fontsize=SMALL, color=MUTED, va="top", transform=line[0].transAxes)
            for axis, name in zip(line[1:], names, strict=True):
                for task, colour, style in zip(tasks, TASKS, LINES, strict=False):
                    rows = steps[(steps["arm"] == arm) & (steps["task"] == task)]
                    if _has(rows, name):
                        axis.plot(*_smooth(rows, name, window), color=colour, linestyle=style, label=task)
                label_axes(axis, "y")
                axis.tick_params(labelsize=SMALL)
                axis.set_xlim(0, 1)
                axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        for place, name in enumerate(names, 1):
            cells[0, place].set_title(wrap(PANELS[name], 14), fontsize=9)
            cells[-1, place].set_xlabel("share of the steps", fontsize=SMALL)
            _same_range(list(cells[:, place]), name == "grad_norm")
        cells[-1, 0].legend(*cells[0, 1].get_legend_handles_labels(), loc="lower left", fontsize=SMALL)
        note = (
            f"Training batches, running mean over {100 * window:.0f} % of the steps, mean over "
            f"{count(steps['seed'].nunique(), 'seed')}. r: the SFT model. Paper B: Table 2, another model, other data."
        )
        title = "Training dynamics of each method, as in paper B’s Table 2"
        return finish(figure, title + (f" · {profile}" if profile else ""), note)


def _same_range(axes: Sequence[Axes], logarithmic: bool) -> None:
    """The same scale for all methods, so that a narrow range is seen to be one."""
    ends = np.array([axis.get_ylim() for axis in axes if axis.lines])
    for axis in axes:
        if logarithmic:
            axis.set_yscale("log")
            axis.minorticks_off()
            axis.set_ylim(max(ends[:, 0].min(), 1e-3) / 1.5, 1.5 * ends[:, 1].max())
        else:
            axis.set_ylim(ends[:, 0].min(), ends[:, 1].max())


def equal_losses(table: pd.DataFrame, profile: str = "") -> Figure:
    """The losses of KTO (tanh) and of KTO at doubled β, drawn over each other, a panel a task; first seed."""
    one, other = [str(name) for name in table.columns if name not in ("task", "seed", "step", "difference")]
    first = table[table["seed"] == table["seed"].min()]
    tasks = list(dict.fromkeys(first["task"]))
    with styled():
        figure, axes = canvas(3.3, columns=len(tasks), sharey=True, sharex=True)
        for axis, task in zip(axes, tasks, strict=True):
            rows = first[first["task"] == task]
            sns.lineplot(
                rows, x="step", y=one, ax=axis, color="#56b4e9", linewidth=5, alpha=0.6, label=plain(one), legend=False
            )
            sns.lineplot(rows, x="step", y=other, ax=axis, color="#d55e00", label=f"{plain(other)}, terms twice",
                         legend=False)  # fmt: skip
            axis.set_title(f"{task.capitalize()}: at most {rows['difference'].max():.0e} apart", fontsize=9)
            axis.set(xlabel="training step", ylabel="loss")
            label_axes(axis, "y")
        axes[0].legend(fontsize=8.5, loc="lower left")
        note = "1 − tanh(u) = 2 (1 − σ(2u)): paper B’s comparison of the two is one of β."
        title = f"Losses of {plain(one)} and {plain(other)}, step by step"
        return finish(figure, title + (f" · {profile}" if profile else ""), note)
