"""How long replies are, how much they repeat themselves, and whether they were cut off: read before any win rate."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from guardalign.data.conversations import Reply

_WORD = re.compile(r"\w+", re.UNICODE)


def repetition(text: str, n: int = 3) -> float:
    """Share of n-grams of words that stood in the text before (seq-rep-n, Welleck et al. 2020, arXiv 1908.04319).

    0 where the text has fewer than two n-grams.
    """
    words = _WORD.findall(text.lower())
    grams = list(zip(*(words[start:] for start in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def reply_statistics(replies: Iterable[Reply], n: int = 3) -> pd.DataFrame:
    """One row a reply: arm, pair_id, conversation_id, words, tokens, repetition (:func:`repetition`), finished."""
    rows = [
        (r.arm, r.pair_id, r.conversation_id, len(_WORD.findall(r.text)), r.tokens, repetition(r.text, n), r.finished)
        for r in replies
    ]
    names = ["arm", "pair_id", "conversation_id", "words", "tokens", "repetition", "finished"]
    return pd.DataFrame(rows, columns=names)
