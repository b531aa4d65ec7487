"""Verdicts by simulation, with known rates and turns of a conversation that resemble each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import norm

from guardalign.data.conversations import PreferencePair, Reply, Turn
from guardalign.files import write_rows
from guardalign.judging.verdicts import (
    DIMENSIONS,
    Assessment,
    DimensionVerdict,
    GuardrailVerdict,
    ReplyAssessment,
    Verdict,
)

RATES = {"adherence": 0.7, "naturalness": 0.6, "hallucination": 0.9}


def correlated(rates: np.ndarray, conversations: int, turns: int, correlation: float, rng: np.random.Generator):
    """Booleans (conversations, turns, len(rates)): probit with a shared effect of the conversation for each column."""
    shared = rng.normal(size=(conversations, 1, len(rates))) * np.sqrt(correlation)
    own = rng.normal(size=(conversations, turns, len(rates))) * np.sqrt(1 - correlation)
    return shared + own < norm.ppf(rates)


def verdicts(
    arm_1: str = "M_1SFT",
    arm_2: str = "M_1SFT_ipo",
    gain: float = 0.1,
    conversations: int = 40,
    turns: int = 4,
    correlation: float = 0.5,
    seed: int = 0,
    orders: tuple[str, ...] = ("12", "21"),
    invalid: float = 0.0,
    judge: str = "embedded",
    flip: float = 0.0,
) -> list[Verdict]:
    """Arm 1 is acceptable at RATES, arm 2 at RATES + gain; a share ``flip`` of the orders prefers what is first."""
    rng = np.random.default_rng(seed)
    base = np.array([RATES[name] for name in DIMENSIONS])
    rates = np.clip(np.concatenate([base, base + gain]), 0.01, 0.99)
    accepted = correlated(rates, conversations, turns, correlation, rng)
    return [
        _verdict(accepted[c, t], f"c{c:04d}", f"c{c:04d}-{t}", arm_1, arm_2, order, judge, rng, invalid, flip)
        for c in range(conversations)
        for t in range(turns)
        for order in orders
    ]


def pairs(conversations: int = 40, turns: int = 4) -> list[PreferencePair]:
    result = []
    for c in range(conversations):
        history: list[Turn] = []
        for t in range(turns):
            history.append(Turn(role="user", text=f"My order {c}{t} is late, where is it?"))
            result.append(
                PreferencePair(
                    id=f"c{c:04d}-{t}",
                    conversation_id=f"c{c:04d}",
                    turns=tuple(history),
                    chosen=f"Thank you, {c}{t}.",
                    rejected="No.",
                    guardrails=("Thank the customer.", "Never ask for a password."),
                    domain="shop" if c % 2 else "bank",
                    split="test",
                )
            )
            history.append(Turn(role="agent", text=f"Thank you, I look at {c}{t}.", tagged=True))
    return result


def replies(arm: str, conversations: int = 40, turns: int = 4) -> list[Reply]:
    return [
        Reply(
            pair_id=pair.id,
            conversation_id=pair.conversation_id,
            arm=arm,
            tokens=6,
            text=f"Thank you for order {pair.id}, it comes soon.",
        )
        for pair in pairs(conversations, turns)
    ]


def _verdict(accepted, conversation, pair, arm_1, arm_2, order, judge, rng, invalid, flip) -> Verdict:
    names = {"pair_id": pair, "conversation_id": conversation, "arm_1": arm_1, "arm_2": arm_2, "judge": judge}
    if rng.random() < invalid:
        return Verdict(**names, order=order, invalid="no answer")
    first, second = accepted[:3], accepted[3:]
    swayed = rng.random() < flip
    dimensions = {}
    for name, one, two in zip(DIMENSIONS, first, second, strict=True):
        preference = "tie" if one == two else ("1" if one else "2")
        if swayed:
            preference = order[0]
        dimensions[name] = DimensionVerdict(acceptable_1=bool(one), acceptable_2=bool(two), preference=preference)
    return Verdict(**names, order=order, dimensions=dimensions, reply_1=_reply(first), reply_2=_reply(second))


def _reply(accepted) -> ReplyAssessment:
    assessments = [
        Assessment(acceptable=bool(ok), score=float(ok), reason="seen", quotes=("Thank you",)) for ok in accepted
    ]
    kept = "complied" if accepted[0] else "broken"
    return ReplyAssessment(
        adherence=assessments[0],
        naturalness=assessments[1],
        hallucination=assessments[2],
        guardrails=(
            GuardrailVerdict(number=1, status=kept, quote="Thank you", reason="thanks"),
            GuardrailVerdict(number=2, status="not applicable"),
        ),
    )


def run_folder(root: Path, comparisons: dict[tuple[str, str], float], conversations: int = 20, turns: int = 3) -> Path:
    """A run as notebooks 01–06 leave it: data, replies and verdicts, with a known gain for each comparison."""
    write_rows(root / "data" / "test.jsonl", pairs(conversations, turns))
    for index, ((one, two), gain) in enumerate(comparisons.items()):
        rows = verdicts(one, two, gain, conversations, turns, seed=index)
        write_rows(root / "verdicts" / f"{one}-vs-{two}.jsonl", rows)
        for arm in {one, two} - {"chosen", "rejected"}:
            write_rows(root / "replies" / f"{arm}.jsonl", replies(arm, conversations, turns))
    return root
