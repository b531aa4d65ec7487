"""How a model scores held-out pairs: log-probabilities of chosen and rejected replies under policy and reference."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from guardalign.data.conversations import Row
from guardalign.data.examples import Example
from guardalign.models.encoding import encode
from guardalign.tree.prefix_tree import TokenSequence, pack, tree_row
from guardalign.tree.scoring import TreeScorer


class PairScore(Row):
    """Summed log-probs (nats) and completion token counts, EOS included; reference sums where one was given."""

    id: str
    conversation_id: str
    chosen: float
    chosen_tokens: int
    rejected: float | None = None
    rejected_tokens: int | None = None
    reference_chosen: float | None = None
    reference_rejected: float | None = None


def evaluate_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    reference: PreTrainedModel | None = None,
    *,
    max_length: int | None = None,
    row_tokens: int = 8192,
) -> list[PairScore]:
    """Score every example's replies; each model keeps its mode and its own attention afterwards."""
    pairs = [e for e in examples if e.rejected is not None]
    texts = [(e, e.chosen) for e in examples] + [(e, str(e.rejected)) for e in pairs]
    prompts, names = [e.prompt for e, _ in texts], [e.id for e, _ in texts]
    sequences = encode(tokenizer, prompts, [reply for _, reply in texts], max_length, names)
    policy = _sums(model, sequences, row_tokens)
    frozen = None if reference is None else _sums(reference, sequences, row_tokens)
    rejected = {e.id: len(examples) + i for i, e in enumerate(pairs)}
    rows = []
    for i, example in enumerate(examples):
        j = rejected.get(example.id)
        rows.append(
            PairScore(
                id=example.id,
                conversation_id=example.conversation_id,
                chosen=policy[i],
                chosen_tokens=sequences[i].completion_length,
                rejected=None if j is None else policy[j],
                rejected_tokens=None if j is None else sequences[j].completion_length,
                reference_chosen=None if frozen is None else frozen[i],
                reference_rejected=None if frozen is None or j is None else frozen[j],
            )
        )
    return rows


def completion_logprobs(
    model: PreTrainedModel, sequences: Sequence[TokenSequence], row_tokens: int = 8192
) -> list[Tensor]:
    """Log-probs (nats, float32, on the CPU) of each sequence's completion tokens, (completion_length,) each.

    The model keeps its mode and its own attention afterwards.
    """
    training, attention = model.training, model.config._attn_implementation
    scorer = TreeScorer(model.eval())
    found: dict[int, Tensor] = {}
    try:
        for members in pack(sequences, [[i] for i in range(len(sequences))], row_tokens):
            with torch.no_grad():
                scores = scorer(tree_row(sequences, members)).policy.cpu()
            found |= zip(members, scores.split([sequences[i].completion_length for i in members]), strict=True)
    finally:
        model.set_attn_implementation(attention)
        model.train(training)
    return [found[i] for i in range(len(sequences))]


def _sums(model: PreTrainedModel, sequences: Sequence[TokenSequence], row_tokens: int) -> list[float]:
    return [float(each.double().sum()) for each in completion_logprobs(model, sequences, row_tokens)]


def summarise(rows: Sequence[PairScore]) -> dict[str, float]:
    """Held-out figures: ``nll`` (nats per token of the chosen replies), ``accuracy`` (share of pairs where the policy
    gives the chosen reply the higher sum) and, with a reference, ``reward_accuracy`` and the mean ``log_ratio`` s."""
    facts: dict[str, Any] = {"nll": -sum(r.chosen for r in rows) / sum(r.chosen_tokens for r in rows)}
    pairs = [r for r in rows if r.rejected is not None]
    if pairs:
        facts["accuracy"] = fmean(r.chosen > (r.rejected or 0) for r in pairs)
    rated = [r for r in pairs if r.reference_chosen is not None]
    if rated:
        chosen = [r.chosen - (r.reference_chosen or 0) for r in rated]
        rejected = [(r.rejected or 0) - (r.reference_rejected or 0) for r in rated]
        facts |= {
            "reward_accuracy": fmean(c > r for c, r in zip(chosen, rejected, strict=True)),
            "chosen_log_ratio": fmean(chosen),
            "rejected_log_ratio": fmean(rejected),
        }
    return facts
