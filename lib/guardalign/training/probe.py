"""Samples from the policy during training: repetitive replies indicate a collapsed policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from guardalign.models.encoding import encode_prompt, left_padded

PROBED_PROMPTS = 4
REPETITIVE = 0.5
NEW_TOKENS = 40
NGRAM = 4


@torch.no_grad()
def repetition(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> float:
    """The share of 4-grams of the greedy replies (40 tokens at most) that occur earlier in the same reply, 0 to 1."""
    training = model.training
    ids, mask = left_padded((encode_prompt(tokenizer, prompt) for prompt in prompts), model.device)
    end = tokenizer.eos_token_id
    model.eval()
    try:
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=end,
            eos_token_id=end,
        )
    finally:
        model.train(training)
    replies = output[:, ids.shape[1] :].tolist()
    ended = [reply[: reply.index(end) + 1] if end in reply else reply for reply in replies]
    return float(np.mean([repeated_share(reply) for reply in ended]))


def repeated_share(tokens: Sequence[int]) -> float:
    """The share of a sequence's 4-grams that have occurred before in it; 0 if it has fewer than two."""
    grams = [tuple(tokens[i : i + NGRAM]) for i in range(len(tokens) - NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0
