"""A starting point from which a small model can copy: an induction circuit laid into its first two layers.

Copying from the prompt takes two attention heads that work together (Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits"; Olsson et al. 2022, arXiv 2209.11895): one writes into every position which token came before it,
the other looks for the position whose predecessor is the token at hand and copies the token there. Gradient descent
finds the pair late, after a long plateau; a network that starts near it only has to sharpen it. Starting attention from
the structure that trained networks show is known as mimetic initialisation (Trockman & Kolter 2023, arXiv 2305.09828).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import MistralForCausalLM

# Chosen so that the fresh model copies most of a repeated random row (tests hold it to that); training does the rest.
PREVIOUS_GAIN, MATCH_GAIN, STORED, COPIED = 8.0, 2.8, 0.1, 1.0
NOISE = 0.1
"""Share of the random weights that stays: where query and key are both zero, no gradient would ever come."""
POSITION_FREQUENCIES = 6
SLOWEST_TURN = 0.004
"""Radians a token: rotary frequencies below it hardly turn within a prompt, so what they hold can be compared afar."""


@torch.no_grad()
def lay_induction_circuit(model: MistralForCausalLM, seed: int = 0) -> None:
    """Overwrite the embeddings, and lay an induction circuit over the attention of layers 0 and 1, in place.

    Needs two layers, rotary positions, and no biases in attention. Dimension 0 of every embedding becomes the constant
    that lets a head attend by position alone; the rest are random directions of norm 1. For each key-value head of
    layer 1, ``2n`` random directions tell a token from others, n being the number of slow rotary frequencies.
    """
    config = model.config
    hidden, size, kv_heads = config.hidden_size, int(config.head_dim or 0), config.num_key_value_heads
    shared = config.num_attention_heads // kv_heads
    chance = torch.Generator().manual_seed(seed)
    rope: dict[str, Any] = dict(config.rope_parameters or {})
    turns = rope["rope_theta"] ** (-torch.arange(0, size, 2) / size)
    embeddings = model.model.embed_tokens.weight
    embeddings.normal_(0, hidden**-0.5, generator=chance)
    embeddings[:, 0] = 1.0

    slow = (turns < SLOWEST_TURN).nonzero()[:, 0]
    dims = torch.cat([slow, slow + size // 2])
    identity = _directions(len(dims) * kv_heads, hidden, chance)
    stored = _directions(len(dims) * kv_heads, hidden, chance)
    previous, match = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    for projection in (*previous.children(), *match.children()):
        projection.weight.mul_(NOISE)
    query, key = _position_pair(turns, hidden, size)
    for head in range(kv_heads):
        rows = slice(head * size, (head + 1) * size)
        part = slice(head * len(dims), (head + 1) * len(dims))
        kept = slice(head * size, head * size + len(dims))
        previous.k_proj.weight[rows, 0] += key
        previous.v_proj.weight[kept] += identity[part]
        match.k_proj.weight[head * size + dims] += MATCH_GAIN * stored[part]
        copied = _directions(size, hidden, chance)
        match.v_proj.weight[rows] += copied
        for reader in range(head * shared, (head + 1) * shared):
            rows = slice(reader * size, (reader + 1) * size)
            kept = slice(reader * size, reader * size + len(dims))
            previous.q_proj.weight[rows, 0] += query
            previous.o_proj.weight[:, kept] += STORED / shared * stored[part].T
            match.q_proj.weight[reader * size + dims] += MATCH_GAIN * identity[part]
            match.o_proj.weight[:, rows] += COPIED / shared * copied.T


def _directions(count: int, hidden: int, chance: torch.Generator) -> Tensor:
    """``count`` orthonormal rows, (count, hidden), that leave the constant dimension 0 alone."""
    free = torch.linalg.qr(torch.randn(hidden - 1, count, generator=chance))[0].T
    return torch.cat([torch.zeros(count, 1), free], dim=1)


def _position_pair(turns: Tensor, hidden: int, size: int) -> tuple[Tensor, Tensor]:
    """Query and key weights on the constant dimension whose score is highest one position back.

    The score of a key Δ positions back is the sum over the fast frequencies of gain · cos(θ (Δ − 1)). The constant is
    half of what the first norm lets through, √(hidden / 2).
    """
    key = torch.zeros(size)
    key[:POSITION_FREQUENCIES] = math.sqrt(PREVIOUS_GAIN * math.sqrt(size)) / math.sqrt(hidden / 2)
    first, second = key[: size // 2], key[size // 2 :]
    cosine, sine = torch.cos(-turns), torch.sin(-turns)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine]), key
