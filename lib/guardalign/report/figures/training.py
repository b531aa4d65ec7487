"""Training curves: how loss, margin, accuracy and distance from the reference went, one line an arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.papers import mathtext
from guardalign.report.figures.style import LINES, canvas, finish, label_axes, look, styled

PANELS = {
    "loss": "Loss (each method has its own scale)",
    "margin": "Margin: β·Δ, chosen less rejected (nats)",
    "accuracy": "Pairs whose chosen reply is preferred",
    "logps_chosen": "log π(chosen), sum (nats)",
    "kl": "log π/r, mean over replies (nats)",
    "grad_norm": "Gradient norm",
}


def training_curves(
    metrics: Mapping[str, pd.DataFrame], title: str = "", profile: str = "", note: str = "", window: float = 0.05
) -> Figure:
    """One panel a metric that any arm has, one line an arm; x: share of the arm's steps.

    ``metrics``: arm → rows of its ``metrics.jsonl`` (``step`` and any of loss, margin, accuracy, …). Lines are running
    means over ``window`` of an arm's steps.
    """
    panels = {name: text for name, text in PANELS.items() if any(_has(rows, name) for rows in metrics.values())}
    looks = {arm: look(place, LINES) for place, arm in enumerate(metrics)}
    columns = min(2, len(panels))
    rows_of_panels = -(-len(panels) // columns)
    with styled():
        figure, axes = canvas(1.7 + 2.0 * rows_of_panels, rows_of_panels, columns)
        for axis, (name, text) in zip(axes, panels.items(), strict=False):
            for arm, rows in metrics.items():
                if _has(rows, name):
                    x, y = _smooth(rows, name, window)
                    colour, style = looks[arm]
                    axis.plot(x, y, color=colour, linestyle=style, linewidth=1.5, label=mathtext(arm))
            axis.set_title(text, fontsize=9.5)
            label_axes(axis, "y")
            axis.set_xlim(0, 1)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[max(0, len(panels) - columns) : len(panels)]:
            axis.set_xlabel("share of the arm’s steps")
        _legend(figure, axes)
        steps = [int(rows["step"].max()) for rows in metrics.values()]
        lengths = " to ".join(dict.fromkeys(f"{count:,}" for count in (min(steps), max(steps))))
        words = title or f"{len(metrics)} training runs of {lengths} steps"
        below = (
            f"Training batches, running mean over {100 * window:.0f} % of an arm’s steps; one training run an arm"
            + (f"; profile: {profile}" if profile else "")
            + f". {note}"
        )
        return finish(figure, words, below.strip(), words)


def _has(rows: pd.DataFrame, name: str) -> bool:
    return name in rows and bool(rows[name].notna().any())


def _smooth(rows: pd.DataFrame, name: str, window: float) -> tuple[np.ndarray, np.ndarray]:
    known = rows.dropna(subset=[name])
    width = max(1, round(window * len(known)))
    values = known[name].rolling(width, min_periods=1, center=True).mean().to_numpy()
    return known["step"].to_numpy() / max(1, rows["step"].max()), values


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    named = {text: line for axis in axes for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=8.5, handlelength=2.6)
