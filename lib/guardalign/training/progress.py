"""Reports on each step: metrics to JSONL (and TensorBoard), a throttled log line, early warnings."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from guardalign.errors import OutOfMemory
from guardalign.losses import LossOptions, ScoredBatch, critic_loss, rpo_weights
from guardalign.processes import peak_resident
from guardalign.training.step import StepOutput

WINDOW = 20
SECONDS_BETWEEN_LINES = 5.0


def step_metrics(output: StepOutput, options: LossOptions, reference: bool, embeddings: bool) -> dict[str, float]:
    """Loss and, per reply, mean summed log-probs (nats); with a reference, rewards beta * log pi/r, their margin and
    accuracy, and ``kl`` (mean log pi/r over the batch's replies, a sum over tokens).

    ``entropy`` is the policy's, a mean over the batch's reply tokens (nats over the whole vocabulary); ``critic_loss``
    ½ (V - G)², of methods with a value head.
    """
    batch = output.scored
    chosen, rejected = (float(x.mean()) if len(x) else math.nan for x in batch.split(batch.logps))
    facts = {"loss": output.loss, "logps_chosen": chosen, "logps_rejected": rejected}
    if reference:
        good, bad = batch.split(options.beta * batch.ratio)
        facts |= {
            "reward_chosen": float(good.mean()) if len(good) else math.nan,
            "reward_rejected": float(bad.mean()) if len(bad) else math.nan,
            "kl": float(batch.ratio.mean()),
        }
        facts["margin"] = facts["reward_chosen"] - facts["reward_rejected"]
        if len(good) and len(bad):
            facts["accuracy"] = _accuracy(good, bad)
    if batch.entropy is not None:
        facts["entropy"] = float(batch.entropy.mean())
    if batch.values is not None:
        facts["critic_loss"] = float(critic_loss(batch, options))
    if batch.mismatched_ratio is not None:
        facts["kto_baseline"] = max(0.0, options.beta * float(batch.mismatched_ratio.mean()))
    if embeddings and batch.embeddings is not None:
        facts |= _rpo_metrics(batch, options)
    return {name: value for name, value in facts.items() if not math.isnan(value) or name == "loss"}


def _accuracy(good: torch.Tensor, bad: torch.Tensor) -> float:
    """The share of pairs whose chosen reply has the higher reward; of all combinations where replies are unpaired."""
    paired = len(good) == len(bad)
    return float((good > bad if paired else good[:, None] > bad[None, :]).float().mean())


def _rpo_metrics(batch: ScoredBatch, options: LossOptions) -> dict[str, float]:
    assert batch.embeddings is not None
    weights = rpo_weights(*batch.split(batch.embeddings), options.rpo_temperature)
    return {
        "rpo_weight_largest": float(weights.max()),
        "rpo_weight_own": float(weights.diagonal().mean()),
        "effective_beta": options.beta * float(weights.mean()),
    }


def peak_memory() -> float:
    """GiB: the most the GPU's allocator held, or this process's largest resident size on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return peak_resident() / 2**30


@contextmanager
def naming_out_of_memory(arm: str, row_tokens: int) -> Iterator[None]:
    """Turn a lack of memory into an error that says what to lower. Raises OutOfMemory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not known:
            raise
        first = (str(error).splitlines() or ["MemoryError"])[0]
        raise OutOfMemory(
            f"{arm}: out of memory ({first}). Lower training.row_tokens (now {row_tokens}; the result is the same), "
            "switch training.gradient_checkpointing on, or train adapters (model.lora, model.precision: nf4)."
        ) from error


class Progress:
    """Appends one row per step to ``metrics.jsonl`` and logs a line every few seconds."""

    def __init__(self, path: Path, total: int, log: Callable[[str], object], name: str, tensorboard: bool) -> None:
        self.path, self.total, self.log, self.name = path, total, log, name
        self._last_line = 0.0
        self.last: dict[str, float] = {}
        self._chosen: deque[float] = deque(maxlen=2 * WINDOW)
        self.warnings: list[str] = []
        self._writer = _tensorboard(path.parent) if tensorboard else None

    def rewind(self, step: int) -> None:
        """Drop the rows after ``step``: they are going to be computed again."""
        if not self.path.exists():
            return
        rows = [line for line in self.path.read_text(encoding="utf-8").split("\n") if line and _step(line) <= step]
        if len(rows) != step:
            self.log(f"{self.name}: WARNING: {self.path} is damaged: it has {len(rows)} of {step} steps")
        self.path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")

    def step(self, step: int, metrics: dict[str, float]) -> None:
        self.last = metrics
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **{k: _short(v) for k, v in metrics.items()}}) + "\n")
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, step)
        self._watch(step, metrics)
        now = time.monotonic()
        if now - self._last_line > SECONDS_BETWEEN_LINES or step == self.total:
            self._last_line = now
            shown = ("loss", "margin", "accuracy", "grad_norm", "unique_tokens_per_second")
            figures = "  ".join(f"{k} {metrics[k]:.4g}" for k in shown if k in metrics)
            self.log(f"{self.name}: step {step}/{self.total}  {figures}")

    def warn(self, step: int, message: str) -> None:
        self.warnings.append(f"step {step}: {message}")
        self.log(f"{self.name}: WARNING at step {step}: {message}")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

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


def _tensorboard(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return 2**62


def _short(value: float) -> float:
    return float(f"{value:.6g}")
