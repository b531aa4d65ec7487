"""A model's log-probabilities of the chosen and rejected replies of held-out pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from guardalign.data.conversations import Row
from guardalign.data.examples import Example
from guardalign.models.encoding import encode
from guardalign.tree.prefix_tree import TokenSequence, pack, tree_row
from guardalign.tree.scoring import TreeScorer

ROW_TOKENS = 8192  # without gradients: less memory than a much shorter training row


class PairScore(Row):
    """Summed log-probs (nats) and completion token counts, EOS included; the reference's sums are not filled in."""

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
    max_length: int | None = None,
) -> list[PairScore]:
    """Score every example's replies. The model keeps its mode and its own attention afterwards."""
    texts = [(e, reply) for e in examples for reply in (e.chosen, e.rejected) if reply is not None]
    prompts, names = [e.prompt for e, _ in texts], [e.id for e, _ in texts]
    sequences = encode(tokenizer, prompts, [reply for _, reply in texts], max_length, names)
    logps = iter(completion_logprobs(model, sequences))
    rows = []
    for example in examples:
        found = _sums("chosen", next(logps))
        if example.rejected is not None:
            found |= _sums("rejected", next(logps))
        rows.append(PairScore(id=example.id, conversation_id=example.conversation_id, **found))
    return rows


def _sums(reply: str, logps: Tensor) -> dict[str, Any]:
    return {reply: float(logps.double().sum()), f"{reply}_tokens": len(logps)}


def completion_logprobs(model: PreTrainedModel, sequences: Sequence[TokenSequence]) -> list[Tensor]:
    """Log-probs (nats, float32, on the CPU) of each sequence's completion tokens, (completion_length,) each.

    The model keeps its mode and its own attention afterwards.
    """
    training, attention = model.training, model.config._attn_implementation
    scorer = TreeScorer(model.eval())
    budget = max([ROW_TOKENS, *(len(sequence.tokens) for sequence in sequences)])
    found: dict[int, Tensor] = {}
    try:
        for members in pack(sequences, [[i] for i in range(len(sequences))], budget):
            with torch.no_grad():
                scores = scorer(tree_row(sequences, members)).policy.cpu()
            found |= zip(members, scores.split([sequences[i].completion_length for i in members]), strict=True)
    finally:
        model.set_attn_implementation(attention)
        model.train(training)
    return [found[i] for i in range(len(sequences))]
