"""The embedded world: what its writer meant is what a reader finds in the text, and a seed gives the same bytes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from statistics import mean

import pytest

from guardalign.world.domains import DOMAINS
from guardalign.world.kinds import BY_KEY, KINDS, read_rule, sentences, word_rule
from guardalign.world.scripts import some_kinds, write_script, write_scripts
from guardalign.world.situation import read_situation


@pytest.fixture(scope="module")
def scripts():
    return write_scripts(400, 11, list(DOMAINS))


def test_the_same_seed_gives_the_same_conversations_and_another_seed_others():
    first, again, other = (write_scripts(30, seed, ["bank", "shop"]) for seed in (5, 5, 6))
    assert first == again
    assert all(one.conversation.turns != two.conversation.turns for one, two in zip(first, other, strict=True))


def test_conversations_may_have_guardrails_of_few_kinds_alone():
    few = some_kinds(8, 3)
    written = write_scripts(40, 5, ["bank", "shop"], kinds=few)
    assert {rule.kind.key for script in written for rule in script.rules} == set(few) and len(set(few)) == 8
    assert min(len(script.rules) for script in written) >= 2
    assert set(few) < set(some_kinds(20, 3)) and some_kinds(len(KINDS), 4) != some_kinds(len(KINDS), 3)
    assert {rule.wording for script in written for rule in script.rules} == {0, 1}  # the last one is never used
    assert {rule.wording for script in write_scripts(40, 5, ["bank"]) for rule in script.rules} == {0, 1, 2}
    assert all(read_rule(rule.text).wording == rule.wording for script in written for rule in script.rules)


def test_conversations_have_two_to_ten_exchanges_that_alternate(scripts):
    lengths = Counter(len(script.situations) for script in scripts)
    assert set(lengths) <= set(range(2, 11)) and min(lengths) == 2 and max(lengths) == 10
    for script in scripts:
        assert [turn.role for turn in script.conversation.turns] == ["user", "agent"] * len(script.situations)


def test_the_reader_finds_in_the_text_what_the_writer_knew(scripts):
    for script in scripts:
        turns = script.conversation.turns
        for index, situation in script.situations.items():
            assert read_situation(turns[:index]) == situation


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)
def test_every_wording_of_a_guardrail_can_be_read_back(kind):
    rng = random.Random(1)
    for domain in DOMAINS.values():
        for wording in kind.wordings:
            rule = word_rule(replace(kind, wordings=(wording,)), rng, domain)
            read = read_rule(rule.text)
            assert read is not None and read.kind == kind
            assert {key: text.lower() for key, text in read.values.items()}.items() <= {
                key: text.lower() for key, text in rule.values.items()
            }.items()


def test_a_sentence_from_outside_is_no_rule():
    assert read_rule("Be excellent to each other.") is None


def test_chosen_replies_keep_every_guardrail_that_applies_and_rejected_ones_break_what_they_were_meant_to(scripts):
    applied: Counter[str] = Counter()
    for script in scripts:
        conversation = script.conversation
        for index in script.situations:
            situation = read_situation(conversation.turns[:index], conversation.guardrails)
            rejection = script.rejections.get(index)
            for number, text in enumerate(conversation.guardrails, 1):
                rule = read_rule(text)
                if not rule.kind.applies(situation):
                    continue
                applied[rule.kind.key] += 1
                assert rule.check(conversation.turns[index].text, situation)[0], (text, conversation.turns[index].text)
                if rejection and number in rejection.broken:
                    assert not rule.check(rejection.text, situation)[0], (text, rejection.text)
    assert set(applied) == set(BY_KEY), "some kind of guardrail is never put to the test"


def test_every_rejected_reply_breaks_something_and_length_does_not_tell(scripts):
    lengths = []
    for script in scripts:
        for index, rejection in script.rejections.items():
            chosen = script.conversation.turns[index].text
            assert rejection.broken and rejection.text != chosen
            lengths.append((len(chosen.split()), len(rejection.text.split())))
    assert len(lengths) > 1500
    assert abs(mean(one - two for one, two in lengths)) < 1.0
    assert abs(mean(one > two for one, two in lengths) - mean(one < two for one, two in lengths)) < 0.25


def test_tagged_turns_are_those_some_guardrail_applies_to(scripts):
    for script in scripts:
        for index, situation in script.situations.items():
            applies = any(rule.kind.applies(situation) for rule in script.rules)
            assert script.conversation.turns[index].tagged == applies


def test_contradicting_guardrails_never_meet(scripts):
    for script in scripts:
        keys = {rule.kind.key for rule in script.rules}
        assert not any(set(BY_KEY[key].excludes) & keys for key in keys)


def test_careless_agents_keep_a_guardrail_as_often_as_their_habit_says():
    habits = {kind.key: 0.5 for kind in KINDS} | {"signature": 0.2, "no_exclamation": 0.9}
    kept: dict[str, list[bool]] = {"signature": [], "no_exclamation": []}
    for number in range(500):
        script = write_script(f"habits/{number}", DOMAINS["shop"], habits=habits)
        for index, situation in script.situations.items():
            for rule in script.rules:
                if rule.kind.key in kept:
                    kept[rule.kind.key].append(rule.check(script.conversation.turns[index].text, situation)[0])
    assert mean(kept["signature"]) == pytest.approx(0.2, abs=0.06)
    assert mean(kept["no_exclamation"]) == pytest.approx(0.9, abs=0.06)


def test_sentences_leave_the_signature_out():
    assert sentences("Hello. Is that fine? 1) Open it, 2) close it. -TS") == [
        "Hello.",
        "Is that fine?",
        "1) Open it, 2) close it.",
    ]
