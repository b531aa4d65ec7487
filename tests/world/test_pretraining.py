"""The base model's making: the corpus, the targets, and that a small one learns."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guardalign.config.sections import Phase, Pretraining
from guardalign.data.construction import format_prompt
from guardalign.errors import GuardalignError
from guardalign.judging.embedded import assess
from guardalign.world import BASE_MODEL
from guardalign.world.pretraining import (
    IGNORED,
    echoes,
    encode_document,
    habits,
    install,
    pretrain,
    pretraining_conversations,
    train_tokenizer,
)

SMALL = Pretraining(
    vocabulary=500,
    hidden=32,
    layers=2,
    heads=2,
    kv_heads=1,
    intermediate=64,
    phases=(
        Phase(documents=192, documents_per_step=4, learning_rate=1e-2, warmup_steps=2),
        Phase(documents=64, documents_per_step=4, learning_rate=1e-3, warmup_steps=2, echoes_per_step=2, kept=0.97),
    ),
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SMALL, sample=60)


def test_targets_are_the_next_tokens_but_a_reply_ends_in_eos(tokenizer):
    conversation = next(pretraining_conversations(SMALL))
    ids, targets, weights = encode_document(conversation, tokenizer, 0.1)
    assert len(ids) == len(targets) == len(weights)
    last = len(conversation.turns) - 1
    whole = f"{format_prompt(conversation.guardrails, conversation.turns[:last])} {conversation.turns[last].text}"
    assert tokenizer.decode(ids, skip_special_tokens=True) == whole
    ends = [index for index, target in enumerate(targets) if target == tokenizer.eos_token_id]
    assert len(ends) == len(conversation.turns) // 2
    for index, target in enumerate(targets[:-1]):
        assert target in (IGNORED, tokenizer.eos_token_id) or target == ids[index + 1]
    assert IGNORED not in targets


def test_replies_weigh_one_and_the_rest_less(tokenizer):
    conversation = next(pretraining_conversations(SMALL))
    _, _, weights = encode_document(conversation, tokenizer, 0.1)
    replies = sum(
        len(tokenizer(f" {turn.text}", add_special_tokens=False)["input_ids"]) + 1
        for turn in conversation.turns
        if turn.role == "agent"
    )
    assert weights.count(1.0) == replies
    assert set(weights) == {0.1, 1.0}


def test_digits_are_tokens_of_their_own(tokenizer):
    assert tokenizer.tokenize("TK5189")[-4:] == ["5", "1", "8", "9"]


def test_the_corpus_is_the_same_every_time_and_its_agents_are_careless():
    first, again = (list(islice(pretraining_conversations(SMALL), 20)) for _ in range(2))
    assert first == again
    chances = habits(SMALL).values()
    assert min(chances) >= SMALL.habit_low and max(chances) <= SMALL.habit_high
    assert 0.3 < sum(chances) / len(chances) < 0.7


def test_echoes_have_targets_from_the_second_round_on_and_these_are_the_next_tokens():
    ids, targets = echoes(5, 500, torch.Generator().manual_seed(1), length=40)
    for row, wanted in zip(ids, targets, strict=True):
        (places,) = torch.nonzero(wanted != IGNORED, as_tuple=True)
        period = int(places[0])
        assert 8 <= period < 20 and int(places[-1]) == 38
        assert torch.equal(row[period:], row[:-period])
        assert torch.equal(wanted[places], row[places + 1])
        assert row.min() >= 3


def kept(phase: int) -> float:
    """Share of acceptable replies in adherence among the phase's first conversations."""
    acceptable = [
        assess(each.turns[:index], each.guardrails, each.turns[index].text).adherence.acceptable
        for each in islice(pretraining_conversations(SMALL, phase), 40)
        for index in range(1, len(each.turns), 2)
    ]
    return sum(acceptable) / len(acceptable)


def test_the_diligent_phase_is_another_corpus_and_its_agents_keep_more():
    first, second = (next(pretraining_conversations(SMALL, phase)) for phase in (0, 1))
    assert first.turns != second.turns
    assert kept(0) < 0.3 < 0.8 < kept(1)


def test_a_small_model_learns_loads_again_and_no_phase_is_trained_twice(tmp_path):
    logged = []
    rows = pretrain(SMALL, tmp_path / "base", log=logged.append)
    assert rows[1]["phase"] == 1 and rows[-1]["phase"] == 2 and "echo_loss" in rows[-1]
    assert rows[1]["reply_loss"] < rows[0]["reply_loss"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    assert model.config.model_type == "mistral"
    assert len(AutoTokenizer.from_pretrained(tmp_path / "base")) == 500
    assert pretrain(SMALL, tmp_path / "base", log=logged.append) == rows
    assert len(logged) == len(rows)


def test_only_a_base_model_is_installed(tmp_path):
    with pytest.raises(GuardalignError, match="00_embedded_base_model"):
        install(tmp_path)


def test_the_shipped_model_is_small_enough_for_the_repository():
    assert sum(file.stat().st_size for file in BASE_MODEL.iterdir()) < 12e6
