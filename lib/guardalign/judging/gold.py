"""Hand-written replies with a person's verdict, by which the rule-based judges are examined and tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from guardalign.data.conversations import Turn
from guardalign.judging.verdicts import DIMENSIONS, Dimension, ReplyAssessment, Status


@dataclass(frozen=True)
class GoldCase:
    """A reply to the last of ``turns``, the user's, and a person's verdict on it.

    ``acceptable``: by dimension, where that is asked. ``status``: of the only guardrail, which is of ``kind``.
    """

    name: str
    guardrails: tuple[str, ...]
    turns: tuple[Turn, ...]
    reply: str
    acceptable: Mapping[Dimension, bool] = field(default_factory=dict)
    status: Status | None = None
    kind: str = ""


@dataclass(frozen=True)
class GoldResult:
    """A judge's result on one question about one case: a dimension's acceptability, or the guardrail's status."""

    case: GoldCase
    question: str
    expected: bool | str
    actual: bool | str
    reason: str


@cache
def cases(judge: str) -> tuple[GoldCase, ...]:
    """The cases for the ``embedded`` judge or the judge by ``rules``, from ``gold/<judge>.yaml``."""
    data = yaml.safe_load((Path(__file__).parent / "gold" / f"{judge}.yaml").read_text(encoding="utf-8"))
    turns = {
        name: tuple(Turn(role="agent" if index % 2 else "user", text=text) for index, text in enumerate(texts))
        for name, texts in data["conversations"].items()
    }
    collected = []
    for each in data["replies"]:
        acceptable = {name: name not in each.get("faults", ()) for name in data["dimensions"]}
        name, guardrails = each.get("name", each["reply"]), tuple(each.get("guardrails", ()))
        collected.append(GoldCase(name, guardrails, turns[each["said"]], each["reply"], acceptable))
    for each in data.get("guardrails", ()):
        for status in ("complied", "broken", "not applicable"):
            for reply in each.get(status, ()):
                kind, guardrails = each["kind"], (each["guardrail"],)
                collected.append(GoldCase(f"{kind}: {reply}", guardrails, turns[each["said"]], reply, {}, status, kind))
    return tuple(collected)


def examine(
    assess: Callable[[tuple[Turn, ...], tuple[str, ...], str], ReplyAssessment], gold_cases: Sequence[GoldCase]
) -> list[GoldResult]:
    """Put every question about every case to a judge."""
    results = []
    for case in gold_cases:
        assessment = assess(case.turns, case.guardrails, case.reply)
        for name in DIMENSIONS:
            if name in case.acceptable:
                dimension = assessment.dimension(name)
                results.append(GoldResult(case, name, case.acceptable[name], dimension.acceptable, dimension.reason))
        if case.status:
            (verdict,) = assessment.guardrails
            results.append(GoldResult(case, "guardrail", case.status, verdict.status, verdict.reason or verdict.quote))
    return results
