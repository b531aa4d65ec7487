"""The circuit laid into a fresh model: it copies before it has learnt anything, and everything in it can be trained."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from transformers import MistralConfig, MistralForCausalLM

from guardalign.world.induction import _position_pair, lay_induction_circuit
from guardalign.world.pretraining import IGNORED, echoes

CONFIG = MistralConfig(
    vocab_size=1000,
    hidden_size=256,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=8,
    num_key_value_heads=4,
    tie_word_embeddings=True,
)


def fresh(laid: bool) -> MistralForCausalLM:
    torch.manual_seed(0)
    model = MistralForCausalLM(CONFIG)
    if laid:
        lay_induction_circuit(model)
    return model


def copied(model: MistralForCausalLM, length: int) -> float:
    """Share of a repeated random row's predictable tokens that the model ranks first."""
    ids, targets = echoes(8, CONFIG.vocab_size, torch.Generator().manual_seed(3), length)
    with torch.no_grad():
        guesses = model(ids).logits.argmax(-1)
    return (guesses == targets)[targets != IGNORED].float().mean().item()


def test_a_fresh_model_with_the_circuit_copies_and_one_without_does_not():
    assert copied(fresh(laid=False), 128) < 0.02
    laid = fresh(laid=True)
    assert copied(laid, 128) > 0.5 and copied(laid, 384) > 0.3


def test_the_previous_position_has_the_highest_score():
    turns = 10000.0 ** (-torch.arange(0, 32, 2) / 32)
    query, key = _position_pair(turns, 256, 32)

    def turned(vector: torch.Tensor, position: int) -> torch.Tensor:
        first, second = vector[:16], vector[16:]
        cosine, sine = torch.cos(position * turns), torch.sin(position * turns)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine])

    scores = torch.stack([turned(query, 50) @ turned(key, position) for position in range(51)])
    assert int(scores.argmax()) == 49
    assert scores[49] - scores[[*range(49), 50]].max() > 0.01


@pytest.mark.parametrize("layer", [0, 1])
def test_every_weight_of_the_circuit_gets_a_gradient(layer):
    model = fresh(laid=True)
    ids, targets = echoes(4, CONFIG.vocab_size, torch.Generator().manual_seed(4), 64)
    logits = model(ids).logits
    functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED).backward()
    for name, weight in model.model.layers[layer].self_attn.named_parameters():
        assert weight.grad is not None and (weight.grad.abs().sum(dim=1) > 0).all(), name
