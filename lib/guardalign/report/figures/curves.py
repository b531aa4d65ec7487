"""How training went: one row per method, one panel per measure, one line per arm or task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from guardalign.config.plan import Plan
from guardalign.losses import LossOptions, Method, ScoredBatch
from guardalign.report.figures.looks import METHODS, TASKS, Look, look, looks, plain
from guardalign.report.figures.style import RULE, SMALL, canvas, label_axes, styled, titled, wrap
from guardalign.report.figures.words import count

PANELS = {
    "loss": "Loss",
    "margin": "Margin β·Δ, nats",
    "accuracy": "Chosen reply preferred",
    "kl": "log π/r, nats per reply",
    "entropy": "Entropy, nats per token",
    "grad_norm": "Gradient norm",
}
WINDOW = 0.1
TOKENS = 10
"""Completion tokens per reply in ``loss_curves``."""
BELOW = f"Training batches, running mean over {100 * WINDOW:.0f} % of the steps"


def training_curves(metrics: Mapping[str, pd.DataFrame], plan: Plan, profile: str = "", note: str = "") -> Figure:
    """One row per method (losses of two methods do not compare), one panel per measure that it has, one line per arm.

    ``metrics``: arm → rows of its ``metrics.jsonl``. An arm that the plan lacks has a row of its own. A single step is
    a point.
    """
    methods = {arm: plan.arms[arm].method if arm in plan.arms else arm for arm in metrics}
    lines = pd.concat(
        [_lines(steps_of, row=methods[arm], line=arm) for arm, steps_of in metrics.items()], ignore_index=True
    )
    rows = {method: wrap(METHODS.get(method, method), 12) for method in methods.values()}
    steps = sorted({int(steps_of["step"].max()) for steps_of in metrics.values()})
    lengths = count(steps[0], "step") if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,} steps"
    looked = {arm: (plain(arm), each) for arm, each in looks(metrics).items()}
    figure = _grid(lines, rows, ["loss", "margin", "accuracy", "kl"], looked)
    return titled(figure, "Training of each arm, a row per method", f"{BELOW}; {lengths}. {note}".strip(), profile)


def dynamics(steps: pd.DataFrame, observed: dict[str, str], profile: str = "") -> Figure:
    """Paper B's observations next to this run's curves: one row per arm, one line per task, mean over seeds.

    ``steps`` has arm, task, seed, step and the measures; ``observed``: arm → the paper's words.
    """
    words = {arm: f"{plain(arm)}\n{wrap(text, 22)}" for arm, text in (observed | {"rpo": "not in paper B"}).items()}
    shown = steps[steps["arm"].isin(words)]
    lines = [
        _lines(curve, row=str(arm), line=str(task)) for (arm, task), curve in shown.groupby(["arm", "task"], sort=False)
    ]
    looked = {task: (task, look) for task, look in zip(dict.fromkeys(shown["task"]), TASKS, strict=False)}
    rows = {arm: text for arm, text in words.items() if arm in set(shown["arm"])}
    figure = _grid(pd.concat(lines, ignore_index=True), rows, ["margin", "grad_norm", "entropy", "kl"], looked, True)
    note = f"{BELOW}, mean over {count(steps['seed'].nunique(), 'seed')}. r: the SFT model. In words: paper B’s Table 2"
    return titled(figure, "Training dynamics of each method, as in paper B’s Table 2", f"{note}.", profile)


def loss_curves(methods: Mapping[str, Method], beta: float, reach: float = 20.0) -> Figure:
    """Each method's loss against one pair's margin Δ = Δw − Δl, -``reach`` to ``reach`` nats, one panel per method.

    The margin is split evenly over both replies and their tokens: Δw = Δ/2, Δl = −Δ/2. A dot marks the least loss
    where it is within the panel.
    """
    margins = torch.linspace(-reach, reach, 401)
    with styled():
        height = -(-len(methods) // 4)
        figure, axes = canvas(1.0 + 1.45 * height, height, 4, sharex=True)
        for axis, (name, method) in zip(axes, methods.items(), strict=False):
            losses = torch.stack([_pair_loss(method, float(margin), beta) for margin in margins])
            least, colour = int(losses.argmin()), look(name).colour
            axis.plot(margins, losses, color=colour)
            axis.axvline(0, color=RULE, linewidth=0.8, zorder=0)
            if 0 < least < len(margins) - 1:
                axis.plot(margins[least], losses[least], "o", color=colour)
            axis.set_title(METHODS.get(name, name), fontsize=9)
            axis.tick_params(labelsize=SMALL, labelbottom=True)
            label_axes(axis, "y")
        for axis in axes[len(methods) :]:
            axis.set_visible(False)
        figure.supylabel("loss of one pair", fontsize=SMALL)
    note = (
        f"β = {beta:g}, replies of {TOKENS} tokens. Horizontal axis: Δ = Δw − Δl in nats, Δw = −Δl; dot: least loss. "
        "SFT and SLiC have no reference: log-probabilities up to a constant in place of log-ratios."
    )
    return titled(figure, "Loss over the margin, a panel per method", note)


def _pair_loss(method: Method, margin: float, beta: float) -> torch.Tensor:
    chosen = torch.tensor([True, False])[: 1 if method.replies == "chosen" else 2]
    sequence = torch.arange(len(chosen)).repeat_interleave(TOKENS)
    signs = torch.where(chosen, 0.5, -0.5)[sequence]
    pair = ScoredBatch(
        policy=margin / TOKENS * signs, reference=torch.zeros(len(sequence)), sequence=sequence, chosen=chosen,
        values=torch.zeros(len(sequence)), embeddings=torch.ones(len(chosen), 1),
    )  # fmt: skip
    return method.terms(pair, LossOptions(beta=beta)).mean()


def _lines(rows: pd.DataFrame, **names: str) -> pd.DataFrame:
    """Every measure of one line, smoothed: panel, x (share of the steps), y and ``names``."""
    known = rows.groupby("step")[[name for name in PANELS if name in rows]].mean().dropna(axis=1, how="all")
    smooth = known.rolling(max(1, round(WINDOW * len(known))), min_periods=1, center=True).mean()
    table = smooth.set_axis(smooth.index / max(1, smooth.index.max())).rename_axis("x").reset_index()
    return table.melt("x", var_name="panel", value_name="y").assign(**names)


def _grid(
    lines: pd.DataFrame, rows: Mapping[str, str], panels: Sequence[str], looked: Mapping[str, tuple[str, Look]],
    share: bool = False,
) -> Figure:  # fmt: skip
    """A grid of lines: ``lines`` has row, panel, line, x, y; ``looked``: line → its name in the legend and its look.

    Panels that no line has are left out, axes without a line hidden; ``share``: one scale per column.
    """
    panels = [panel for panel in panels if panel in set(lines["panel"])]
    with styled():
        shared = "col" if share else False
        figure, axes = canvas(1.7 + 1.35 * len(rows), len(rows), len(panels), sharex=True, sharey=shared)
        cells = np.array(axes).reshape(len(rows), -1)
        for line, (row, words) in zip(cells, rows.items(), strict=True):
            for axis, panel in zip(line, panels, strict=True):
                here = lines[(lines["row"] == row) & (lines["panel"] == panel)]
                for name, (text, look) in looked.items():
                    own = here[here["line"] == name]
                    if len(own):
                        mark = look.marker if len(own) == 1 else ""
                        axis.plot(own["x"], own["y"], color=look.colour, ls=look.line, marker=mark, label=text)
                axis.set_visible(len(here) > 0)
                label_axes(axis, "y")
                axis.tick_params(labelsize=SMALL)
            line[0].set_ylabel(words, fontsize=SMALL, rotation=0, ha="right", va="center", multialignment="left")
        for column, panel in zip(cells.T, panels, strict=True):
            seen = [axis for axis in column if axis.get_visible()]
            seen[0].set_title(wrap(PANELS[panel], 14), fontsize=9)
            if share and panel == "grad_norm":  # methods differ by orders of magnitude
                seen[0].set_yscale("log")
            seen[-1].set_xlabel("share of steps", fontsize=SMALL)
            seen[-1].tick_params(labelbottom=True)
        previous: list[str] = []
        for line in cells:  # a legend beside each row whose lines are several and not those of the row above
            seen = [axis for axis in line if axis.get_visible()]
            handles, names = seen[0].get_legend_handles_labels()
            if len(names) > 1 and names != previous:
                texts, where = [wrap(name, 22) for name in names], {"loc": "upper left", "bbox_to_anchor": (1.02, 1.05)}
                legend = seen[-1].legend(handles, texts, fontsize=SMALL, handlelength=2.4, borderaxespad=0, **where)
                legend.set_in_layout(seen[-1] is line[-1])  # beside hidden axes there is room already
            previous = names
    return figure
