"""Which of a data set's pairs are learnt from, and with which labels."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from guardalign.data.conversations import PreferencePair
from guardalign.data.examples import Example

Pair = TypeVar("Pair", PreferencePair, Example)


def part(pairs: Sequence[Pair], which: tuple[int, int] | None) -> list[Pair]:
    """The pairs of the k-th of n equal parts of the conversations, ``which`` = (k, n), in their order; None: all."""
    if which is None:
        return list(pairs)
    names = list(dict.fromkeys(pair.conversation_id for pair in pairs))
    first, last = ((which[0] - back) * len(names) // which[1] for back in (1, 0))
    kept = set(names[first:last])
    return [pair for pair in pairs if pair.conversation_id in kept]


def exchanged(pairs: Sequence[Pair], share: float, seed: int) -> list[Pair]:
    """The pairs, chosen and rejected exchanged in a ``share`` of them (rounded), and in these too in a larger share."""
    order = list(range(len(pairs)))
    random.Random(f"{seed}/exchanged").shuffle(order)
    wrong = set(order[: round(share * len(pairs))])
    turned = [pair.model_copy(update={"chosen": pair.rejected, "rejected": pair.chosen}) for pair in pairs]
    return [turned[at] if at in wrong else pair for at, pair in enumerate(pairs)]
