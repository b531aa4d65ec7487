"""Splits: by conversation, seeded, and stable when data is added."""

from __future__ import annotations

from collections import Counter

import pytest

from guardalign.config.sections import Shares
from guardalign.data.conversations import PreferencePair, Turn
from guardalign.data.splitting import split_of, split_pairs, together
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


def spoken(name, *texts, rules=()):
    """A pair with this history, the customer first, of a conversation of its own."""
    turns = tuple(Turn(role=("user", "agent")[n % 2], text=text) for n, text in enumerate(texts))
    return PreferencePair(
        id=name, conversation_id=name, turns=turns, chosen="yes", rejected="no", guardrails=tuple(rules)
    )


def test_pairs_whose_histories_begin_alike_are_of_one_conversation():
    long = "Where is my parcel 4711?"
    given = {
        "a": spoken("a", "Hello"),
        "b": spoken("b", "Hello", "Hi", "Refund"),
        "c": spoken("c", long, "Soon.", "When?"),
        "d": spoken("d", "Hello", "Hi", "Refund", "No.", "Why?"),
        "e": spoken("e", long),
        "f": spoken("f", "Hello", "Hi", "Return"),
        "g": spoken("g", long, rules=["Be brief."]),
        "h": spoken("h", "请问我的包裹现在在哪里？"),
        "i": spoken("i", "请问我的包裹现在在哪里？", "好", "谢谢"),
    }
    joined = {pair.id: pair.conversation_id for pair in together(list(given.values()))}
    assert joined == {"a": "a", "b": "b", "c": "c", "d": "b", "e": "c", "f": "f", "g": "g", "h": "h", "i": "h"}


def test_conversations_that_share_a_history_and_an_id_are_joined_through_both():
    long, other = "Where is my parcel 4711?", "I would like my money back."
    given = [spoken("a", long), spoken("b", other), spoken("a", other), spoken("c", long)]
    assert {pair.conversation_id for pair in together(given)} == {"a"}
