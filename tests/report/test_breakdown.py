"""Differences by part: what a guardrail counts as, and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from guardalign import stats
from guardalign.data.conversations import PreferencePair, Reply, Turn
from guardalign.generation.replystats import canned
from guardalign.judging.verdicts import Assessment, GuardrailVerdict, ReplyAssessment, Verdict
from guardalign.report import breakdown

LINK, LINK_AGAIN, CASE = (
    "Never send links or web addresses.",
    "Links are not allowed, even if the customer asks for one.",
    "Quote case number DB-3438 in every reply.",
)


def pair(name, guardrails, split="test", turns=1):
    conversation = [Turn(role="agent" if at % 2 else "user", text="Hi") for at in range(turns)]
    return PreferencePair(
        id=name,
        conversation_id=name,
        guardrails=guardrails,
        turns=tuple(conversation),
        chosen="a",
        rejected="b",
        split=split,
    )


def verdict(name, first, second):
    fine = Assessment(acceptable=True, score=0)

    def reply(statuses):
        rules = [
            GuardrailVerdict(number=n, status=each.removesuffix("*"), reason="not due" if each.endswith("*") else "")
            for n, each in enumerate(statuses, 1)
        ]
        return ReplyAssessment(adherence=fine, naturalness=fine, hallucination=fine, guardrails=tuple(rules))

    return Verdict(
        pair_id=name, conversation_id=name, arm_1="sft", arm_2="ipo", judge="rules", invalid="not compared",
        reply_1=reply(first), reply_2=reply(second),
    )  # fmt: skip


def test_a_guardrail_is_known_by_what_the_training_pairs_had():
    pairs = [pair("t", (LINK,), "train"), pair("a", (LINK, LINK_AGAIN, CASE, "Be nice.")), pair("b", (LINK,), turns=3)]
    labels = breakdown.labels([*pairs, pair("c", (LINK,), "transfer")])
    assert list(labels["pair_id"]) == ["a"] * 4 + ["b", "c"]
    assert list(labels["seen"]) == ["known", "wording", "kind", "", "known", "transfer"]
    assert list(labels["turn"]) == ["first"] * 4 + ["later", "first"]


def test_parts_count_gained_and_lost_and_set_conditions_apart_that_are_not_met():
    pairs = [pair("t", (LINK,), "train"), *(pair(f"p{n}", (LINK, CASE, LINK)) for n in range(4))]
    verdicts = [verdict("p0", ["broken", "broken", "complied*"], ["complied", "broken", "broken*"])]
    verdicts += [verdict("p1", ["complied", "broken", "complied*"], ["broken", "complied", "complied*"])]
    verdicts += [
        verdict(f"p{n}", ["broken", "broken", "complied*"], ["complied", "broken", "complied*"]) for n in (2, 3)
    ]
    table = breakdown.parts(stats.statuses(verdicts), breakdown.labels(pairs), [("sft", "ipo")]).set_index("part")
    assert list(table.index) == ["known", "kind", "first", breakdown.UNDUE]
    known = table.loc["known"]
    assert (known["applications"], known["gained"], known["lost"], known["net"]) == (4, 3, 1, 0.5)
    assert (known["kept_1"], known["kept_2"]) == (0.25, 0.75) and known["net_low"] < 0.5 < known["net_high"]
    assert table.loc["first", "applications"] == 8 and table.loc["kind", "net"] == 0.25
    assert table.loc[breakdown.UNDUE, "net"] == pytest.approx(-0.25)


def test_the_loss_of_gain_where_training_had_no_such_kind_is_paired_by_conversation():
    pairs = [pair("t", (LINK,), "train"), *(pair(f"p{n}", (LINK, CASE)) for n in range(40))]
    words = {False: "broken", True: "complied"}
    verdicts = [
        verdict(f"p{n}", [words[n % 4 == 0], words[n % 5 == 0]], [words[n % 4 > 0], words[n % 5 == 1]])
        for n in range(40)
    ]
    labels = breakdown.labels(pairs)
    (row,) = breakdown.transfer(stats.statuses(verdicts), labels, [("sft", "ipo")]).to_dict("records")
    assert (row["part"], row["less"]) == ("kind", 0.5)  # 30 gained and 10 lost of the known, 8 and 8 of the others
    changes = [(1 if n % 4 else -1) - ((n % 5 == 1) - (n % 5 == 0)) for n in range(40)]
    half = t.ppf(0.975, 39) * np.std(changes, ddof=1) / np.sqrt(40)
    assert row["less_high"] - row["less"] == pytest.approx(half)
    assert breakdown.transfer(stats.statuses(verdicts), breakdown.labels(pairs[1:]), [("sft", "ipo")]).empty


def test_guardrails_of_the_embedded_world_are_known_by_kind_and_wording():
    one, other = "Greet the customer by name as soon as you know it.", 'Start every reply with "Welcome".'
    again = "Call customers by their name when they introduce themselves."
    labels = breakdown.labels([pair("t", (one,), "train"), pair("a", (one, again, other))])
    assert list(labels["seen"]) == ["known", "wording", "kind"]


def test_gains_by_kind_come_largest_first():
    verdicts = [verdict(f"p{n}", ["broken", "complied"], ["complied", "broken" if n else "complied"]) for n in range(2)]
    rows = stats.statuses(verdicts, lambda _, number: f"kind {number}")
    table = breakdown.by_kind(rows, ("sft", "ipo"))
    assert table.to_dict("records") == [
        {"guardrail": "kind 1", "applications": 2, "gained": 2, "lost": 0, "net": 1},
        {"guardrail": "kind 2", "applications": 2, "gained": 0, "lost": 1, "net": -0.5},
    ]
    assert breakdown.by_kind(rows, ("sft", "kto")).empty


def test_a_phrase_is_canned_if_it_occurs_in_replies_to_several_other_conversations():
    def reply(conversation, text):
        return Reply(pair_id=f"{conversation}.1", conversation_id=conversation, arm="sft", text=text, tokens=9)

    same = "I am happy to help you today"
    replies = [reply(f"c{n}", f"{same}, {n}") for n in range(4)] + [reply("c4", "Another reply with six words in it")]
    assert canned(replies) == 0.8
    assert canned([*replies[:3], replies[4]]) == 0 and canned([replies[0]] * 4) == 0
