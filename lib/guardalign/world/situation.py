"""What an agent has to know before it answers: the state of the conversation at one of its turns.

The writer of the world knows it when it makes a conversation up; the embedded judge has to read it from the text of the
turns (`read_situation`). A test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from guardalign.data.conversations import Turn
from guardalign.world.domains import ISSUES, PHRASES, READING

Act = Literal[
    "open", "give_reference", "how", "when", "fee", "hours", "refund", "human", "complain", "offtopic", "close"
]
Mood = Literal["calm", "angry", "hurried"]


@dataclass(frozen=True)
class Situation:
    """One agent turn: ``first`` for the agent's first reply; mood and reference as of the customer's last message."""

    first: bool
    act: Act
    mood: Mood
    name: str | None = None
    reference: str | None = None
    reference_now: bool = False
    issue: str = ""
    context: str = field(default="", compare=False)


_REFERENCE = re.compile(r"\b[A-Z]{2}\d{4}\b")
_NAME = re.compile(r"\b(?:[Tt]his is|[Mm]y name is|I am) ([A-Z][a-z]+)\b")


def _read_act(message: str, first: bool) -> Act:
    acts: dict[Act, str] = READING["acts"]
    for act, pattern in acts.items():
        if re.search(pattern, message.lower()):
            return act
    if not first and _REFERENCE.search(message):
        return "give_reference"
    return "open" if first else "complain"


def _read_mood(message: str) -> Mood:
    moods: tuple[Mood, ...] = ("angry", "hurried")
    shown = (mood for mood in moods if any(text.lower() in message.lower() for text in PHRASES["moods"][mood]))
    return next(shown, "calm")


def read_situation(turns: Sequence[Turn], guardrails: Sequence[str] = ()) -> Situation:
    """Read the state at the agent turn that follows ``turns`` from their text (and the guardrails' for the context).

    Raises ValueError when the last turn is not the user's.
    """
    if not turns or turns[-1].role != "user":
        raise ValueError("an agent's turn follows a user's")
    messages = [turn.text for turn in turns if turn.role == "user"]
    last, everything = messages[-1], "\n".join(messages)
    first = len(messages) == 1
    name, references = _NAME.search(everything), _REFERENCE.findall(everything)
    context = "\n".join((*guardrails, everything, *(turn.text for turn in turns if turn.role == "agent")))
    return Situation(
        first=first,
        act=_read_act(last, first),
        mood=_read_mood(last),
        name=name.group(1) if name else None,
        reference=references[-1] if references else None,
        reference_now=bool(_REFERENCE.search(last)),
        issue=next((named for issue, named in ISSUES.items() if issue in messages[0].lower()), ""),
        context=context,
    )
