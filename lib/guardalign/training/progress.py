"""Reports on each step: metrics to JSONL, log lines, early warnings."""

from __future__ import annotations

import json
import math
import time
from collections import deque

import torch

from guardalign.files import space_for, write_text
from guardalign.losses import critic_loss, rpo_weights
from guardalign.processes import peak_resident
from guardalign.training.arm_folder import METRICS, Log
from guardalign.training.config import TrainingConfig
from guardalign.training.step import StepOutput

WINDOW = 20
SECONDS_BETWEEN_LINES = 5.0


def step_metrics(output: StepOutput, config: TrainingConfig) -> dict[str, float]:
    """Loss and, per reply, mean summed log-probs (nats); with a reference, rewards beta * log pi/r, their margin and
    accuracy, and ``kl`` (mean log pi/r over the batch's replies, a sum over tokens).

    ``entropy`` is the policy's, a mean over the batch's reply tokens (nats over the whole vocabulary); ``critic_loss``
    ½ (V - G)², of methods with a value head.
    """
    batch, options = output.scored, config.loss_options
    chosen, rejected = batch.split(batch.logps)
    facts = {"loss": output.loss, "logps_chosen": float(chosen.mean()), "logps_rejected": float(rejected.mean())}
    if config.loss.reference:
        good, bad = batch.split(options.beta * batch.ratio)
        facts |= {
            "reward_chosen": float(good.mean()),
            "reward_rejected": float(bad.mean()),
            "kl": float(batch.ratio.mean()),
        }
        facts["margin"] = facts["reward_chosen"] - facts["reward_rejected"]
        if len(good) and len(bad):  # over all combinations where replies are unpaired
            higher = good > bad if config.replies == "pair" else good[:, None] > bad[None, :]
            facts["accuracy"] = float(higher.float().mean())
    if batch.entropy is not None:
        facts["entropy"] = float(batch.entropy.mean())
    if batch.values is not None:
        facts["critic_loss"] = float(critic_loss(batch, options))
    if batch.mismatched_ratio is not None:
        facts["kto_baseline"] = max(0.0, options.beta * float(batch.mismatched_ratio.mean()))
    if batch.embeddings is not None and len(chosen) and len(rejected):
        weights = rpo_weights(*batch.split(batch.embeddings), options.rpo_temperature)
        facts |= {
            "rpo_weight_largest": float(weights.max()),
            "rpo_weight_own": float(weights.diagonal().mean()),
            "effective_beta": options.beta * float(weights.mean()),
        }
    # A mean over no replies is NaN.
    return {name: value for name, value in facts.items() if not math.isnan(value) or name == "loss"}


def peak_memory() -> float:
    """GiB: the most the GPU's allocator held, or this process's largest resident size on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return peak_resident() / 2**30


class Progress:
    """Appends one row per step to ``metrics.jsonl`` and logs a line every few seconds; one process does."""

    def __init__(self, config: TrainingConfig, total: int, log: Log) -> None:
        self.config, self.total, self.log = config, total, log
        self.path = config.output / METRICS
        self._last_line = 0.0
        self.last: dict[str, float] = {}
        self._chosen: deque[float] = deque(maxlen=2 * WINDOW)
        self.warnings: list[str] = []

    def rewind(self, step: int) -> None:
        """Drop the rows after ``step``, which will be computed again."""
        if not self.path.exists():
            return
        rows = [line for line in self.path.read_text(encoding="utf-8").split("\n") if line and _step(line) <= step]
        if len(rows) != step:
            self.log(f"{self.config.arm}: WARNING: {self.path} is damaged: it has {len(rows)} of {step} steps")
        write_text(self.path, "".join(f"{row}\n" for row in rows))

    def step(self, step: int, metrics: dict[str, float]) -> None:
        self.last = metrics
        self.path.parent.mkdir(parents=True, exist_ok=True)
        row = {"step": step} | {name: float(f"{value:.6g}") for name, value in metrics.items()}
        with space_for(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        self._watch(step, metrics)
        now = time.monotonic()
        if now - self._last_line > SECONDS_BETWEEN_LINES or step == self.total:
            self._last_line = now
            shown = ("loss", "margin", "accuracy", "grad_norm", "unique_tokens_per_second")
            figures = "  ".join(f"{k} {metrics[k]:.4g}" for k in shown if k in metrics)
            self.log(f"{self.config.arm}: step {step}/{self.total}  {figures}")

    def warn(self, step: int, message: str) -> None:
        self.warnings.append(f"step {step}: {message}")
        self.log(f"{self.config.arm}: WARNING at step {step}: {message}")

    def _watch(self, step: int, metrics: dict[str, float]) -> None:
        """The chosen replies losing probability while the margin grows: the policy unlearns both."""
        if "reward_chosen" not in metrics:
            return
        self._chosen.append(metrics["reward_chosen"])
        if len(self._chosen) == 2 * WINDOW and not any("chosen reward" in w for w in self.warnings):
            values = list(self._chosen)
            before, after = sum(values[:WINDOW]) / WINDOW, sum(values[WINDOW:]) / WINDOW
            if after < 0 and after < before and metrics.get("margin", 0) > 0:
                self.warn(step, f"the chosen reward falls (from {before:.3g} to {after:.3g} over {2 * WINDOW} steps)")


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return 2**62
