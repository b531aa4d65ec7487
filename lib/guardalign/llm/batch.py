"""The provider's Batch API as a mode: half the price, hours for seconds, and a cut-off run finds its batches again.

What a batch needs to be found lies in the store before it is sent: ``batches/<name>.jsonl`` (its input) and
``batches/<name>.json`` (its questions, its id at the provider once known, its state). The name also travels in the
batch's metadata, so that one sent just before the run died is found by asking the provider.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
from pydantic import BaseModel

from guardalign.files import write_text
from guardalign.llm.budget import Spent
from guardalign.llm.endpoint import EndpointError
from guardalign.llm.request import NO_TOKENS, Outcome, Request, written
from guardalign.llm.transport import Transport

if TYPE_CHECKING:
    from guardalign.llm.client import Client

ENDED = ("completed", "failed", "expired", "cancelled")
MOST_BYTES = 150_000_000
METADATA = "guardalign"
PAGES = 20


class BatchRecord(BaseModel):
    """One batch: ``keys`` maps its custom_ids to the store's keys, ``call`` is its entry in the ledger."""

    name: str
    keys: dict[str, str]
    call: str
    tokens: int
    cost: float
    id: str | None = None
    state: str = "made"


async def batches(client: Client, transport: Transport, requests: Iterable[Request]) -> AsyncGenerator[Outcome, None]:
    """The outcomes of ``requests``, asked in batches; batches of an earlier run are collected first.

    Raises BudgetReached before a batch that does not fit, EndpointError where a batch has not ended in ``batch_hours``.
    """
    office = Office(client, transport)
    await office.collect_open()
    for chunk in _chunks(requests, client.endpoint.batch_size):
        waiting: dict[str, list[Request]] = {}
        for request in chunk:
            key = request.key(client.endpoint)
            if outcome := client.recall(request, key):
                yield outcome
            else:
                waiting.setdefault(key, []).append(request)
        before = {key: len(client.store.replies(key)) for key in waiting}
        for last in range(1 - client.endpoint.asks, 1):
            if not waiting:
                break
            wrong = await office.ask({key: each[0] for key, each in waiting.items()})
            for key in list(waiting):
                first, *twins = waiting[key]
                outcome = client.latest(first, key, before[key], wrong.get(key))
                if outcome.invalid is None or last == 0:
                    del waiting[key]
                    yield outcome
                    for twin in twins:
                        yield client.recall(twin, key) or replace(
                            outcome, request=twin, calls=0, usage=NO_TOKENS, cost=0.0
                        )


