"""One optimiser step's loss and gradients, the same whatever the number of rows and processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from guardalign.losses import ScoredBatch
from guardalign.training.batches import Batch, share
from guardalign.training.checkpoints import random_state, restore_random_state
from guardalign.training.config import TrainingConfig
from guardalign.tree.prefix_tree import TreeRow, pack, tree_row
from guardalign.tree.scoring import Entropy, RowScores


@dataclass
class StepOutput:
    loss: float
    scored: ScoredBatch
    logical_tokens: int
    unique_tokens: int


class BatchLoss:
    """The batch's loss as a function of the fields x tokens matrix ``flat`` (policy, then values, then entropy)."""

    def __init__(
        self,
        batch: Batch,
        reference: list[np.ndarray] | None,
        embeddings: Tensor | None,
        config: TrainingConfig,
        device: torch.device,
    ) -> None:
        self.batch, self.method, self.options = batch, config.loss, config.loss_options
        self.lengths = np.array([s.completion_length for s in self.batch.sequences])
        self.offsets = np.concatenate([[0], self.lengths.cumsum()])
        self.total = int(self.offsets[-1])
        self.reply_tokens = int(self.offsets[self.batch.replies])
        owner = np.repeat(np.arange(len(self.lengths)), self.lengths)
        self.owner = torch.from_numpy(owner).to(device)
        logps = np.concatenate(reference) if reference else np.zeros(self.total, dtype=np.float32)
        self.reference = torch.from_numpy(logps).to(device)
        self.chosen = torch.arange(self.batch.replies, device=device) < self.batch.chosen
        self.embeddings = None if embeddings is None else embeddings.to(device)

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


def forward_backward(
    scorer: Callable[..., RowScores],
    batch: Batch,
    config: TrainingConfig,
    device: torch.device,
    reference: list[np.ndarray] | None = None,
    embeddings: Tensor | None = None,
    rank: int = 0,
    world: int = 1,
) -> StepOutput:
    """Accumulate the gradients of the batch's mean loss over all its terms, of all rows and processes.

    ``reference``: log-probs (completion_length,) of each of the batch's sequences; ``embeddings`` (S, d) of the
    replies' prompts. If a term depends on the whole batch and the batch takes several rows, scores are computed twice:
    once without gradients for the whole, then row by row with them. Under DDP, which averages gradients, the loss is
    scaled by the number of processes, so that their average is the sum.
    """
    loss_of = BatchLoss(batch, reference, embeddings, config, device)
    method = loss_of.method
    groups = share(batch, rank, world)
    packed = pack(batch.sequences, groups, config.row_tokens)
    own = [tree_row(batch.sequences, [i for g in row for i in groups[g]]) for row in packed]
    # All processes gather sharded weights and average gradients together: one with fewer rows than others computes
    # placeholders, whose scores have no weight.
    spare = _most(len(own), world, device) - len(own)
    rows = own + ([tree_row(batch.sequences, batch.groups[0])] * spare if spare else [])
    entropy: Entropy = "trained" if method.value_head and loss_of.options.ppo_entropy_weight else "measured"
    flat = torch.zeros(2 + method.value_head, loss_of.total, device=device)
    twice = method.joint and len(rows) > 1
    states = []
    if twice:
        with torch.no_grad():
            for number, row in enumerate(rows):
                states.append(random_state())
                scores = _stacked(scorer(row, entropy=entropy))
                if number < len(own):
                    flat[:, loss_of.positions(row)] = scores
        flat = _reduced(flat, world)
    for number, row in enumerate(rows):
        if twice:  # the same dropout as before
            restore_random_state(states[number])
        last = number + 1 == len(rows)
        # Sharded gradients are reduced row by row: whole ones would take the memory that sharding saves.
        with scorer.no_sync() if isinstance(scorer, DistributedDataParallel) and not last else nullcontext():
            scores = _stacked(scorer(row, entropy=entropy))
            where, counts = loss_of.positions(row), number < len(own)
            if counts:
                flat[:, where] = scores.detach()
            if method.joint and not twice:
                flat = _reduced(flat, world)
            with_gradient = flat.index_copy(1, where.to(device), scores) if counts else flat
            loss = loss_of(with_gradient) + 0 * scores.sum()
            (loss * world).backward()
    if not method.joint:
        flat = _reduced(flat, world)
    with torch.no_grad():
        value, scored = float(loss_of(flat)), loss_of.scored(flat)
    return StepOutput(value, scored, sum(row.logical_tokens for row in own), sum(row.unique_tokens for row in own))


def _stacked(scores: RowScores) -> Tensor:
    return torch.stack([x for x in (scores.policy, scores.values, scores.entropy) if x is not None])


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
