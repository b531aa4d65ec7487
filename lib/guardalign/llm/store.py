"""Every reply that was ever paid for, by the content of its question: one JSON file a question.

A file holds the whole request and all replies to it, the unusable ones too: they cost money and
number the next ask. Which of them is good is decided anew at every reading, so nothing invalid is ever final.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardalign.llm.request import NO_TOKENS, Usage, written


@dataclass(frozen=True)
class Delivered:
    """One reply as the server gave it. ``finish`` is the protocol's finish_reason, ``refusal`` the refusal's words."""

    text: str
    finish: str = "stop"
    refusal: str | None = None
    usage: Usage = NO_TOKENS
    cost: float | None = None

    @classmethod
    def of(cls, row: dict[str, Any]) -> Delivered:
        return cls(**(row | {"usage": Usage(**row["usage"])}))

    def row(self) -> dict[str, Any]:
        """What ``of`` reads."""
        return vars(self) | {"usage": vars(self.usage)}


class Store:
    """A folder of replies: ``<2 digits>/<64 digits>.json``, written whole or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.json"

    def replies(self, key: str) -> list[Delivered]:
        """All replies to the question, oldest first; none where it was never answered (or its file is damaged)."""
        try:
            record = json.loads(self.path(key).read_bytes())
            return [Delivered.of(row) for row in record["replies"]]
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            return []

    def add(self, key: str, request: str, reply: Delivered, before: list[Delivered]) -> list[Delivered]:
        """Append ``reply`` to those stored ``before``; returns all replies to the question. ``request`` is JSON.

        The rename makes it safe against a killed process. It is not forced to the disk: at hundreds of replies a
        second that would cost more than the few replies a power cut can lose.
        """
        replies = [*before, reply]
        rows = ",".join(written(each.row()) for each in replies)
        record = f'{{"key":"{key}","request":{request},"replies":[{rows}]}}'
        path = self.path(key)
        part = path.with_name(f".{key}.{os.getpid()}.part")
        try:
            self._write(part, record)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        return replies

    def _write(self, part: Path, record: str) -> None:
        data = record.encode("utf-8", "surrogatepass")
        try:
            part.write_bytes(data)
        except FileNotFoundError:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)

    def keys(self) -> Iterator[str]:
        """Every question that has a reply."""
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.glob("*.json")):
                yield path.stem

    def record(self, key: str) -> dict[str, Any]:
        """The whole file of one question: key, request, replies."""
        return json.loads(self.path(key).read_bytes())


class Recording(Store):
    """Replies from one JSONL file (rows with ``key`` and ``replies``), for reading alone."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        self._replies = {row["key"]: [Delivered.of(reply) for reply in row["replies"]] for row in rows}

    def replies(self, key: str) -> list[Delivered]:
        return self._replies.get(key, [])
