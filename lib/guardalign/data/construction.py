"""From conversations to preference pairs, and from pairs to the prompt of paper A (Fig. 1b)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypedDict

from guardalign.data.conversations import SPLITS, Conversation, PreferencePair, Turn

INSTRUCTION = (
    "Below are the guardrails of a customer care agent and a conversation between a User and the Agent. "
    "The Agent must not break any of the guardrails."
)
REQUEST = 'Write the single next message of the Agent, as it would follow "Agent:".'


class ChatMessage(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


def format_prompt(guardrails: Sequence[str], turns: Sequence[Turn]) -> str:
    """The prompt whose completion is the agent's next message.

    Everything a conversation's points have in common comes first (instruction, guardrails as JSON numbered from 1,
    request), then the history; so the points of one conversation are prefixes of each other up to the final
    ``Agent:``. The completion is a space and the reply. Source: paper A (arXiv 2406.18954), Fig. 1b.
    """
    rules = json.dumps(
        {"guardrails": {str(number): text for number, text in enumerate(guardrails, 1)}}, indent=1, ensure_ascii=False
    )
    history = "\n".join(f"{turn.role.title()}: {turn.text}" for turn in turns)
    return f"{INSTRUCTION}\n>>>\n{rules}\n<<<\n{REQUEST}\nConversation:\n{history}\nAgent:"


def format_messages(guardrails: Sequence[str], turns: Sequence[Turn]) -> list[ChatMessage]:
    """The same prompt as chat messages: guardrails and request as the system's, the turns as user's and assistant's."""
    rules = "\n".join(f"{number}. {text}" for number, text in enumerate(guardrails, 1))
    messages = [ChatMessage(role="system", content=f"{INSTRUCTION}\n{rules}\n{REQUEST}")]
    for turn in turns:
        messages.append(ChatMessage(role="user" if turn.role == "user" else "assistant", content=turn.text))
    return messages


@dataclass(frozen=True)
class Rejection:
    """A reply that breaks guardrails, and the numbers (from 1) of those it breaks, if they are known."""

    text: str
    broken: tuple[int, ...] = ()


Reject = Callable[[Conversation, int], Rejection | None]


def points(conversation: Conversation, reject: Reject) -> list[PreferencePair]:
    """One preference pair for every tagged agent turn that answers a user's message (Stage 2 of paper A).

    ``reject`` gets the conversation and the turn's index and makes the reply that breaks a guardrail; where it
    returns None, or the very reply that was chosen, there is no point. A point is named after its conversation and
    the turn's index.
    """
    found = []
    for index, turn in enumerate(conversation.turns):
        if turn.role != "agent" or not turn.tagged or index == 0:
            continue
        rejection = reject(conversation, index)
        if rejection is None or rejection.text.strip() in ("", turn.text):
            continue
        found.append(
            PreferencePair(
                id=f"{conversation.id}.{index}",
                conversation_id=conversation.id,
                turns=conversation.turns[:index],
                chosen=turn.text,
                rejected=rejection.text.strip(),
                guardrails=conversation.guardrails,
                broken=rejection.broken,
                domain=conversation.domain,
            )
        )
    return found


def data_card(pairs: Iterable[PreferencePair]) -> list[dict[str, str | int | float]]:
    """What the data is made of, one row per split: counts, and means over points (words are split at blanks)."""
    by_split: dict[str, list[PreferencePair]] = {}
    for pair in pairs:
        by_split.setdefault(pair.split, []).append(pair)
    return [_card(split, by_split[split]) for split in SPLITS if split in by_split]


def _card(split: str, pairs: list[PreferencePair]) -> dict[str, str | int | float]:
    conversations = len({pair.conversation_id for pair in pairs})
    return {
        "split": split,
        "conversations": conversations,
        "points": len(pairs),
        "points per conversation": len(pairs) / conversations,
        "domains": len({pair.domain for pair in pairs}),
        "guardrails": fmean(len(pair.guardrails) for pair in pairs),
        "turns of history": fmean(len(pair.turns) for pair in pairs),
        "words in chosen": fmean(len(pair.chosen.split()) for pair in pairs),
        "words in rejected": fmean(len(pair.rejected.split()) for pair in pairs),
        "chosen is longer": fmean(len(pair.chosen.split()) > len(pair.rejected.split()) for pair in pairs),
    }
