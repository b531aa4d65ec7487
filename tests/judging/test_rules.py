"""The checks against hand-written cases, guardrail by guardrail."""

from __future__ import annotations

import pytest

from guardalign.data import care
from guardalign.data.conversations import Turn
from guardalign.judging.gold import GoldCase, cases, examine
from guardalign.judging.guardrail_kinds import guardrail_kind
from guardalign.judging.rule_judge import RuleJudge
from guardalign.judging.rules.catalogue import KINDS, read_guardrail
from guardalign.judging.rules.cues import cue_quote
from guardalign.judging.rules.judge import UNKNOWN, assess
from guardalign.judging.rules.text import plain


def _turns(texts: tuple[str, ...]) -> tuple[Turn, ...]:
    return tuple(Turn(role="agent" if index % 2 else "user", text=text) for index, text in enumerate(texts))


@pytest.mark.parametrize("case", cases("rules"), ids=lambda case: case.name[:60])
def test_hand_made_replies(case: GoldCase) -> None:
    for result in examine(assess, (case,)):
        assert result.actual == result.expected, f"{result.question}: {result.reason or 'nothing found'}"


@pytest.mark.parametrize("case", [case for case in cases("rules") if case.status], ids=lambda case: case.name[:60])
def test_kind_and_quote_of_hand_made_replies(case: GoldCase) -> None:
    rule = read_guardrail(case.guardrails[0])
    assert rule is not None and rule.kind.key == case.kind
    quote = assess(case.turns, case.guardrails, case.reply).guardrails[0].quote
    assert quote.lower() in plain(case.reply).lower() or rule.kind.form != "never"


def test_every_kind_has_gold_cases() -> None:
    for kind in KINDS:
        if kind.form == "setting":
            continue
        statuses = [case.status for case in cases("rules") if case.kind == kind.key]
        assert statuses.count("complied") >= 2 and statuses.count("broken") >= 2, kind.key
        if kind.form == "when":
            assert statuses.count("not applicable") >= 2, kind.key


_VALUES = {
    "signature": "Nina, Lumina Wear",
    "case": "DR-6653",
    "name": "Mei",
    "company": "Odette & Finch",
    "opening": "Good day",
    "team": "line engineers",
    "word": "sort",
    "words": "gold, love you",
    "link": "odette-finch.example/start",
    "hours": "Monday to Friday, 10 to 8",
    "item": "the technician's visit",
    "price": "9 euros",
    "duration": "until the end of the week",
    "offer": "the ten-euro credit",
    "wish": "plenty of sunshine",
    "desk": "second-line desk",
    "payments": "refunds board",
    "rival": "Harbour One",
    "detail": "date of birth",
    "formal": "Dr Kovacs",
    "closing": "Until next time",
    "agent": "Nina",
    "customer": "Amina Chen",
}


def test_every_wording_is_read_back() -> None:
    for kind in KINDS:
        for number, wording in enumerate(kind.wordings):
            rule = read_guardrail("  " + wording.format(**_VALUES).rstrip(".") + " \n")
            assert rule is not None and (rule.kind.key, rule.wording) == (kind.key, number), wording
            assert all(_VALUES[slot] == value for slot, value in rule.values.items()), wording


def test_unknown_guardrail_is_reported_and_not_counted() -> None:
    assessment = assess(
        _turns(("Where is my parcel?",)), ("Write in rhymes.",), "I will ask the depot about your parcel."
    )
    assert assessment.guardrails[0].status == "unknown"
    assert UNKNOWN in assessment.adherence.reason


@pytest.mark.parametrize("reply", ["", " ", "\u200b", "\u200b\n..."], ids=repr)
def test_no_reply_keeps_nothing(reply: str) -> None:
    assessment = assess(
        _turns(("Where is my parcel?",)), ("Never apologise.", "Thank the customer in every reply."), reply
    )
    assert not assessment.adherence.acceptable and assessment.adherence.reason == "there is no reply"
    assert [verdict.status for verdict in assessment.guardrails] == ["complied", "broken"]


def test_no_reply_is_worse_than_any() -> None:
    pair = next(iter(care.pairs())).model_copy(update={"guardrails": ()})
    (verdict,) = RuleJudge("rules", assess).compare([(pair, "", pair.chosen)], "empty", "chosen")
    assert verdict.dimensions["adherence"].bin == "2 better" and verdict.dimensions["adherence"].preference == "2"
    (verdict,) = RuleJudge("rules", assess).compare([(pair, "...", "The the the the colour ## is is")], "silent", "bad")
    assert verdict.dimensions["naturalness"].bin == "none" and verdict.dimensions["naturalness"].preference == "2"


def test_signature_alone_keeps_nothing() -> None:
    signed = 'Sign every message as "Nina, Lumina Wear".'
    assessment = assess(_turns(("Where is my parcel?",)), (signed,), "- Nina, Lumina Wear")
    assert not assessment.adherence.acceptable and assessment.guardrails[0].status == "broken"


@pytest.mark.parametrize(
    ("cue", "message", "there"),
    [
        ("asks_how", "How can I change it?", True),
        ("asks_how", "How long can I wait?", False),
        ("asks_how", "How could you do this to me, how dare you", False),
        ("asks_duration", "how soon is that", True),
        ("asks_duration", "That took long.", False),
        ("asks_price", "And what does it cost?", True),
        ("asks_price", "It cost me a whole afternoon.", False),
        ("angry", "That is a joke, honestly.", True),
        ("angry", "My sister told me a funny story.", False),
        ("says_bye", "ok that's all then", True),
        ("says_bye", "that is all I know about the box, so where is it?", False),
        ("says_bye", "That's it? Ten percent?", False),
        ("asks_hours", "two hours? I need an answer sooner", False),
        ("wants_cancel", "tell me why it was cancelled", False),
        ("gives_number", "it is KX-40718", True),
        ("gives_number", "it is 40718", False),
        ("urgent", "I can't wait any longer", True),
        ("urgent", "I can't wait to see it", False),
        ("asks_hours", "are you open on Sunday?", True),
        ("asks_hours", "I cannot open the box", False),
        ("wants_person", "Let me talk to your manager", True),
        ("wants_person", "A person at the door took it", False),
        ("says_years", "I have been a customer since 2015", True),
        ("says_years", "I have waited since Monday", False),
        ("injury", "I cut my hand on it", True),
        ("injury", "the line was cut off", False),
        ("asks_refund", "refund please", True),
        ("damage", "two cups are broken", True),
        ("damage", "We broke up over it", False),
    ],
)
def test_cues(cue: str, message: str, there: bool) -> None:
    assert (cue_quote(cue, message) is not None) == there


def test_guardrails_of_the_corpus_are_named_by_its_own_kinds() -> None:
    texts = {text for pair in care.pairs() for text in pair.guardrails}
    assert {guardrail_kind(text) for text in texts} == {kind.key.replace("_", " ") for kind in KINDS} - {"banlist"}
