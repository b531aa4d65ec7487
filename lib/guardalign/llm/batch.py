"""The provider's Batch API: half the price, hours instead of seconds; an interrupted run finds its batches again.

``batches/<name>.json`` in the store says which questions a batch holds, its entry in the ledger, and its id at the
provider once known. It is written before the batch is made, and the name travels in the batch's metadata: one made
just before the run died is found by asking the provider.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import openai
from openai.types import Batch
from pydantic import BaseModel

from guardalign.files import write_text
from guardalign.llm.budget import Spent
from guardalign.llm.endpoint import Endpoint, EndpointError
from guardalign.llm.examination import first_valid, outcome
from guardalign.llm.request import NO_TOKENS, Outcome, Request
from guardalign.llm.store import Store
from guardalign.llm.transport import UNREADABLE, Transport

ENDED = ("completed", "failed", "expired", "cancelled")
MOST_BYTES = 150_000_000
"""Of one batch's requests; OpenAI takes files of 200 MB."""
METADATA = "guardalign"


class BatchRecord(BaseModel):
    """One batch: ``keys`` maps its custom_ids to the store's keys, ``call`` is its entry in the ledger."""

    name: str
    keys: dict[str, str]
    call: str
    id: str | None = None
    state: str = "made"


async def batched(transport: Transport, store: Store, requests: Iterable[Request]) -> AsyncGenerator[Outcome, None]:
    """The outcomes of ``requests``, asked in batches; batches of an earlier run are collected first.

    Raises BudgetReached before a batch that does not fit, EndpointError if a batch has not ended in ``batch_hours``.
    """
    endpoint, batches = transport.endpoint, _Batches(transport, store)
    with batches.failures():
        await batches.collect_open()
    for chunk in _chunks(requests, endpoint):
        waiting: dict[str, list[Request]] = {}
        for request in chunk:
            key = request.key(endpoint)
            if found := first_valid(request, store.replies(key)):
                yield found
            else:
                waiting.setdefault(key, []).append(request)
        before = {key: len(store.replies(key)) for key in waiting}
        for ask in range(1, endpoint.asks + 1):
            with batches.failures():
                wrong = await batches.ask({key: each[0] for key, each in waiting.items()}) if waiting else {}
            for key in list(waiting):
                found = outcome(waiting[key][0], store.replies(key)[before[key] :], wrong.get(key))
                if found.invalid is None or ask == endpoint.asks:
                    yield found
                    for twin in waiting.pop(key)[1:]:
                        yield first_valid(twin, store.replies(key)) or replace(
                            found, request=twin, calls=0, usage=NO_TOKENS, cost=0.0
                        )


