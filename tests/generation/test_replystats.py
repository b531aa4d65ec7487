from __future__ import annotations

import pytest

from guardalign.data.conversations import Reply
from guardalign.generation.replystats import collapse, refuses, repetition, reply_statistics


@pytest.mark.parametrize(
    ("text", "n", "share"),
    [
        ("a b c d", 3, 0.0),  # abc, bcd
        ("a b c a b c", 3, 1 / 4),  # abc, bca, cab, abc
        ("sorry sorry sorry sorry", 1, 3 / 4),
        ("Sorry, sorry! SORRY.", 1, 2 / 6),  # case makes no word another one
        ("Hi. Let me find out,,,,,,", 3, 3 / 10),  # the last three of four ",,,"
        ("Well… No.", 3, 0.0),
        ("no no no no no", 3, 2 / 3),  # the same trigram three times
        ("one two three", 3, 0.0),  # a single trigram repeats nothing
        ("", 3, 0.0),
        ("naïve Zoë naïve Zoë", 2, 1 / 3),  # two of three bigrams differ
    ],
)
def test_repetition_by_hand(text, n, share):
    assert repetition(text, n) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can’t help with that.", True),
        ("We are unable to change the address.", True),
        ("I won't be able to say.", True),
        ("I can only help with Lumen Fibre.", True),
        ("You can change it in the app.", False),
        ("Nothing prevents you from changing it.", False),
    ],
)
def test_a_refusal_is_recognised_by_its_words(text, refused):
    assert refuses(text) is refused


def test_statistics_hold_a_row_a_reply():
    cut = {"text": "so so so so", "tokens": 9, "finished": False}
    table = reply_statistics(
        [
            Reply(pair_id="p1", conversation_id="c", arm="a", text="I am sorry, 2 days.", tokens=7),
            Reply(pair_id="p2", conversation_id="c", arm="b", **cut),
        ]
    )
    assert table["arm"].tolist() == ["a", "b"] and table["pair_id"].tolist() == ["p1", "p2"]
    assert table["words"].tolist() == [5, 4] and table["tokens"].tolist() == [7, 9]
    assert table["repetition"].tolist() == [0.0, 0.5] and table["finished"].tolist() == [True, False]
    assert list(reply_statistics([]).columns) == list(table.columns)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (("Hi. Let me find out" + "," * 70, 96, False), ["cut_off", "repetitive"]),
        (("I have made a note of it. " * 4, 30, True), ["repetitive"]),
        (("I will look into the stolen card and", 9, False), ["cut_off"]),
        ((" .", 2, True), ["empty"]),
    ],
)
def test_an_arm_is_marked_from_a_fifth_of_degenerate_replies_on(bad, expected):
    good = ("Thank you, Ann. May I have your order number?", 12, True)

    def shares(count):
        examples = [bad] * count + [good] * (10 - count)
        replies = [
            Reply(pair_id=str(i), conversation_id="c", arm="x", text=text, tokens=tokens, finished=finished)
            for i, (text, tokens, finished) in enumerate(examples)
        ]
        return collapse(reply_statistics(replies)).iloc[0]

    assert shares(2)["collapsed"] and not shares(1)["collapsed"]
    row = shares(2)
    assert {name: row[name] for name in ("cut_off", "repetitive", "empty")} == {
        name: 0.2 * (name in expected) for name in ("cut_off", "repetitive", "empty")
    }
    assert row["degenerate"] == 0.2
