"""One optimiser step's loss and gradients, the same whatever the number of rows and processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from guardalign.losses import LossOptions, Method, ScoredBatch
from guardalign.training.batches import Batch, share
from guardalign.tree.prefix_tree import TreeRow, pack, tree_row
from guardalign.tree.scoring import Entropy, RowScores


@dataclass(frozen=True)
class StepInput:
    """A batch with everything the loss needs besides the policy's scores.

    ``reference``: a vector (completion_length,) for each of the batch's sequences, or None; ``embeddings``: (S, d).
    """

    batch: Batch
    reference: list[np.ndarray] | None = None
    embeddings: Tensor | None = None


@dataclass
class StepOutput:
    loss: float
    scored: ScoredBatch
    logical_tokens: int
    unique_tokens: int


class BatchLoss:
    """The batch's loss as a function of the fields x tokens matrix ``flat`` (policy, then values, then entropy)."""

    def __init__(self, given: StepInput, method: Method, options: LossOptions, device: torch.device) -> None:
        self.batch, self.method, self.options = given.batch, method, options
        self.lengths = np.array([s.completion_length for s in self.batch.sequences])
        self.offsets = np.concatenate([[0], self.lengths.cumsum()])
        self.total = int(self.offsets[-1])
        self.reply_tokens = int(self.offsets[self.batch.replies])
        owner = np.repeat(np.arange(len(self.lengths)), self.lengths)
        self.owner = torch.from_numpy(owner).to(device)
        reference = np.concatenate(given.reference) if given.reference else np.zeros(self.total, dtype=np.float32)
        self.reference = torch.from_numpy(reference).to(device)
        self.chosen = torch.arange(self.batch.replies, device=device) < self.batch.chosen
        self.embeddings = None if given.embeddings is None else given.embeddings.to(device)

    def positions(self, row: TreeRow) -> Tensor:
        """Positions of a row's scores among the batch's tokens."""
        spans = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in row.sequences]
        return torch.from_numpy(np.concatenate(spans))

    def scored(self, flat: Tensor) -> ScoredBatch:
        n, replies = self.reply_tokens, self.batch.replies
        mismatched = None
        if self.total > n:
            ratio = (flat[0, n:] - self.reference[n:]).detach()
            count = len(self.lengths) - replies
            mismatched = ratio.new_zeros(count).index_add(0, self.owner[n:] - replies, ratio)
        return ScoredBatch(
            policy=flat[0, :n],
            reference=self.reference[:n],
            sequence=self.owner[:n],
            chosen=self.chosen,
            values=flat[1, :n] if self.method.value_head else None,
            entropy=flat[-1, :n],
            mismatched_ratio=mismatched,
            embeddings=self.embeddings,
        )

    def __call__(self, flat: Tensor) -> Tensor:
        terms = self.method.terms(self.scored(flat), self.options)
        return terms.mean() if terms.numel() else flat.sum() * 0


def stacked(scores: RowScores) -> Tensor:
    return torch.stack([x for x in (scores.policy, scores.values, scores.entropy) if x is not None])


def forward_backward(
    scorer: Callable[..., RowScores],
    given: StepInput,
    method: Method,
    options: LossOptions,
    row_tokens: int,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
) -> StepOutput:
    """Accumulate the gradients of the batch's mean loss over all its terms, of all rows and processes.

    If a term depends on the whole batch and the batch takes several rows, scores are computed twice: once without
    gradients for the whole, then row by row with them. Under DDP, which averages gradients, the loss is scaled by the
    number of processes, so that their average is the sum.
    """
    loss_of = BatchLoss(given, method, options, device)
    rows = _rows(given.batch, row_tokens, rank, world, device)
    entropy: Entropy = "trained" if method.value_head and options.ppo_entropy_weight else "measured"
    flat = torch.zeros(2 + method.value_head, loss_of.total, device=device)
    twice = method.joint and len(rows) > 1
    rng = []
    if twice:
        with torch.no_grad():
            for row in rows:
                rng.append(_rng_state(device))
                scores = stacked(scorer(row.row, entropy=entropy))  # stand-ins too: all gather sharded weights
                if row.weight:
                    flat[:, loss_of.positions(row.row)] = scores
        flat = _reduced(flat, world)
    for number, row in enumerate(rows):
        if twice:
            _set_rng_state(rng[number], device)
        last = number + 1 == len(rows)
        # Sharded gradients are reduced row by row: whole ones would take the memory that sharding saves.
        with scorer.no_sync() if isinstance(scorer, DistributedDataParallel) and not last else nullcontext():
            scores = stacked(scorer(row.row, entropy=entropy))
            where = loss_of.positions(row.row)
            if row.weight:
                flat[:, where] = scores.detach()
            if method.joint and not twice:
                flat = _reduced(flat, world)
            loss = loss_of(_with_gradient(flat, where, scores) if row.weight else flat) + 0 * scores.sum()
            (loss * world).backward()
    if not method.joint:
        flat = _reduced(flat, world)
    with torch.no_grad():
        value, scored = float(loss_of(flat)), loss_of.scored(flat)
    counted = [row.row for row in rows if row.weight]
    return StepOutput(
        value, scored, sum(row.logical_tokens for row in counted), sum(row.unique_tokens for row in counted)
    )


@dataclass(frozen=True)
class _Share:
    """A row to compute; weight 0 marks a stand-in that keeps processes in step and adds nothing."""

    row: TreeRow
    weight: int


def _rows(batch: Batch, row_tokens: int, rank: int, world: int, device: torch.device) -> list[_Share]:
    groups = share(batch, rank, world)
    packed = pack(batch.sequences, groups, row_tokens) if groups else []
    rows = [_Share(tree_row(batch.sequences, [i for g in row for i in groups[g]]), 1) for row in packed]
    stand_in = _Share(tree_row(batch.sequences, batch.groups[0]), 0)
    return rows + [stand_in] * (_most(len(rows), world, device) - len(rows))


def _most(count: int, world: int, device: torch.device) -> int:
    if world == 1:
        return count
    most = torch.tensor(count, device=device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most)


def _reduced(flat: Tensor, world: int) -> Tensor:
    if world > 1:
        dist.all_reduce(flat)
    return flat


def _with_gradient(flat: Tensor, where: Tensor, scores: Tensor) -> Tensor:
    return flat.index_copy(1, where.to(flat.device), scores)


def _rng_state(device: torch.device) -> Any:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_rng_state(state: Any, device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
