"""Which replies each optimiser step holds: decided at the start, from the seed alone, for all processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from guardalign.data.examples import Example
from guardalign.errors import InputError
from guardalign.models.encoding import encode
from guardalign.training.config import TrainingConfig
from guardalign.tree.prefix_tree import TokenSequence


@dataclass(frozen=True)
class EncodedExamples:
    """The examples' chosen and rejected sequences, (n,) each; ``rejected`` is empty if the method reads none."""

    examples: tuple[Example, ...]
    chosen: tuple[TokenSequence, ...]
    rejected: tuple[TokenSequence, ...]


def encode_examples(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], config: TrainingConfig
) -> EncodedExamples:
    """Encode what the method reads of the examples. Raises ``InputError`` for over-long, empty or missing replies."""
    if not examples:
        raise InputError("there are no examples to train on")
    prompts, names = [e.prompt for e in examples], [e.id for e in examples]
    chosen = encode(tokenizer, prompts, [e.chosen for e in examples], config.max_length, names)
    rejected: list[TokenSequence] = []
    if config.replies != "chosen":
        rejected = encode(tokenizer, prompts, rejected_of(examples), config.max_length, names)
    return EncodedExamples(tuple(examples), tuple(chosen), tuple(rejected))


def rejected_of(examples: Sequence[Example]) -> list[str]:
    """The examples' rejected replies. Raises ``InputError`` if one has none."""
    unpaired = [e.id for e in examples if e.rejected is None]
    if unpaired:
        raise InputError(f"{unpaired[0]}: the method needs a rejected reply ({len(unpaired)} examples have none)")
    return [str(e.rejected) for e in examples]


@dataclass(frozen=True)
class Batch:
    """One optimiser step: S replies (chosen first, then rejected) and, after them, mismatched ones.

    ``examples`` (S,) are the replies' examples. ``groups``: sequences that belong together (a pair's two replies), the
    units that are packed and divided among processes.
    """

    sequences: tuple[TokenSequence, ...]
    examples: tuple[int, ...]
    chosen: int
    groups: tuple[tuple[int, ...], ...]

    @property
    def replies(self) -> int:
        return len(self.examples)


def plan(data: EncodedExamples, config: TrainingConfig) -> list[Batch]:
    """All optimiser steps in order. ``batching: pair`` draws as TRL does; ``conversation`` keeps points together.

    Single replies (KTO, PPO) are shuffled apart from their counterparts in ``pair``; in ``conversation`` they stay with
    their conversation, in random order.
    """
    single = config.replies == "single"
    size = config.batch_size * (2 if single else 1)
    batches: list[Batch] = []
    per_epoch = config.steps_per_epoch(len(data.examples))
    steps = config.steps or config.epochs * per_epoch
    for epoch in range(-(-steps // per_epoch)):
        order = epoch_order([each.conversation_id for each in data.examples], config, config.first_epoch + epoch)
        for at in range(0, len(order), size):
            units = order[at : at + size]
            batches.append(_singles(data, units, config.loss.mismatched) if single else _pairs(data, units))
    return batches[:steps]


def epoch_order(conversations: Sequence[str], config: TrainingConfig, epoch: int) -> list[int]:
    """Units of an epoch, given each example's conversation.

    A unit is an example; of single replies, unit u is example u // 2 and its chosen reply where u is even.
    """
    replies = 2 if config.replies == "single" else 1
    count = len(conversations) * replies
    if config.batching == "pair":
        # transformers' Trainer seeds its sampler with seed + epoch: the same order, so the same batches as TRL's.
        return torch.randperm(count, generator=torch.Generator().manual_seed(config.seed + epoch)).tolist()
    rng = np.random.default_rng([config.seed, epoch])
    rank = {name: position for position, name in enumerate(rng.permutation(sorted(set(conversations))))}
    return sorted(rng.permutation(count).tolist(), key=lambda unit: rank[conversations[unit // replies]])


def _pairs(data: EncodedExamples, units: Sequence[int]) -> Batch:
    chosen = [data.chosen[u] for u in units]
    if not data.rejected:
        return Batch(tuple(chosen), tuple(units), len(chosen), tuple((i,) for i in range(len(chosen))))
    rejected = [data.rejected[u] for u in units]
    groups = tuple((i, len(chosen) + i) for i in range(len(chosen)))
    return Batch(tuple(chosen + rejected), (*units, *units), len(chosen), groups)


def _singles(data: EncodedExamples, units: Sequence[int], mismatched: bool) -> Batch:
    sequences = {u: (data.rejected if u % 2 else data.chosen)[u // 2] for u in units}
    others = _mismatched(list(sequences.values())) if mismatched else {}
    extra = {u: others[position] for position, u in enumerate(units) if position in others}
    ordered = sorted(units, key=lambda unit: unit % 2)
    positions = {u: len(ordered) + position for position, u in enumerate(extra)}
    groups = tuple((i, positions[u]) if u in positions else (i,) for i, u in enumerate(ordered))
    return Batch(
        sequences=(*(sequences[u] for u in ordered), *extra.values()),
        examples=tuple(u // 2 for u in ordered),
        chosen=sum(u % 2 == 0 for u in ordered),
        groups=groups,
    )


def _mismatched(sequences: Sequence[TokenSequence]) -> dict[int, TokenSequence]:
    """Each prompt with the last reply before it (cyclically, as in TRL) that was given to another prompt, if any."""
    prompts = [sequence.tokens[: sequence.start].tobytes() for sequence in sequences]
    count = len(sequences)
    found = {}
    for i in range(count):
        other = next(((i - step) % count for step in range(1, count) if prompts[i - step] != prompts[i]), None)
        if other is not None:
            reply = sequences[other].tokens[sequences[other].start :]
            prompt = sequences[i].tokens[: sequences[i].start]
            found[i] = TokenSequence(np.concatenate([prompt, reply]), len(prompt))
    return found


def share(batch: Batch, rank: int, world: int) -> list[tuple[int, ...]]:
    """A process's groups of a batch, sorted so that neighbours share prefixes and divided about evenly."""
    groups = sorted(batch.groups, key=lambda group: batch.sequences[group[0]].order)
    bounds = np.linspace(0, len(groups), world + 1).round().astype(int)
    return groups[bounds[rank] : bounds[rank + 1]]
