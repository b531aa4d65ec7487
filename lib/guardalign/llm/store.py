"""Every reply that was ever paid for, by the content of its question: one JSON file per question.

A file holds the whole request and all replies to it, the unusable ones too: they cost money and number the next ask.
Replies are checked again at every reading, so an invalid one is never final. A digest guards the replies: a
damaged file counts as no reply.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guardalign.files import fingerprint, space_for
from guardalign.llm.budget import Spent
from guardalign.llm.request import NO_TOKENS, Usage


@dataclass(frozen=True)
class Delivered:
    """One reply as the server gave it. ``finish`` is the protocol's finish_reason, ``refusal`` the refusal's words."""

    text: str
    finish: str = "stop"
    refusal: str | None = None
    usage: Usage = NO_TOKENS
    cost: float | None = None

    @property
    def spent(self) -> Spent:
        return Spent(self.usage.total, self.cost or 0.0)


class Store:
    """A folder of replies: ``<2 digits>/<64 digits>.json``, written atomically."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.json"

    def replies(self, key: str) -> list[Delivered]:
        """All replies to the question, oldest first; none if it was never answered or its file is damaged."""
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            record = json.loads(self.path(key).read_bytes())
            older = record.keys() <= {"key", "request", "replies"}  # stores made before there were digests have none
            if older or record["digest"] == fingerprint(record["key"], record["replies"]):
                return [Delivered(**(row | {"usage": Usage(**row["usage"])})) for row in record["replies"]]
        return []

    @contextmanager
    def room(self, key: str, size: int) -> Iterator[None]:
        """Hold ``size`` bytes of the disk for what ``add`` writes in this block: a reply that is paid for finds room.

        Raises GuardalignError if the disk is full.
        """
        part = self._part(key)
        try:
            with space_for(self.path(key)):
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(bytes(size))
            yield
        finally:
            part.unlink(missing_ok=True)

    def add(self, key: str, request: dict[str, Any], reply: Delivered, before: list[Delivered]) -> list[Delivered]:
        """Append ``reply`` to those stored ``before``; returns all replies to the question.

        The rename makes it safe against a killed process. It is not forced to the disk: at hundreds of replies per
        second that would cost more than the few replies a power cut can lose. Raises GuardalignError if the disk is
        full.
        """
        replies = [*before, reply]
        rows = [asdict(each) for each in replies]
        record = {"key": key, "request": request, "replies": rows, "digest": fingerprint(key, rows)}
        part = self._part(key)
        with space_for(self.path(key)):
            part.parent.mkdir(parents=True, exist_ok=True)
            # Not emptied first: the room that is held for it would be given back.
            with open(os.open(part, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
                file.write(json.dumps(record, ensure_ascii=False).encode())
                file.truncate()
            os.replace(part, self.path(key))
        return replies

    def _part(self, key: str) -> Path:
        return self.root / key[:2] / f".{key}.{os.getpid()}.part"
