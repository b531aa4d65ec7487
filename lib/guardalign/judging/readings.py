"""Rules checked by reading: a reader says of every guardrail of a reply whether it is broken, and so do the rules.

A reader sees guardrails, the customer's messages and the reply, not the arm that wrote it nor what the rules say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from guardalign.data.conversations import PreferencePair, Reply, Row
from guardalign.judging.rules.catalogue import read_guardrail
from guardalign.judging.rules.judge import assess


class Reading(Row):
    """One reader on one reply: the numbers (from 1) of the guardrails that it breaks; ``natural``: it reads as a reply
    of its own that makes sense."""

    reader: str
    pair_id: str
    conversation_id: str
    arm: str
    seed: int
    text: str
    broken: tuple[int, ...]
    natural: bool | None = None
    note: str = ""


def draw(
    replies: Sequence[tuple[int, Reply]], pairs: Sequence[PreferencePair], size: int, seed: int = 0
) -> list[tuple[int, Reply]]:
    """``size`` of (training seed, reply), balanced over kinds of guardrail and arms: at each step, in random order, the
    one whose kinds were read least so far, of the arm that was. A prompt is drawn once."""
    rules = {pair.id: [rule.kind.key for rule in map(read_guardrail, pair.guardrails) if rule] for pair in pairs}
    order = [replies[at] for at in np.random.default_rng(seed).permutation(len(replies))]
    kinds, arms, found = Counter[str](), Counter[str](), list[tuple[int, Reply]]()
    while order and len(found) < size:
        best = min(
            range(len(order)),
            key=lambda at: arms[order[at][1].arm] + sum(kinds[kind] for kind in rules[order[at][1].pair_id]) / 3,
        )
        found.append(order[best])
        _, reply = order[best]
        kinds.update(rules[reply.pair_id])
        arms[reply.arm] += 1
        order = [each for each in order if each[1].pair_id != reply.pair_id]
    return found


def sheet(sample: Sequence[tuple[int, Reply]], pairs: Sequence[PreferencePair]) -> str:
    """The sample as a reader gets it, numbered from 1."""
    known = {pair.id: pair for pair in pairs}
    parts = []
    for number, (_, reply) in enumerate(sample, start=1):
        pair = known[reply.pair_id]
        rules = "\n".join(f"  {at}. {text}" for at, text in enumerate(pair.guardrails, start=1))
        said = "\n".join(f"{turn.role}: {turn.text}" for turn in pair.turns)
        parts.append(f"## {number}\n{rules}\n{said}\n>>> {reply.text.strip()}\n")
    return "\n".join(parts)


def beside_rules(readings: Sequence[Reading], pairs: Sequence[PreferencePair]) -> pd.DataFrame:
    """A row per reading and guardrail that a rule reads: reader, arm, conversation_id, kind, ``read`` (the reader finds
    it broken), ``ruled`` (the rule does)."""
    known = {pair.id: pair for pair in pairs}
    rows = []
    for each in readings:
        pair = known[each.pair_id]
        for said in assess(pair.turns, pair.guardrails, each.text).guardrails:
            rule = read_guardrail(pair.guardrails[said.number - 1])
            if rule is not None and rule.kind.form != "setting":
                read, ruled = said.number in each.broken, said.status == "broken"
                rows.append((each.reader, each.arm, each.conversation_id, rule.kind.key, read, ruled))
    return pd.DataFrame(rows, columns=["reader", "arm", "conversation_id", "kind", "read", "ruled"])


def agreement(rows: pd.DataFrame) -> pd.DataFrame:
    """Of ``beside_rules``, a row per kind and one for all: n, ``same`` (share of equal verdicts), ``kappa`` (Cohen's;
    NaN if both say one and the same throughout) with its 95 % interval by the jackknife over conversations (Efron &
    Tibshirani 1993, *An Introduction to the Bootstrap*, ch. 11), ``broken`` by the reader and by the rule."""
    parts = [("all kinds", rows), *rows.groupby("kind")]
    found = []
    for kind, own in parts:
        value = _kappa(own)
        left = [_kappa(own[own["conversation_id"] != name]) for name in own["conversation_id"].unique()]
        reach = 1.96 * np.sqrt((len(left) - 1) / len(left) * np.sum((np.array(left) - np.mean(left)) ** 2))
        found.append({
            "kind": kind, "n": len(own), "same": (own["read"] == own["ruled"]).mean(), "kappa": value,
            "kappa_low": np.maximum(-1, value - reach), "kappa_high": np.minimum(1, value + reach),
            "broken, reader": own["read"].mean(), "broken, rule": own["ruled"].mean(),
        })  # fmt: skip
    return pd.DataFrame(found)


def _kappa(rows: pd.DataFrame) -> float:
    same, read, ruled = (rows["read"] == rows["ruled"]).mean(), rows["read"].mean(), rows["ruled"].mean()
    chance = read * ruled + (1 - read) * (1 - ruled)
    return float((same - chance) / (1 - chance)) if chance < 1 else float("nan")