def _chunks(requests: Iterable[Request], endpoint: Endpoint) -> Iterator[list[Request]]:
    chunk: list[Request] = []
    size = 0
    for request in requests:
        length = len(json.dumps(request.body(endpoint)))
        if chunk and (len(chunk) == endpoint.batch_size or size + length > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += length
    if chunk:
        yield chunk


class _Batches:
    """Sends, finds and collects the batches of one store."""

    def __init__(self, transport: Transport, store: Store) -> None:
        self.transport = transport
        self.endpoint = transport.endpoint
        self.store = store
        self.folder = store.root / "batches"

    async def collect_open(self) -> None:
        """Collect every batch that an earlier run created and did not collect."""
        for path in sorted(self.folder.glob("*.json")):
            record = BatchRecord.model_validate_json(path.read_bytes())
            if record.state not in ("made", "sent"):
                continue
            if record.id is None:
                record = await self._found(record)
            if record.id is None:  # it never reached the provider
                self.transport.ledger.settle(record.call, Spent())
                path.unlink()
            else:
                with suppress(openai.NotFoundError):  # a batch of another provider whose replies are in the same store
                    await self._collect(record)

    async def ask(self, requests: dict[str, Request]) -> dict[str, str]:
        """Put one question per key in one batch and store the replies; returns what went wrong, by key."""
        asked, keys, lines = {}, {}, []
        for key, request in requests.items():
            number = len(self.store.replies(key))
            asked[key], name = request.record(self.endpoint, number), f"{key[:48]}-{number}"
            keys[name] = key
            line = {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": asked[key]["body"]}
            lines.append(json.dumps(line).encode())
        content = b"\n".join(lines)
        call = await self.transport.ledger.reserve(self.transport.worst_case(len(content), len(asked)))
        try:
            record = self._save(BatchRecord(name=uuid4().hex, keys=keys, call=call))
            return await self._collect(await self._send(record, content), asked)
        finally:
            self.transport.ledger.settle(call, None)  # a failed submission is not waited for in this run

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Turn the SDK's errors into EndpointError."""
        try:
            yield
        except openai.APIError as error:
            message = self.transport.redacted(str(error.message))[:500]
            raise EndpointError(
                f"{self.endpoint.base_url}: the Batch API failed: {message}. Run again to resume."
            ) from None

    def _save(self, record: BatchRecord, **changes: str) -> BatchRecord:
        changed = record.model_copy(update=changes)
        write_text(self.folder / f"{record.name}.json", changed.model_dump_json() + "\n")
        return changed

    async def _found(self, record: BatchRecord) -> BatchRecord:
        """The record with its id at the provider, if the provider has it."""
        async for batch in self.transport.client.batches.list(limit=100):
            if (batch.metadata or {}).get(METADATA) == record.name:
                return self._save(record, id=batch.id, state="sent")
        return record

    async def _send(self, record: BatchRecord, content: bytes) -> BatchRecord:
        client = self.transport.client
        uploaded = await client.files.create(file=(f"{record.name}.jsonl", content), purpose="batch")
        # Not repeated by the SDK: a batch whose confirmation was lost would be made, and paid for, twice.
        batch = await client.with_options(max_retries=0).batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={METADATA: record.name},
        )
        return self._save(record, id=batch.id, state="sent")

    async def _collect(self, record: BatchRecord, asked: dict[str, dict[str, Any]] | None = None) -> dict[str, str]:
        """Wait for a batch's end and store its replies; returns what went wrong, by key.

        ``asked``: the calls by key; None for a batch of an earlier run, which may have stored some of the replies.
        """
        batch = await self._ended(record)
        wrong = dict.fromkeys(record.keys.values(), f"no reply: the batch is {batch.status} without it")
        spent = Spent()
        for line in [*await self._lines(batch.output_file_id), *await self._lines(batch.error_file_id)]:
            key = record.keys.get(str(line.get("custom_id")))
            if key is None or key not in wrong:
                continue  # a line that is not ours, or one delivered twice
            try:
                reply = self.transport.read(line["response"]["body"])
            except UNREADABLE:
                wrong[key] = self._problem(line)
                continue
            before = self.store.replies(key)
            if asked or reply not in before:
                self.store.add(key, asked[key] if asked else {"batch": record.id}, reply, before)
            spent += reply.spent
            del wrong[key]
        self.transport.ledger.settle(record.call, spent)
        self._save(record, state=batch.status)
        return wrong

    async def _ended(self, record: BatchRecord) -> Batch:
        give_up = time.monotonic() + self.endpoint.batch_hours * 3600
        while True:
            batch = await self.transport.client.batches.retrieve(str(record.id))
            if batch.status in ENDED:
                return batch
            if time.monotonic() > give_up:
                raise EndpointError(
                    f"The batch {record.id} is still {batch.status} after {self.endpoint.batch_hours:g} hours. "
                    f"It is kept; run again to collect it."
                )
            await asyncio.sleep(self.endpoint.poll_seconds)

    async def _lines(self, file: str | None) -> list[dict[str, Any]]:
        """The JSON lines of a file at the provider; a broken one is left out, its question counts as unanswered."""
        if not file:
            return []
        content = await self.transport.client.files.content(file)
        found = []
        for line in content.content.splitlines():  # of bytes: JSON may hold U+2028, where a text's lines would end
            with suppress(ValueError, RecursionError):
                found.append(json.loads(line))
        return [row for row in found if isinstance(row, dict)]

    def _problem(self, line: dict[str, Any]) -> str:
        """Why a line holds no reply."""
        response = line.get("response") or {}
        status = response.get("status_code", "") if isinstance(response, dict) else ""
        if status == 200:
            return "no reply: unreadable response"
        details = line.get("error") or response
        return f"refused by the server: {status} {self.transport.redacted(json.dumps(details))[:300]}"
