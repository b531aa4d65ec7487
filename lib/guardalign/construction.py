"""Conversations to preference pairs: one point per tagged agent turn, and the prompt of paper A's Fig. 1b."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from guardalign.conversations import Conversation, PreferencePair, Turn

# Wording after Fig. 1b of arXiv 2406.18954. All that a conversation's points share stands first, so that the prompt of
# an earlier turn is a prefix of the prompts of later ones.
INSTRUCTION = (
    "Given below are some guardrails and a conversation between User and Agent. The agent is expected to respond such "
    "that it does not violate or break any of the below mentioned guardrails."
)
REQUEST = (
    "You are required to output the single turn Agent Message (single reply) in the conversation in the most "
    'appropriate manner (following the prompt "Agent: ").'
)
SPEAKER = {"user": "User", "agent": "Agent"}


def format_prompt(guardrails: Sequence[str], turns: Iterable[Turn]) -> str:
    """The prompt for the agent's next message; it ends in ``\\nAgent:``, so a completion starts with a space."""
    numbered = {str(number): text for number, text in enumerate(guardrails, start=1)}
    block = json.dumps({"guardrails": numbered}, ensure_ascii=False, indent=2)
    lines = "".join(f"{SPEAKER[turn.role]}: {turn.text}\n" for turn in turns)
    return f"{INSTRUCTION}\n\n>>>\n{block}\n<<<\n\n{REQUEST}\n\nConversation:\n\n{lines}Agent:"


def completion(reply: str) -> str:
    """A reply as it continues a prompt, without the end-of-sequence token."""
    return f" {reply}"
