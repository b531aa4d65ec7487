"""Training points as text."""

from __future__ import annotations

from guardalign.data.conversations import Row


class Example(Row):
    """One training point as text: the prompt, and completions that follow it verbatim (leading space included)."""

    id: str
    conversation_id: str
    prompt: str
    chosen: str
    rejected: str | None = None
