"""What a client has done so far, and what asking would take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from guardalign.llm.request import Outcome, Usage


@dataclass
class Statistics:
    """What this client has done so far. ``invalid`` and ``faults`` are counts by kind."""

    asked: int = 0
    stored: int = 0
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0
    invalid: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: Outcome) -> None:
        self.asked += 1
        self.stored += outcome.stored
        self.calls += outcome.calls
        self.usage += outcome.usage
        self.cost += outcome.cost
        if outcome.invalid:
            self.invalid[outcome.invalid.split(":")[0]] += 1


@dataclass(frozen=True)
class Plan:
    """A dry run: what asking would take. Tokens are estimates (4 bytes each); ``most`` assumes the longest replies."""

    requests: int
    stored: int
    calls: int
    prompt_tokens: int
    most_completion_tokens: int
    least: float | None
    most: float | None

    def __str__(self) -> str:
        cost = "price not known" if self.most is None else f"${self.least:.2f} to ${self.most:.2f}"
        return (
            f"{self.requests} questions, {self.stored} of them answered already: {self.calls} calls, "
            f"about {self.prompt_tokens} prompt tokens, at most {self.most_completion_tokens} completion tokens, {cost}"
        )
