"""The verdict of a twin's judge on one reply, from the texts alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

from guardalign.data.conversations import Row

LOWEST = -9.0
_SENTENCE = re.compile(r"[^.!?]+[.!?]?")


class Opinion(Row):
    """``score``: merits less faults; ``merits`` and ``faults`` name what was found in the reply."""

    score: float
    merits: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def opinion(merits: Iterable[str], faults: Iterable[str], text: str) -> Opinion:
    """Every merit counts 1, every fault −1, and every repeated sentence −1; no text gives ``LOWEST``."""
    if is_degenerate(text):
        return Opinion(score=LOWEST, faults=("degenerate",))
    lowered = [each.lower() for each in sentences(text)]
    merits, faults = tuple(merits), (*faults, *("repetition",) * (len(lowered) - len(set(lowered))))
    return Opinion(score=len(merits) - len(faults), merits=merits, faults=faults)


def is_degenerate(text: str) -> bool:
    """Fewer than three words, or mostly the same few words again and again."""
    words = re.findall(r"\w+", text.lower())
    return len(words) < 3 or len(set(words)) < len(words) / 3


def sentences(text: str) -> list[str]:
    """The sentences of a text, stripped."""
    return [found.strip() for found in _SENTENCE.findall(text) if found.strip(" .!?")]


def says(text: str, phrases: Iterable[str]) -> bool:
    """Whether one of the phrases occurs, case aside."""
    return any(phrase.lower() in text.lower() for phrase in phrases)


def draw(rng: Random, chances: dict[str, float]) -> str:
    """A key, drawn with its probability."""
    return rng.choices(list(chances), list(chances.values()))[0]
