"""The embedded judge against hand-made replies, and against the data's own chosen and rejected ones."""

from __future__ import annotations

import pytest

from guardalign.data.conversations import PreferencePair, Turn
from guardalign.errors import InputError
from guardalign.judging.embedded import assess
from guardalign.judging.feedback import own_replies
from guardalign.judging.gold import cases, examine
from guardalign.judging.rule_judge import RuleJudge
from guardalign.judging.verdicts import DIMENSIONS
from guardalign.world.domains import DOMAINS
from guardalign.world.numbers import in_digits
from guardalign.world.scripts import write_scripts


@pytest.mark.parametrize("case", cases("embedded"), ids=lambda case: case.name)
def test_hand_made_replies(case):
    for result in examine(assess, (case,)):
        assert result.actual == result.expected, f"{result.question}: {result.reason or 'nothing found'}"


def test_unseen_chosen_and_rejected_replies_are_told_apart_and_breaches_quoted():
    right = total = 0
    for script in write_scripts(150, 21, list(DOMAINS)):
        guardrails = script.conversation.guardrails
        for index, rejection in script.rejections.items():
            turns, chosen = script.conversation.turns[:index], script.conversation.turns[index].text
            good, bad = (assess(turns, guardrails, text) for text in (chosen, rejection.text))
            right += all(good.dimension(name).acceptable for name in DIMENSIONS) + (not bad.adherence.acceptable)
            total += 2
            assert all(verdict.quote in rejection.text for verdict in bad.guardrails)
    assert total > 1000 and right / total >= 0.97


def _pair() -> PreferencePair:
    turns = (Turn(role="user", text="Hi, my parcel is late."),)
    return PreferencePair(
        id="p", conversation_id="c", turns=turns, guardrails=("No emoji in any reply.",), chosen="a", rejected="b"
    )


def test_bins_follow_from_two_absolute_verdicts_and_do_not_depend_on_the_order():
    good, bad = "Let me check the late parcel.", "Let me check the late parcel. :)"
    judge = RuleJudge("embedded", assess)
    items = [(_pair(), one, two) for one, two in ((good, bad), (bad, good), (good, good), (bad, bad))]
    verdicts = judge.compare(items, "x", "y")
    assert [verdict.dimensions["adherence"].bin for verdict in verdicts] == ["1 better", "2 better", "both", "none"]
    assert [verdict.dimensions["adherence"].preference for verdict in verdicts] == ["1", "2", "tie", "tie"]


def test_replies_are_sorted_into_worse_ones_and_others_that_break_nothing():
    answers = {"worse": "Let me check it. :)", "fine": "Let me look into it.", "same": "a"}
    pairs = [_pair().model_copy(update={"id": name}) for name in answers]
    judge = RuleJudge("embedded", assess)
    for wanted, kept in (("worse", "worse"), ("acceptable", "fine")):
        [pair], verdicts = own_replies(judge, pairs, answers, "bot", wanted)
        assert (pair.id, pair.rejected, pair.chosen) == (kept, answers[kept], "a") and len(verdicts) == 2


def test_a_null_reply_never_wins():
    (verdict,) = RuleJudge("embedded", assess).compare([(_pair(), "", "Let me check the late parcel. :)")], "null", "y")
    assert verdict.dimensions["adherence"].bin == "none"
    assert verdict.dimensions["naturalness"].bin == "2 better"


def test_a_guardrail_from_outside_the_world_is_reported_as_unknown_and_nothing_but_such_ones_are_refused():
    guardrails = ("Be excellent to each other.", "No emoji in any reply.")
    judged = assess(_pair().turns, guardrails, "Let me check the late parcel.")
    assert [verdict.status for verdict in judged.guardrails] == ["unknown", "complied"]
    assert "1" in judged.adherence.reason
    own = _pair().model_copy(update={"guardrails": guardrails[:1]})
    with pytest.raises(InputError, match="kind: llm"):
        RuleJudge("embedded", assess).compare([(own, "Let me check it.", "No.")], "x", "y")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ninety nine euros", "99 euros"),
        ("Forty-two days", "42 days"),
        ("a hundred and five", "105"),
        ("two hundred euros", "200 euros"),
        ("five days", "5 days"),
        ("no one, at twelve", "no one, at twelve"),
        ("8:00 to 5 p.m. today", "8 to 17 today"),
        ("12 am, 12 pm", "0, 12"),
        ("12:30", "12:30"),
    ],
)
def test_numbers_are_read_however_they_are_written(text, read):
    assert in_digits(text) == read
