"""Made-up comparisons for the judge's tests, and a process that judges them until it is done or killed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from guardalign.data.conversations import PreferencePair, Turn
from guardalign.judging.llm_judge import Item, LLMJudge
from guardalign.llm import Client, Endpoint

GUARDRAILS = ("The agent must greet the customer.", "The agent must never promise a date.")


def pair(number: int = 0, **changes: object) -> PreferencePair:
    made = PreferencePair(
        id=f"c{number // 10}.{number % 10}",
        conversation_id=f"c{number // 10}",
        turns=(Turn(role="user", text=f"Hello, my order {number} has not come."),),
        chosen=f"Hello, I am sorry that order {number} is late; let me look it up.",
        rejected=f"BREAKS 2 We deliver order {number} tomorrow for sure, dear customer.",
        guardrails=GUARDRAILS,
    )
    return made.model_copy(update=changes)


def comparisons(number: int) -> Iterator[Item]:
    """Reply 1 breaks guardrail 1, reply 2 makes a claim."""
    for at in range(number):
        yield pair(at), f"BREAKS 1 We look for order {at} now.", f"Hello, we look for order {at}. CLAIM tomorrow"


IMPATIENT = {"timeout_seconds": 2.0, "total_seconds": 3.0}
"""For servers that fall silent on purpose: two seconds stand for a minute."""


def endpoint(url: str, **changes: object) -> Endpoint:
    """Patient, so that a busy machine is no fault of the server; see IMPATIENT."""
    settings = {
        "model": "gpt-4o",
        "base_url": url,
        "concurrency": 32,
        "timeout_seconds": 20,
        "total_seconds": 30,
        "retries": 8,
    }
    return Endpoint(**(settings | changes))


def main() -> None:
    url, store, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    judge = LLMJudge(Client(endpoint(url, **IMPATIENT), store, progress=False), orders=("12",))
    for _ in judge.stream(comparisons(number), "one", "two"):
        pass


if __name__ == "__main__":
    main()
