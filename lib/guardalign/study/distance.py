"""How far an arm's replies are from the model it started from: KL(π‖start) and entropy, means over a reply's tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from guardalign.data.conversations import Reply, Row
from guardalign.data.examples import Example
from guardalign.generation.replies import Policy
from guardalign.models.encoding import encode_prompt, left_padded

BATCH = 64
Tokens = tuple[list[int], list[int]]


class Distance(Row):
    """Of one reply (nats, over the whole vocabulary); 0 if it has no tokens."""

    id: str
    kl: float
    entropy: float


def distances(
    policy: Policy, start: PreTrainedModel, examples: Sequence[Example], replies: Sequence[Reply]
) -> list[Distance]:
    """One row per reply, in their order; a reply counts with its end-of-sequence token if it has one."""
    rows = [_tokens(policy, example, reply) for example, reply in zip(examples, replies, strict=True)]
    order = sorted((at for at, (_, reply) in enumerate(rows) if reply), key=lambda at: sum(map(len, rows[at])))
    found: dict[int, tuple[float, float]] = {}
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        found |= zip(batch, _batch(policy.model, start, [rows[at] for at in batch]), strict=True)
    results = [found.get(at, (0.0, 0.0)) for at in range(len(rows))]
    return [Distance(id=each.id, kl=kl, entropy=entropy) for each, (kl, entropy) in zip(examples, results, strict=True)]


def _tokens(policy: Policy, example: Example, reply: Reply) -> Tokens:
    lead = example.chosen[: len(example.chosen) - len(example.chosen.lstrip())]
    ids = policy.tokenizer(lead + reply.text, add_special_tokens=False)["input_ids"] if reply.text else []
    end = [policy.stop[0]] if reply.finished else []
    return encode_prompt(policy.tokenizer, example.prompt).tolist(), [*ids, *end]


@torch.no_grad()
def _batch(model: PreTrainedModel, start: PreTrainedModel, rows: Sequence[Tokens]) -> list[tuple[float, float]]:
    """Rows end together, so that scores over the vocabulary are computed at the replies' positions only."""
    ids, mask = left_padded((prompt + reply for prompt, reply in rows), model.device)
    positions, kept = (mask.cumsum(-1) - 1).clamp(min=0), max(len(reply) for _, reply in rows) + 1
    policy_scores, start_scores = (
        torch.log_softmax(
            each(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=kept).logits.float(), -1
        )
        for each in (model, start)
    )
    share = policy_scores.exp()
    entropy, kl = -(share * policy_scores).sum(-1), (share * (policy_scores - start_scores)).sum(-1)
    return [
        (float(kl[row, at].mean()), float(entropy[row, at].mean()))
        for row, (_, reply) in enumerate(rows)
        for at in [slice(kept - len(reply) - 1, kept - 1)]
    ]
