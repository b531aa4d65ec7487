"""Generation as a job: what ``python -m guardalign.generation`` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guardalign.data.conversations import Row
from guardalign.data.examples import Prompt
from guardalign.generation.replies import GenerationSettings, made_with
from guardalign.generation.store import Store


class GenerationJob(Row):
    """One arm's replies: the model, the JSONL of ``Prompt`` rows it answers, and where the replies go."""

    model: str
    arm: str
    settings: GenerationSettings = GenerationSettings()
    output: Path
    pairs: Path | None = None

    def store(self, pairs: Sequence[Prompt]) -> Store:
        """Where the replies to ``pairs`` are kept; its ``is_complete`` says whether all exist."""
        return Store(self.output, made_with(self.model, pairs, self.arm, self.settings))
