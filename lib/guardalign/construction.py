"""From conversations to preference pairs, and from pairs to the prompt of paper A (Fig. 1b)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from guardalign.conversations import Turn

INSTRUCTION = (
    "Below are the guardrails of a customer care agent and a conversation between a User and the Agent. "
    "The Agent must not break any of the guardrails."
)
REQUEST = 'Write the single next message of the Agent, as it would follow "Agent:".'


def format_prompt(guardrails: Sequence[str], turns: Sequence[Turn]) -> str:
    """The prompt whose completion is the agent's next message.

    Everything a conversation's points have in common stands first (instruction, guardrails as JSON numbered from 1,
    request), then the history; so the points of one conversation are prefixes of each other up to the final
    ``Agent:``. The completion is a space and the reply. Source: paper A (arXiv 2406.18954), Fig. 1b.
    """
    rules = json.dumps(
        {"guardrails": {str(number): text for number, text in enumerate(guardrails, 1)}}, indent=1, ensure_ascii=False
    )
    history = "\n".join(f"{turn.role.title()}: {turn.text}" for turn in turns)
    return f"{INSTRUCTION}\n>>>\n{rules}\n<<<\n{REQUEST}\nConversation:\n{history}\nAgent:"
