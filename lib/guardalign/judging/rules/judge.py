"""The judge of natural customer-care English: applies rules to a reply and gives reasons."""

from __future__ import annotations

import re
from functools import lru_cache

from guardalign.data.conversations import Turn
from guardalign.judging.rule_judge import NO_REPLY, SILENCE, adherence, hallucination
from guardalign.judging.rules.case import Case
from guardalign.judging.rules.catalogue import Kind, Rule, read_guardrail
from guardalign.judging.rules.cues import cue_quote
from guardalign.judging.rules.ends import without_greeting, without_sign_off
from guardalign.judging.rules.natural import claims, content_words, faults
from guardalign.judging.rules.text import plain, words
from guardalign.judging.verdicts import Assessment, GuardrailVerdict, ReplyAssessment, Status

UNKNOWN = "unknown to these rules"


def due(rule: Rule, last: str) -> str | None:
    """The words of the customer that make the rule due, None when they do not; "" for a rule that always applies."""
    return cue_quote(rule.kind.cue, last, rule.values) if rule.kind.cue else ""


def _case(customer: list[str], rules: tuple[Rule | None, ...], reply: str, kind: Kind) -> Case:
    """What the checks read. Phrases that guardrails of other kinds than ``kind`` demand are set apart."""
    values = (rule.values.get(rule.kind.demands) for rule in rules if rule and rule.kind is not kind)
    demanded = tuple(re.sub("^(?:the|an?) ", "", value) for value in values if value)
    return Case(plain(reply), customer[-1], "\n".join(customer), demanded)


def _verdict(number: int, rule: Rule, case: Case) -> GuardrailVerdict:
    """The status of one guardrail on one reply, with quote and reason."""

    def verdict(status: Status, quote: str = "", reason: str = "") -> GuardrailVerdict:
        return GuardrailVerdict(number=number, status=status, quote=quote, reason=reason)

    kind, cue = rule.kind, due(rule, case.last)
    if kind.form == "setting":
        return verdict("not applicable", reason="says who writes to whom")
    if cue is None and kind.form == "when":
        return verdict("not applicable", reason="not due")
    if cue is None and kind.form == "only":
        quote = kind.undue(case, rule.values) if kind.undue else None
        return verdict("complied", reason="not due") if quote is None else verdict("broken", quote, "not due, but done")
    quote = kind.check(case, rule.values)
    if kind.form == "never":
        return verdict("complied") if quote is None else verdict("broken", quote)
    reason = f'due: "{cue}"' if cue else ""
    if quote is None:
        return verdict("broken", reason=reason or "nothing in the reply does what is asked")
    return verdict("complied", quote, reason)


def _without_reply(verdict: GuardrailVerdict, rule: Rule | None) -> GuardrailVerdict:
    """Greetings and signatures alone do nothing that a guardrail demands; prohibitions are kept only formally."""
    demands = rule and (rule.kind.form == "every" or (rule.kind.form != "never" and verdict.reason != "not due"))
    return GuardrailVerdict(number=verdict.number, status="broken", reason=NO_REPLY) if demands else verdict


@lru_cache(maxsize=65536)
def assess(turns: tuple[Turn, ...], guardrails: tuple[str, ...], reply: str) -> ReplyAssessment:
    """Judge one reply on its own; a guardrail in no known wording is "unknown".

    Raises ValueError when ``turns`` do not end with the user's.
    """
    if not turns or turns[-1].role != "user":
        raise ValueError("the turns do not end with the user's")
    rules = tuple(map(read_guardrail, guardrails))
    customer = [turn.text for turn in turns if turn.role == "user"]
    verdicts = tuple(
        _verdict(number, rule, _case(customer, rules, reply, rule.kind))
        if rule
        else GuardrailVerdict(number=number, status="unknown", reason=UNKNOWN)
        for number, rule in enumerate(rules, 1)
    )
    signed = (rule for rule in rules if rule and rule.kind.key in ("sign_as", "closing"))
    signatures = tuple(value for rule in signed for value in rule.values.values())
    substantial = bool(content_words(without_greeting(without_sign_off(reply, signatures))))
    if not substantial:
        verdicts = tuple(map(_without_reply, verdicts, rules))
    nothing = Assessment(acceptable=False, score=-max(1, len(guardrails)), reason=NO_REPLY)
    context = "\n".join((*guardrails, *(turn.text for turn in turns)))
    return ReplyAssessment(
        adherence=adherence(guardrails, verdicts, UNKNOWN) if substantial else nothing,
        naturalness=Assessment.of(faults(reply, "\n".join(customer), signatures)) if words(reply) else SILENCE,
        hallucination=hallucination(claims(reply, context)),
        guardrails=verdicts,
    )
