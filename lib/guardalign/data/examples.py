"""Training points as text."""

from __future__ import annotations

from guardalign.data.conversations import PreferencePair, Row


class Example(Row):
    """One training point as text: the prompt, and completions that follow it verbatim (leading space included)."""

    id: str
    conversation_id: str
    prompt: str
    chosen: str
    rejected: str | None = None


Prompt = PreferencePair | Example
"""What a policy is asked: a pair, laid out by paper A's prompt, or an example's own text."""
