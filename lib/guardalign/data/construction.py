"""From conversations to preference pairs, and from pairs to the prompt of paper A (Fig. 1b)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
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


def numbered(guardrails: Sequence[str]) -> dict[str, str]:
    """Guardrails as JSON data, numbered from 1 as in paper A's Fig. 1a."""
    return {str(number): text for number, text in enumerate(guardrails, 1)}


def format_prompt(guardrails: Sequence[str], turns: Sequence[Turn]) -> str:
    """The prompt whose completion is the agent's next message.

    Everything a conversation's points have in common comes first (instruction, guardrails as JSON numbered from 1,
    request), then the history; so the points of one conversation are prefixes of each other up to the final
    ``Agent:``. The completion is a space and the reply. Source: paper A (arXiv 2406.18954), Fig. 1b.
    """
    rules = json.dumps({"guardrails": numbered(guardrails)}, indent=1, ensure_ascii=False)
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


def point_id(conversation: Conversation, index: int) -> str:
    """The id of the point whose chosen reply is the conversation's turn ``index``."""
    return f"{conversation.id}.{index}"


def tagged_turns(conversation: Conversation) -> list[int]:
    """The tagged agent turns that can become points: those with a message before them."""
    turns = enumerate(conversation.turns)
    return [index for index, turn in turns if index > 0 and turn.role == "agent" and turn.tagged]


def points(conversation: Conversation, reject: Callable[[Conversation, int], Rejection | None]) -> list[PreferencePair]:
    """One preference pair for every tagged agent turn that answers a user's message (Stage 2 of paper A).

    ``reject`` gets the conversation and the turn's index and makes the reply that breaks a guardrail; where it
    returns None, or the very reply that was chosen, there is no point.
    """
    pairs = []
    for index in tagged_turns(conversation):
        chosen, rejection = conversation.turns[index].text, reject(conversation, index)
        if rejection is None or rejection.text.strip() in ("", chosen):
            continue
        pairs.append(
            PreferencePair(
                id=point_id(conversation, index),
                conversation_id=conversation.id,
                turns=conversation.turns[:index],
                chosen=chosen,
                rejected=rejection.text.strip(),
                guardrails=conversation.guardrails,
                broken=rejection.broken,
                domain=conversation.domain,
            )
        )
    return pairs


def data_card(pairs: Sequence[PreferencePair]) -> list[dict[str, str | int | float]]:
    """What the data is made of, one row per split: counts, and means over points (words are split at blanks)."""
    rows: list[dict[str, str | int | float]] = []
    for split in SPLITS:
        split_pairs = [pair for pair in pairs if pair.split == split]
        if not split_pairs:
            continue
        conversations = len({pair.conversation_id for pair in split_pairs})
        words = [(len(pair.chosen.split()), len(pair.rejected.split())) for pair in split_pairs]
        rows.append(
            {
                "split": split,
                "conversations": conversations,
                "points": len(split_pairs),
                "points per conversation": len(split_pairs) / conversations,
                "domains": len({pair.domain for pair in split_pairs}),
                "guardrails": fmean(len(pair.guardrails) for pair in split_pairs),
                "turns of history": fmean(len(pair.turns) for pair in split_pairs),
                "words in chosen": fmean(chosen for chosen, _ in words),
                "words in rejected": fmean(rejected for _, rejected in words),
                "chosen is longer": fmean(chosen > rejected for chosen, rejected in words),
            }
        )
    return rows
