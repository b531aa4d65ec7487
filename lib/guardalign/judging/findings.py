"""What a language model must answer when it judges a pair, what can be wrong with that, and the verdict it makes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, create_model

from guardalign.data.conversations import PreferencePair
from guardalign.judging.verdicts import (
    DIMENSIONS,
    Assessment,
    Dimension,
    DimensionVerdict,
    GuardrailVerdict,
    ReplyAssessment,
    Status,
)
from guardalign.llm.quotes import occurs

Shown = Literal["A", "B"]


class Finding(BaseModel):
    """A part of the answer. No defaults and no further keys: strict structured outputs require every field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GuardrailFinding(Finding):
    number: int
    status: Status
    quote: str
    reason: str


class NaturalnessFinding(Finding):
    acceptable: bool
    reason: str


class ClaimFinding(Finding):
    quote: str
    source: Literal["guardrails", "conversation", "none"]
    evidence: str


FIELDS: dict[Dimension, tuple[str, Any]] = {
    "adherence": ("guardrails", tuple[GuardrailFinding, ...]),
    "naturalness": ("naturalness", NaturalnessFinding),
    "hallucination": ("claims", tuple[ClaimFinding, ...]),
}


@cache
def comparison(dimensions: tuple[Dimension, ...] = DIMENSIONS) -> type[BaseModel]:
    """The record a judge answers with when asked for ``dimensions``: item, A, B, preference."""

    def record(name: str, **fields: Any) -> Any:
        return create_model(name, __base__=Finding, **fields)

    reply = record("ReplyFinding", **dict(FIELDS[name] for name in dimensions))
    preference = record("Preference", **dict.fromkeys(dimensions, Literal["A", "B", "tie"]))
    return record("Comparison", item=str, A=reply, B=reply, preference=preference)


def acceptable(reply: Any, dimension: Dimension) -> bool:
    """Whether a reply is acceptable, by the single findings about it."""
    if dimension == "adherence":
        return all(found.status != "broken" for found in reply.guardrails)
    if dimension == "naturalness":
        return reply.naturalness.acceptable
    return all(claim.source != "none" for claim in reply.claims)


def fault(
    answer: Any, item: str, pair: PreferencePair, shown: dict[Shown, str], dimensions: Sequence[Dimension]
) -> str | None:
    """What is wrong with an answer ("kind: details"), or None. ``shown``: the texts that stood as A and B."""
    if answer.item != item:
        return f"wrong item: the verdict is for {answer.item[:40]!r}"
    for name, text in shown.items():
        found = getattr(answer, name)
        if "adherence" in dimensions and (wrong := _guardrail_fault(found.guardrails, len(pair.guardrails), text)):
            return f"{wrong} of reply {name}"
        if "hallucination" in dimensions and (wrong := _claim_fault(found.claims, pair, text)):
            return f"{wrong} of reply {name}"
    for dimension in dimensions:
        good_a, good_b = acceptable(answer.A, dimension), acceptable(answer.B, dimension)
        preferred = getattr(answer.preference, dimension)
        if good_a != good_b and preferred != ("A" if good_a else "B"):
            return f"contradiction: {dimension} prefers {preferred}, its findings do not"
    return None


def _guardrail_fault(found: Sequence[GuardrailFinding], number: int, text: str) -> str | None:
    if sorted(each.number for each in found) != list(range(1, number + 1)):
        return f"wrong guardrails: {[each.number for each in found][:20]} instead of 1 to {number}, in the findings"
    for each in found:
        silent = not each.quote.strip() and (each.status == "not applicable" or not text.strip())
        if not silent and not occurs(each.quote, [text]):
            return f"wrong quote: {each.quote[:80]!r} (guardrail {each.number}) is not in the text"
    return None


def _claim_fault(claims: Sequence[ClaimFinding], pair: PreferencePair, text: str) -> str | None:
    sources = {"guardrails": pair.guardrails, "conversation": tuple(turn.text for turn in pair.turns)}
    for claim in claims:
        if not occurs(claim.quote, [text]):
            return f"wrong quote: the claim {claim.quote[:80]!r} is not in the text"
        if claim.source != "none" and not occurs(claim.evidence, sources[claim.source]):
            return f"wrong evidence: {claim.evidence[:80]!r} is not in the {claim.source}, for a claim"
    return None


def dimension_verdicts(
    answer: Any, first: Shown, second: Shown, dimensions: Sequence[Dimension]
) -> dict[Dimension, DimensionVerdict]:
    """The verdicts on arm 1 (shown as ``first``) and arm 2 (shown as ``second``)."""
    names: dict[str, Literal["1", "2", "tie"]] = {first: "1", second: "2", "tie": "tie"}
    return {
        dimension: DimensionVerdict(
            acceptable_1=acceptable(getattr(answer, first), dimension),
            acceptable_2=acceptable(getattr(answer, second), dimension),
            preference=names[getattr(answer.preference, dimension)],
        )
        for dimension in dimensions
    }


def assessment(reply: Any, dimensions: Sequence[Dimension]) -> ReplyAssessment | None:
    """All findings on one reply; None if not all dimensions were asked for."""
    if set(dimensions) != set(DIMENSIONS):
        return None
    broken = [each for each in reply.guardrails if each.status == "broken"]
    made_up = [claim for claim in reply.claims if claim.source == "none"]
    return ReplyAssessment(
        adherence=Assessment(
            acceptable=not broken,
            score=-len(broken),
            reason="; ".join(f"{each.number}: {each.reason}" for each in broken),
            quotes=tuple(each.quote for each in broken),
        ),
        naturalness=Assessment(**reply.naturalness.model_dump(), score=float(reply.naturalness.acceptable) - 1),
        hallucination=Assessment(
            acceptable=not made_up, score=-len(made_up), quotes=tuple(claim.quote for claim in made_up)
        ),
        guardrails=tuple(GuardrailVerdict(**each.model_dump()) for each in reply.guardrails),
    )
