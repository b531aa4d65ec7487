"""Readings beside the rules: the numbers by hand, and a sample that is balanced and blind."""

from __future__ import annotations

import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from guardalign.data.conversations import PreferencePair, Reply, Turn
from guardalign.judging.readings import Reading, agreement, beside_rules, draw, sheet

LINK, CASE = "Never send links or web addresses.", "Quote case number DB-3438 in every reply."


def pair(name, *guardrails):
    turns = (Turn(role="user", text="Where is my parcel?"),)
    return PreferencePair(
        id=name, conversation_id=name, guardrails=guardrails, turns=turns, chosen="a", rejected="b", split="test"
    )


def test_a_reader_and_the_rules_are_compared_guardrail_by_guardrail():
    pairs = [pair("a", LINK, CASE), pair("b", LINK, "Be kind.")]
    said = [
        Reading(reader="R", pair_id="a", conversation_id="a", arm="x", seed=1, text="See a.example/faq.", broken=(1,)),
        Reading(reader="R", pair_id="b", conversation_id="b", arm="x", seed=1, text="It is on its way.", broken=(2,)),
    ]
    rows = beside_rules(said, pairs)
    assert list(rows["kind"]) == ["no_link", "case_number", "no_link"]  # no rule reads "Be kind."
    assert list(rows["read"]) == [True, False, False] and list(rows["ruled"]) == [True, True, False]


def test_kappa_is_cohens_and_has_an_interval():
    read, ruled = [1, 1, 0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 1, 0, 1, 0]
    rows = pd.DataFrame({"kind": "k", "conversation_id": list("aabbccdd"), "read": read, "ruled": ruled}).astype(
        {"read": bool, "ruled": bool}
    )
    table = agreement(rows).set_index("kind")
    assert table.loc["k", "kappa"] == pytest.approx(cohen_kappa_score(read, ruled))
    assert table.loc["k", "kappa_low"] < table.loc["k", "kappa"] < table.loc["k", "kappa_high"] <= 1
    assert table.loc["all kinds", "same"] == 0.75
    assert agreement(rows.assign(read=False, ruled=False))["kappa"].isna().all()


def test_a_sample_is_balanced_and_tells_neither_arm_nor_verdict():
    pairs = [pair(f"l{n}", LINK) for n in range(8)] + [pair(f"c{n}", CASE) for n in range(2)]
    replies = [
        (1, Reply(pair_id=each.id, conversation_id=each.id, arm=arm, text=f"Text {each.id}"))
        for each in pairs
        for arm in ("sft", "ipo")
    ]
    sample = draw(replies, pairs, 4)
    assert sorted(reply.pair_id[0] for _, reply in sample) == ["c", "c", "l", "l"]
    assert sorted(reply.arm for _, reply in sample) == ["ipo", "ipo", "sft", "sft"]
    text = sheet(sample, pairs)
    assert "sft" not in text and text.count(">>>") == 4 and "Where is my parcel?" in text
