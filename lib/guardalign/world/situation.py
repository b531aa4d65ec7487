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
from guardalign.world.domains import DOMAINS

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
    reference_kind: str = ""
    reference: str | None = None
    reference_now: bool = False
    issue: str = ""
    context: str = field(default="", compare=False)


# One entry an act: how customers put it. {task}, {process}, {service}, {kind}, {reference}, {issue} are filled in.
USER_WORDINGS: dict[Act, tuple[str, ...]] = {
    "open": ("{issue}.", "I am writing because {issue}.", "it seems that {issue}.", "can you help me, {issue}."),
    "give_reference": (
        "The {kind} is {reference}.",
        "Sure, {reference} is my {kind}.",
        "Here is the {kind}: {reference}.",
        "My {kind}? It is {reference}.",
    ),
    "how": ("How do I {task}?", "Can you tell me how to {task}?", "I also want to {task}, how does that work?"),
    "when": ("How long does {process} take?", "How many days does {process} take?", "When will {process} be done?"),
    "fee": ("What does {service} cost?", "How much is {service}?", "Is there a fee for {service}?"),
    "hours": ("When are you open?", "What are your opening hours?", "Until when can I reach you today?"),
    "refund": ("I want my money back.", "Can I get a refund?", "Please refund me."),
    "human": (
        "I want to talk to a real person.",
        "Can I speak to a manager?",
        "Please let me talk to somebody who can decide.",
    ),
    "complain": (
        "I have waited for weeks now.",
        "Nobody has answered me so far.",
        "This is the third time I write to you.",
    ),
    "offtopic": (
        "By the way, what should I cook tonight?",
        "By the way, who will win the election?",
        "By the way, which film should I see?",
    ),
    "close": ("Thank you, that is all.", "Okay thanks, that was everything.", "Great, thanks, bye."),
}
MOOD_WORDINGS: dict[Mood, tuple[str, ...]] = {
    "calm": ("",),
    "angry": ("This is unacceptable!", "I am really angry.", "I am fed up with you.", "What a terrible service!"),
    "hurried": ("I am in a hurry.", "Please be quick.", "I have only two minutes.", "I need this right now."),
}
GREETINGS = ("", "Hi, ", "Hello, ", "Good morning, ", "Hey, ")
NAME_WORDINGS = ("this is {name}.", "my name is {name}.", "I am {name}.")

_ACT_PATTERNS: tuple[tuple[Act, str], ...] = (
    ("offtopic", r"\bby the way\b"),
    ("close", r"\bthat (is all|was everything)\b|\bthanks, bye\b"),
    ("human", r"\b(talk|speak) to (a|somebody)\b"),
    ("refund", r"\bmoney back\b|\brefund\b"),
    ("hours", r"\bopening hours\b|\bwhen are you open\b|\buntil when can i reach\b"),
    ("fee", r"\bcost\?|\bhow much is\b|\bis there a fee\b"),
    ("when", r"\bhow long does\b|\bhow many days\b|\bwhen will\b"),
    ("how", r"\bhow do i\b|\bhow to\b|\bhow does that work\b"),
    ("complain", r"\bwaited for weeks\b|\bnobody has answered\b|\bthird time i write\b"),
)
_REFERENCE = re.compile(r"\b[A-Z]{2}\d{4}\b")
_NAME = re.compile(r"\b(?:[Tt]his is|[Mm]y name is|I am) ([A-Z][a-z]+)\b")
_KINDS = {domain.reference for domain in DOMAINS.values()}
_ISSUES = {said: named for domain in DOMAINS.values() for said, named in domain.issues}


def _read_act(message: str, first: bool) -> Act:
    lowered = message.lower()
    for act, pattern in _ACT_PATTERNS:
        if re.search(pattern, lowered):
            return act
    if not first and _REFERENCE.search(message):
        return "give_reference"
    return "open" if first else "complain"


def _read_mood(message: str) -> Mood:
    for mood in ("angry", "hurried"):
        if any(wording.lower() in message.lower() for wording in MOOD_WORDINGS[mood]):
            return mood
    return "calm"


def read_situation(turns: Sequence[Turn], guardrails: Sequence[str] = ()) -> Situation:
    """Read the state at the agent turn that follows ``turns`` from their text (and the guardrails' for the context).

    Raises ValueError when the last turn is not the user's.
    """
    if not turns or turns[-1].role != "user":
        raise ValueError("an agent's turn follows a user's")
    said = [turn.text for turn in turns if turn.role == "user"]
    last, everything = said[-1], "\n".join(said)
    first = len(said) == 1
    name, references = _NAME.search(everything), _REFERENCE.findall(everything)
    agent_text = "\n".join(turn.text for turn in turns if turn.role == "agent")
    context = "\n".join((*guardrails, everything, agent_text))
    kinds = [kind for kind in _KINDS if kind in context.lower()]
    return Situation(
        first=first,
        act=_read_act(last, first),
        mood=_read_mood(last),
        name=name.group(1) if name else None,
        reference_kind=kinds[0] if kinds else "",
        reference=references[-1] if references else None,
        reference_now=bool(_REFERENCE.search(last)),
        issue=next((named for said_, named in _ISSUES.items() if said_ in said[0].lower()), ""),
        context=context,
    )
