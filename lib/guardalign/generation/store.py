"""Replies on disk as they are generated: what an interrupted run left, and whether an output is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from guardalign.data.conversations import Reply
from guardalign.files import intact, json_line, space_for, write_rows, write_text


class Store:
    """The files of one output: rows as they come in ``.partial``, the whole, and what it was made with in ``.made``.

    Processes that share the work write to a ``.partial`` of their own each (``.partial-1``, ...) and read all of them.
    """

    def __init__(self, output: Path, made: str, rank: int = 0):
        self.output, self.made = output, made
        self.partial = output.with_name(f"{output.name}.partial" + (f"-{rank}" if rank else ""))
        self.stamp = output.with_name(output.name + ".made")

    def is_complete(self) -> bool:
        if not (self.output.exists() and self.stamp.exists() and intact(self.output)):
            return False
        return self.stamp.read_bytes() == self._head

    @property
    def _head(self) -> bytes:
        return json.dumps({"made": self.made}).encode() + b"\n"

    @property
    def _partials(self) -> list[Path]:
        return sorted(self.output.parent.glob(f"{self.output.name}.partial*"))

    def resume(self) -> dict[str, Reply]:
        """``kept``; prepares this process's file for more rows: a line cut off in the middle is removed."""
        lines = _whole_lines(self.partial)
        if lines[:1] == [self._head]:
            os.truncate(self.partial, sum(map(len, lines)))
        else:
            write_text(self.partial, self._head.decode())
        return self.kept()

    def kept(self) -> dict[str, Reply]:
        """The replies so far, by pair: of all processes, and of an interrupted run with the same fingerprint."""
        replies = {}
        for path in self._partials:
            head, *lines = _whole_lines(path) or [b""]
            if head == self._head:
                replies.update({reply.pair_id: reply for line in lines if (reply := _reply(line))})
        return replies

    def append(self, replies: Sequence[Reply]) -> None:
        with space_for(self.partial), self.partial.open("a", encoding="utf-8") as file:
            file.write("".join(json_line(reply) + "\n" for reply in replies))
            file.flush()
            os.fsync(file.fileno())

    def write(self, replies: Sequence[Reply]) -> None:
        """Write the output. The old fingerprint is removed first, so that it is never next to other content."""
        self.stamp.unlink(missing_ok=True)
        write_rows(self.output, replies)
        write_text(self.stamp, self._head.decode())
        for path in self._partials:
            path.unlink(missing_ok=True)


def _reply(line: bytes) -> Reply | None:
    """A row as a reply; None if it is damaged and has to be generated again."""
    try:
        return Reply.model_validate_json(line)
    except ValidationError:
        return None


def _whole_lines(path: Path) -> list[bytes]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith(b"\n")]
