"""Splits: by conversation, seeded, and stable when data is added."""

from __future__ import annotations

from collections import Counter

import pytest

from guardalign.config.sections import Shares
from guardalign.data.conversations import PreferencePair, Turn
from guardalign.data.splitting import leaks, split_of, split_pairs
from guardalign.errors import InputError

SHARES = Shares(train=0.6, feedback=0.2)


def pairs(conversations, points=3):
    return [
        PreferencePair(
            id=f"{name}.{index}",
            conversation_id=str(name),
            turns=tuple(Turn(role=("user", "agent")[n % 2], text=f"{name} {n}") for n in range(2 * index + 1)),
            chosen="yes",
            rejected="no",
        )
        for name in conversations
        for index in range(points)
    ]


def test_a_conversation_lies_in_one_split():
    placed = split_pairs(pairs(range(200)), 1, SHARES)
    assert len({(pair.conversation_id, pair.split) for pair in placed}) == 200


def test_shares_are_met():
    counts = Counter(split_of(str(name), 1, SHARES) for name in range(10_000))
    # Three standard deviations of a binomial with n = 10,000 are below 150 for each share.
    assert abs(counts["train"] - 6000) < 150 and abs(counts["feedback"] - 2000) < 150


def test_adding_data_moves_no_conversation_and_the_seed_does():
    before = {pair.id: pair.split for pair in split_pairs(pairs(range(100)), 1, SHARES)}
    after = {pair.id: pair.split for pair in split_pairs(pairs(range(300)), 1, SHARES)}
    assert all(after[name] == split for name, split in before.items())
    assert before != {pair.id: pair.split for pair in split_pairs(pairs(range(100)), 2, SHARES)}


def test_a_validation_split_is_taken_from_the_test_split_alone():
    names = [str(name) for name in range(2000)]
    moved = {
        (split_of(name, 1, SHARES), after)
        for name in names
        if (after := split_of(name, 1, Shares(train=0.6, feedback=0.2, validation=0.1))) != split_of(name, 1, SHARES)
    }
    assert moved == {("test", "validation")}
    kept = Counter(split_of(name, 1, Shares(train=0.6, feedback=0.2, validation=0.1)) for name in names)
    assert abs(kept["validation"] - 200) < 40 and abs(kept["test"] - 200) < 40  # three standard deviations


def test_an_empty_split_is_an_error():
    with pytest.raises(InputError, match="2 conversations leave the split"):
        split_pairs(pairs(range(2)), 1, SHARES)


def test_one_conversation_under_two_ids_is_found():
    first = pairs(["a"])[2].model_copy(update={"split": "train"})
    other = first.model_copy(update={"id": "b.2", "conversation_id": "b", "split": "test"})
    assert leaks([first, other]) == [("a", "b")]
    assert leaks([first, other.model_copy(update={"split": "train"})]) == []
    assert leaks([first, pairs(["b"])[2].model_copy(update={"split": "test"})]) == []
