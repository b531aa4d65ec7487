"""Anthropic's helpful and harmless dialogues (Bai et al. 2022): rows of two texts that differ in the last reply."""

from __future__ import annotations

from typing import Any

from guardalign.data.examples import Example
from guardalign.data.tasks.rows import pair, read, texts

HUB = "Anthropic/hh-rlhf"
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


def load_hh(
    source: str = HUB, split: str = "train", subset: str | None = None, single_turn: bool = False
) -> list[Example]:
    """Rows with ``chosen`` and ``rejected`` texts as examples; the prompt ends with ``Assistant:``.

    ``subset`` is a folder of the hub's data set (helpful-base, harmless-base, …). ``single_turn`` keeps dialogues with
    one question alone, as in paper B. Rows whose texts differ before the last reply are left out.
    """
    found = (_example(row, number) for number, row in enumerate(read(source, split, subset)))
    return [each for each in found if each and not (single_turn and each.prompt.count(HUMAN) > 1)]


def _example(row: dict[str, Any], number: int) -> Example | None:
    chosen, rejected = texts(row, number, "chosen", "rejected")
    before, cue, good = chosen.rpartition(ASSISTANT)
    prompt = before + cue
    bad = rejected.removeprefix(prompt)
    if not cue or HUMAN not in before or not rejected.startswith(prompt):
        return None
    if any(turn in reply for reply in (good, bad) for turn in (HUMAN, ASSISTANT)):
        return None
    return pair(f"hh-{number}", prompt, good, bad)
