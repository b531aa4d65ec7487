"""One name for a guardrail wherever it occurs: the kind that rules read in it, else its own text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from guardalign.data.conversations import PreferencePair
from guardalign.judging.rules.catalogue import read_guardrail
from guardalign.world.kinds import read_rule

SAME = {"start_phrase": "opening", "never_apologise": "no_apology"}
"""Kinds of the embedded world that the care corpus has by another name, and this name."""


@lru_cache(maxsize=50_000)
def guardrail_kind(text: str) -> str:
    """The kind's key with spaces if the care corpus or the embedded world has such a guardrail, else the text."""
    rule = read_guardrail(text) or read_rule(text)
    return SAME.get(rule.kind.key, rule.kind.key).replace("_", " ") if rule else " ".join(text.split())


def kind_of(pairs: Iterable[PreferencePair]) -> Callable[[str, int], str]:
    """A function (pair_id, number from 1) → name, for ``stats.compliance``; "guardrail <number>" without a text."""
    guardrails = {pair.id: pair.guardrails for pair in pairs}

    def name(pair_id: str, number: int) -> str:
        texts = guardrails.get(pair_id, ())
        return guardrail_kind(texts[number - 1]) if 1 <= number <= len(texts) else f"guardrail {number}"

    return name
