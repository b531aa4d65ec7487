"""A judge that replays recorded replies of a language model: offline, free and deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guardalign.files import write_rows
from guardalign.judging.llm_judge import BOTH, LLMJudge, Order
from guardalign.llm import Client, Endpoint, Recording, Store
from guardalign.llm.store import digest


def recorded_judge(
    endpoint: Endpoint, recording: Path, orders: Sequence[Order] = BOTH, prompts: Path | None = None
) -> LLMJudge:
    """The judge that ``endpoint`` was, from ``recording``: a store's folder, or the file that ``record`` made of it.

    No key is needed and no call is made. A comparison that was not recorded with the same model, settings and prompt
    is invalid ("not recorded: …").
    """
    store = Store(recording) if recording.is_dir() else Recording(recording)
    return LLMJudge(Client(endpoint, store, offline=True), orders=orders, prompts=prompts)


def record(store: Path, path: Path) -> int:
    """Write all replies of a store into one JSONL file, without the prompts; returns how many questions it holds.

    Damaged files are left out.
    """
    source = Store(store)
    replies = {key: [reply.row() for reply in source.replies(key)] for key in source.keys()}  # noqa: SIM118
    kept = {key: rows for key, rows in replies.items() if rows}
    write_rows(path, ({"key": key, "replies": rows, "digest": digest(key, rows)} for key, rows in kept.items()))
    return len(kept)
