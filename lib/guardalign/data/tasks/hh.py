"""Anthropic's helpful and harmless dialogues (Bai et al. 2022): two whole texts a row that part at the last reply."""

from __future__ import annotations

from guardalign.data.examples import Example
from guardalign.data.tasks.rows import EMPTY, IDENTICAL, Loaded, pair, read, sorted_out, texts

HUB = "Anthropic/hh-rlhf"
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
EARLY = "the texts part before the last reply"
FORMLESS = "no dialogue of Human and Assistant"
SEVERAL = "more than one turn"


def load_hh(
    source: str = HUB,
    split: str = "train",
    subset: str | None = None,
    single_turn: bool = False,
    limit: int | None = None,
) -> Loaded:
    """Rows with ``chosen`` and ``rejected`` texts as examples; the prompt ends with ``Assistant:``.

    ``subset`` is a folder of the hub's data set (helpful-base, harmless-base, …). ``single_turn`` keeps dialogues with
    one question alone, as in paper B.
    """
    rows = read(source, split, subset)
    return sorted_out((_example(row, number, single_turn) for number, row in enumerate(rows)), limit)


def _example(row: dict[str, object], number: int, single_turn: bool) -> Example | str:
    chosen, rejected = texts(row, number, "chosen", "rejected")
    if chosen == rejected:
        return IDENTICAL
    start = _shared(chosen, rejected).rfind(ASSISTANT)
    if HUMAN not in chosen or ASSISTANT not in chosen or ASSISTANT not in rejected:
        return FORMLESS
    if start < 0:
        return EARLY
    end = start + len(ASSISTANT)
    prompt, replies = chosen[:end], (chosen[end:], rejected[end:])
    if any(turn in reply for reply in replies for turn in (HUMAN, ASSISTANT)):
        return EARLY
    if single_turn and prompt.count(HUMAN) > 1:
        return SEVERAL
    if not all(reply.strip() for reply in replies):
        return EMPTY
    return pair(f"hh-{number}", prompt, *replies)


def _shared(one: str, two: str) -> str:
    """What both texts begin with."""
    parts = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    return one[:parts]
