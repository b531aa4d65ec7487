"""What an arm writes and thinks: greedy replies, their distance from the SFT model, log-probs of the data's replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from guardalign.data.conversations import Row
from guardalign.data.examples import Example
from guardalign.generation.decoding import Completion, Sampler, decode_plain
from guardalign.generation.replies import Policy
from guardalign.models.encoding import encode_prompt, left_padded
from guardalign.training import evaluate_pairs
from guardalign.world.twins import Opinion


class Written(Row):
    """One arm's reply to one prompt; ``opinion`` is the judge's, where it reads single replies."""

    id: str
    text: str
    tokens: int
    finished: bool
    opinion: Opinion | None = None


class Answer(Written):
    """A reply, and how the arm's model scores the prompt's own two replies (nats, summed).

    ``kl`` and ``entropy`` are means over the reply's tokens of KL(π‖SFT) and of the next token's entropy (nats),
    over the whole vocabulary.
    """

    chosen: float
    chosen_tokens: int
    rejected: float
    rejected_tokens: int
    kl: float
    entropy: float


def write(policy: Policy, examples: Sequence[Example], max_new_tokens: int, batch_size: int = 64) -> list[Written]:
    """Greedy replies to the examples' prompts, in their order, and nothing measured on them."""
    replies = _replies(policy, _prompts(policy, examples), max_new_tokens, batch_size)
    return [
        Written(id=each.id, text=_text(policy, reply), tokens=len(reply.tokens), finished=reply.finished)
        for each, reply in zip(examples, replies, strict=True)
    ]


def answer(
    policy: Policy,
    start: PreTrainedModel,
    examples: Sequence[Example],
    max_new_tokens: int,
    batch_size: int = 64,
    max_length: int | None = None,
) -> list[Answer]:
    """Greedy replies to the examples' prompts, in their order; ``start`` is the SFT model."""
    prompts = _prompts(policy, examples)
    replies = _replies(policy, prompts, max_new_tokens, batch_size)
    scores = evaluate_pairs(policy.model, policy.tokenizer, examples, max_length=max_length)
    spread = _distances(policy.model, start, prompts, replies, policy.stop[0], batch_size)
    return [
        Answer(
            id=example.id,
            text=_text(policy, reply),
            tokens=len(reply.tokens),
            finished=reply.finished,
            chosen=score.chosen,
            chosen_tokens=score.chosen_tokens,
            rejected=score.rejected or 0.0,
            rejected_tokens=score.rejected_tokens or 0,
            kl=own.kl,
            entropy=own.entropy,
        )
        for example, reply, score, own in zip(examples, replies, scores, spread, strict=True)
    ]


def reply_texts(policy: Policy, prompts: Sequence[str], most: int, size: int = 64) -> list[str]:
    """Greedy replies to prompts, as text."""
    rows = [list(encode_prompt(policy.tokenizer, prompt)) for prompt in prompts]
    return [_text(policy, reply) for reply in _replies(policy, rows, most, size)]


def _prompts(policy: Policy, examples: Sequence[Example]) -> list[list[int]]:
    return [list(encode_prompt(policy.tokenizer, each.prompt)) for each in examples]


def _text(policy: Policy, reply: Completion) -> str:
    return str(policy.tokenizer.decode(list(reply.tokens), skip_special_tokens=True)).strip()


def _replies(policy: Policy, prompts: list[list[int]], most: int, size: int) -> list[Completion]:
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, Completion] = {}
    for at in range(0, len(order), size):
        batch = {i: prompts[i] for i in order[at : at + size]}
        found |= decode_plain(policy.model, batch, most, policy.stop, Sampler())
    return [found[i] for i in range(len(prompts))]


@dataclass(frozen=True)
class _Distance:
    kl: float
    entropy: float


def _distances(
    model: PreTrainedModel,
    start: PreTrainedModel,
    prompts: list[list[int]],
    replies: Sequence[Completion],
    end: int,
    size: int,
) -> list[_Distance]:
    rows = [
        (prompt, [*reply.tokens, *([end] if reply.finished else [])])
        for prompt, reply in zip(prompts, replies, strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + len(rows[i][1]))
    found: dict[int, _Distance] = {}
    for at in range(0, len(order), size):
        batch = order[at : at + size]
        found |= zip(batch, _batch_distances(model, start, [rows[i] for i in batch]), strict=True)
    return [found[i] for i in range(len(rows))]


@torch.no_grad()
def _batch_distances(
    model: PreTrainedModel, start: PreTrainedModel, rows: Sequence[tuple[list[int], list[int]]]
) -> list[_Distance]:
    """Rows end together, so that the vocabulary's scores are worked out at the replies' positions alone."""
    ids, mask = left_padded((prompt + reply for prompt, reply in rows), model.device)
    places, kept = (mask.cumsum(-1) - 1).clamp(min=0), max(len(reply) for _, reply in rows) + 1
    own, other = (
        torch.log_softmax(
            each(input_ids=ids, attention_mask=mask, position_ids=places, logits_to_keep=kept).logits.float(), -1
        )
        for each in (model, start)
    )
    share = own.exp()
    entropy, kl = -(share * own).sum(-1), (share * (own - other)).sum(-1)
    return [
        _Distance(float(kl[row, at].mean()), float(entropy[row, at].mean()))
        for row, (_, reply) in enumerate(rows)
        for at in [slice(kept - len(reply) - 1, kept - 1)]
    ]
