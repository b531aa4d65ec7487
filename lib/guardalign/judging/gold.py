"""Hand-made replies with a person's verdict (``gold.yaml``): test cases for judges of the embedded world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from guardalign.data.conversations import Turn
from guardalign.judging.verdicts import DIMENSIONS, Dimension, ReplyAssessment


@dataclass(frozen=True)
class GoldCase:
    """A reply to the last of ``turns``, the user's, and the dimensions in which it is not acceptable."""

    name: str
    guardrails: tuple[str, ...]
    turns: tuple[Turn, ...]
    reply: str
    faults: tuple[Dimension, ...]


@dataclass(frozen=True)
class GoldResult:
    """A judge's result on one dimension of one case."""

    case: GoldCase
    dimension: Dimension
    expected: bool
    said: bool
    reason: str


def _cases() -> tuple[GoldCase, ...]:
    data = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    turns = {
        name: tuple(Turn(role="agent" if place % 2 else "user", text=text) for place, text in enumerate(said))
        for name, said in data["conversations"].items()
    }
    return tuple(
        GoldCase(
            each["name"], tuple(each["guardrails"]), turns[each["said"]], each["reply"], tuple(each.get("faults", ()))
        )
        for each in data["cases"]
    )


CASES = _cases()


def examine(
    assess: Callable[[tuple[Turn, ...], tuple[str, ...], str], ReplyAssessment], cases: Sequence[GoldCase] = CASES
) -> list[GoldResult]:
    """Put every case to a judge; three results a case."""
    results = []
    for case in cases:
        found = assess(case.turns, case.guardrails, case.reply)
        for name in DIMENSIONS:
            said = found.dimension(name)
            results.append(GoldResult(case, name, name not in case.faults, said.acceptable, said.reason))
    return results
