"""Results of a judge: absolute assessments of single replies, and verdicts on pairs of them.

Paper A asks its judge for one of four bins (1 better, both acceptable, none acceptable, 2 better). Asked for directly
the bins contradict themselves, so a judge here rates *each* reply as acceptable or not, and states a preference;
the bin follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import Field

from guardalign.data.conversations import PreferencePair, Row

Dimension = Literal["adherence", "naturalness", "hallucination"]
DIMENSIONS: tuple[Dimension, ...] = ("adherence", "naturalness", "hallucination")
Bin = Literal["1 better", "both", "none", "2 better"]
BINS: tuple[Bin, ...] = ("1 better", "both", "none", "2 better")
Status = Literal["complied", "broken", "not applicable"]
Item = tuple[PreferencePair, str, str]
"""A prompt, and the replies of arm 1 and of arm 2 to it."""


class GuardrailVerdict(Row):
    """Whether a reply keeps guardrail ``number`` (from 1), with the words of the reply (or prompt) that show it.

    "unknown": the judge cannot tell whether the guardrail applies or is kept.
    """

    number: int
    status: Status | Literal["unknown"]
    quote: str = ""
    reason: str = ""


class Assessment(Row):
    """One dimension of one reply, judged alone. ``score`` orders replies of equal acceptability (higher is better)."""

    acceptable: bool
    score: float
    reason: str = ""
    quotes: tuple[str, ...] = ()

    @classmethod
    def of(cls, faults: Sequence[str], quotes: Sequence[str] = (), notes: Sequence[str] = ()) -> Assessment:
        """Acceptable without faults; every fault counts -1. ``notes`` join the reason and count nothing."""
        reason = "; ".join((*faults, *notes))
        return cls(acceptable=not faults, score=-len(faults), reason=reason, quotes=tuple(quotes))


class ReplyAssessment(Row):
    """All assessments of one reply to the prompt of ``pair_id``."""

    adherence: Assessment
    naturalness: Assessment
    hallucination: Assessment
    guardrails: tuple[GuardrailVerdict, ...] = ()

    def dimension(self, name: Dimension) -> Assessment:
        return getattr(self, name)


class DimensionVerdict(Row):
    """One dimension of a comparison. ``preference`` is the judge's own, also where both or none are acceptable."""

    acceptable_1: bool
    acceptable_2: bool
    preference: Literal["1", "2", "tie"]

    @property
    def bin(self) -> Bin:
        if self.acceptable_1:
            return "both" if self.acceptable_2 else "1 better"
        return "2 better" if self.acceptable_2 else "none"


class Verdict(Row):
    """A judge's verdict on two arms' replies to one prompt.

    ``order`` is the order in which the judge saw the replies ("12" or "21"); everything else is already turned back,
    so that 1 is always ``arm_1``. Exactly one of ``invalid`` (why there is no verdict) and ``dimensions`` is filled.
    """

    pair_id: str
    conversation_id: str
    arm_1: str
    arm_2: str
    judge: str
    order: Literal["12", "21"] = "12"
    dimensions: dict[Dimension, DimensionVerdict] = Field(default_factory=dict)
    reply_1: ReplyAssessment | None = None
    reply_2: ReplyAssessment | None = None
    invalid: str | None = None


class Judge(Protocol):
    """Anything that compares two replies. ``compare`` returns one verdict per order asked for, in the input's order."""

    name: str

    def compare(self, items: list[Item], arm_1: str, arm_2: str) -> list[Verdict]: ...