def _chunks(requests: Iterable[Request], most: int) -> Iterator[list[Request]]:
    chunk: list[Request] = []
    size = 0
    for request in requests:
        if chunk and (len(chunk) == most or size + request.size > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += request.size
    if chunk:
        yield chunk


class Office:
    """Sends, finds and collects the batches of one store."""

    def __init__(self, client: Client, transport: Transport) -> None:
        self.client = client
        self.transport = transport
        self.endpoint = client.endpoint
        self.folder = client.store.root / "batches"
        self.server = transport.client.with_options(max_retries=self.endpoint.retries)

    async def collect_open(self) -> None:
        """Collect every batch that an earlier run made and did not see the end of."""
        for path in sorted(self.folder.glob("*.json")):
            record = BatchRecord.model_validate_json(path.read_text(encoding="utf-8"))
            if record.state in ("made", "sent"):
                record = record if record.id else await self._find_or_send(record)
                await self._collect(record)

    async def ask(self, requests: dict[str, Request]) -> dict[str, str]:
        """Put one question a key in one batch and store the replies; returns what went wrong, by key."""
        lines, keys, size = [], {}, 0
        for key, request in requests.items():
            ask = len(self.client.store.replies(key))
            name = f"{key[:48]}-{ask}"
            keys[name] = key
            size += request.size
            body = request.body(self.endpoint, ask)
            lines.append({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})
        most = self.transport.most(size, len(lines))
        call = await self.transport.purse.reserve(most)
        record = BatchRecord(name=self._new_name(keys), keys=keys, call=call, tokens=most.tokens, cost=most.cost)
        write_text(self._input(record), "".join(json.dumps(line) + "\n" for line in lines))
        self._save(record)
        return await self._collect(await self._send(record))

    def _new_name(self, keys: Iterable[str]) -> str:
        stem = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]
        number = len(list(self.folder.glob(f"{stem}-*.json")))
        return f"{stem}-{number}"

    def _input(self, record: BatchRecord) -> Path:
        return self.folder / f"{record.name}.jsonl"

    def _save(self, record: BatchRecord) -> None:
        write_text(self.folder / f"{record.name}.json", record.model_dump_json() + "\n")

    async def _find_or_send(self, record: BatchRecord) -> BatchRecord:
        try:
            page = await self.server.batches.list(limit=100)
            for _ in range(PAGES):
                for batch in page.data:
                    if (batch.metadata or {}).get(METADATA) == record.name:
                        return self._sent(record, batch.id)
                if not page.has_next_page():
                    break
                page = await page.get_next_page()
        except openai.APIError as error:
            raise self._failure(error) from None
        return await self._send(record)

    async def _send(self, record: BatchRecord) -> BatchRecord:
        try:
            content = self._input(record).read_bytes()
            uploaded = await self.server.files.create(file=(f"{record.name}.jsonl", content), purpose="batch")
            batch = await self.server.batches.create(
                input_file_id=uploaded.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={METADATA: record.name},
            )
        except openai.APIError as error:
            raise self._failure(error) from None
        return self._sent(record, batch.id)

    def _sent(self, record: BatchRecord, number: str) -> BatchRecord:
        sent = record.model_copy(update={"id": number, "state": "sent"})
        self._save(sent)
        return sent

    async def _collect(self, record: BatchRecord) -> dict[str, str]:
        """Wait for a batch's end and store its replies; returns what went wrong, by key."""
        batch = await self._ended(record)
        wrong = dict.fromkeys(record.keys.values(), f"no reply: the batch is {batch.status} without it")
        bodies = self._bodies(record)
        spent = Spent()
        for file in (batch.output_file_id, batch.error_file_id):
            for line in await self._lines(file):
                key = record.keys.get(str(line.get("custom_id")))
                if key is None or key not in wrong:
                    continue  # a line that is not ours, or one delivered twice
                problem = self._problem(line)
                if problem is not None:
                    wrong[key] = problem
                    continue
                reply = self.transport.read(line["response"]["body"])
                self.client.keep(key, reply, self.client.store.replies(key), written(bodies[line["custom_id"]]))
                spent += Spent(reply.usage.total, reply.cost or 0.0)
                del wrong[key]
        await self.transport.purse.close(record.call, spent)
        self._save(record.model_copy(update={"state": batch.status}))
        self._input(record).unlink(missing_ok=True)
        return wrong

    async def _ended(self, record: BatchRecord) -> Any:
        give_up = time.monotonic() + self.endpoint.batch_hours * 3600
        while True:
            try:
                batch = await self.server.batches.retrieve(str(record.id))
            except openai.APIError as error:
                raise self._failure(error) from None
            if batch.status in ENDED:
                return batch
            if time.monotonic() > give_up:
                raise EndpointError(
                    f"The batch {record.id} is still {batch.status} after {self.endpoint.batch_hours:g} hours. "
                    f"It is kept; run again to collect it."
                )
            await asyncio.sleep(self.endpoint.poll_seconds)

    async def _lines(self, file: str | None) -> list[dict[str, Any]]:
        if not file:
            return []
        try:
            content = await self.server.files.content(file)
        except openai.APIError as error:
            raise self._failure(error) from None
        found = []
        for line in content.text.splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # its question counts as unanswered
            if isinstance(row, dict):
                found.append(row)
        return found

    def _problem(self, line: dict[str, Any]) -> str | None:
        response = line.get("response") or {}
        if response.get("status_code") != 200:
            said = line.get("error") or (response.get("body") or {}).get("error") or {}
            status = response.get("status_code", "")
            return f"refused by the server: {status} {self.transport.hide(str(said.get('message', said)))[:300]}"
        try:
            self.transport.read(response["body"])
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            return "no reply: unreadable response"
        return None

    def _bodies(self, record: BatchRecord) -> dict[str, dict[str, Any]]:
        lines = (json.loads(line) for line in self._input(record).read_text(encoding="utf-8").splitlines())
        return {line["custom_id"]: line["body"] for line in lines}

    def _failure(self, error: openai.APIError) -> EndpointError:
        said = self.transport.hide(str(error.message))[:500]
        return EndpointError(
            f"{self.endpoint.base_url} does not take or give back batches: {said}. Run again to go on."
        )
