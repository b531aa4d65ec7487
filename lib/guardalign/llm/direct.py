"""Questions put one by one, ``concurrency`` at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from weakref import WeakValueDictionary

from guardalign.llm.examination import first_valid, outcome
from guardalign.llm.request import Outcome, Request
from guardalign.llm.store import Store
from guardalign.llm.transport import NoReply, Transport

LONGEST_TOKEN = 8
"""Bytes that a token of a reply takes on the disk, generously."""
ROW = 4096
"""Bytes of a reply's other fields, generously."""


async def direct(transport: Transport, store: Store, requests: Iterable[Request]) -> AsyncGenerator[Outcome, None]:
    """The outcomes of ``requests`` as they come, each stored first; requests are taken as calls become free.

    Raises BudgetReached, EndpointError and (full disk) GuardalignError after the calls on their way have ended.
    """
    source = iter(requests)
    outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue(transport.endpoint.concurrency)
    locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
    errors: list[Exception] = []

    async def work() -> None:
        try:
            while not errors and (request := next(source, None)) is not None:
                key = request.key(transport.endpoint)
                lock = locks.setdefault(key, asyncio.Lock())
                async with lock:  # an equal question that is on its way is not asked again
                    found = await _outcome(transport, store, request, key)
                await outcomes.put(found)
        except Exception as error:
            errors.append(error)
        await outcomes.put(None)

    workers = [asyncio.create_task(work()) for _ in range(transport.endpoint.concurrency)]
    try:
        for _ in workers:
            while (found := await outcomes.get()) is not None:
                yield found
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    if errors:
        raise errors[0]


async def _outcome(transport: Transport, store: Store, request: Request, key: str) -> Outcome:
    replies = store.replies(key)
    if stored := first_valid(request, replies):
        return stored
    endpoint, known = transport.endpoint, len(replies)
    for calls in range(1, endpoint.asks + 1):
        asked = request.record(endpoint, len(replies))
        texts = sum(len(reply.text.encode()) + ROW for reply in replies)
        with store.room(key, len(json.dumps(asked)) + texts + LONGEST_TOKEN * endpoint.max_tokens + ROW):
            try:
                reply = await transport.send(asked["body"], f"{key[:40]}-{len(replies)}")
            except NoReply as error:
                return replace(outcome(request, replies[known:], str(error)), calls=calls)
            replies = store.add(key, asked, reply, replies)
        found = outcome(request, replies[known:])
        if found.invalid is None:
            break
    return found
