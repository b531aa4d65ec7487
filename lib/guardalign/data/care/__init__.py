"""The care corpus: customer-care conversations whose guardrails a rule can verify (see README.md in this folder).

The files are in TRL's conversational preference format, one file per split, so that ``datasets`` loads the folder.
"""

from __future__ import annotations

import re
from pathlib import Path

from guardalign.data.conversations import SPLITS, PreferencePair, Row, Split, Turn
from guardalign.files import read_rows

FOLDER = Path(__file__).parent
_NUMBERED = re.compile(r"^\d+\. ", re.MULTILINE)


class Point(Row):
    """A row of the corpus.

    ``kinds`` and ``wordings`` describe the guardrails in their order (a wording of 3 never occurs in training);
    ``broken`` numbers, from 1, those that the rejected reply breaks. ``held_out`` is "kinds" or "business" where the
    conversation has kinds of guardrail, or a line of business, that no training split has.
    """

    id: str
    conversation_id: str
    business: str
    held_out: str
    kinds: tuple[str, ...]
    wordings: tuple[int, ...]
    broken: tuple[int, ...]
    prompt: tuple[dict[str, str], ...]
    chosen: tuple[dict[str, str], ...]
    rejected: tuple[dict[str, str], ...]

    @property
    def guardrails(self) -> tuple[str, ...]:
        """The numbered rules of the system message."""
        return tuple(rule.strip() for rule in _NUMBERED.split(self.prompt[0]["content"])[1:])

    def pair(self, split: Split) -> PreferencePair:
        turns = tuple(
            Turn(role="user" if message["role"] == "user" else "agent", text=message["content"])
            for message in self.prompt[1:]
        )
        return PreferencePair(
            id=self.id,
            conversation_id=self.conversation_id,
            turns=turns,
            chosen=self.chosen[0]["content"],
            rejected=self.rejected[0]["content"],
            guardrails=self.guardrails,
            broken=self.broken,
            domain=self.business,
            split=split,
        )


def points(split: Split) -> list[Point]:
    """The points of a split, in the order of their conversations and turns."""
    return read_rows(FOLDER / f"{split}.jsonl", Point)


def pairs() -> list[PreferencePair]:
    """All pairs of the corpus with their splits."""
    return [point.pair(split) for split in SPLITS for point in points(split)]
