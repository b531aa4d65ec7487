"""The one way to a language model: questions in, outcomes out, each paid for once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator, Sized
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from tqdm import tqdm

from guardalign.errors import ParameterError
from guardalign.llm.bridge import iterate
from guardalign.llm.budget import Budget, BudgetReached, Ledger, PriceTable
from guardalign.llm.counts import Plan, Statistics
from guardalign.llm.endpoint import Endpoint, EndpointError
from guardalign.llm.examination import examine
from guardalign.llm.request import NO_TOKENS, Outcome, Request, Usage, written
from guardalign.llm.store import Delivered, Store
from guardalign.llm.transport import NoReply, Purse, Transport

BYTES_PER_TOKEN = 4
"""Of English text, for estimates only; limits are held against the worst case."""
AHEAD = 2
"""Requests in work for every call that may be on its way: the next ones are written while those are waited for."""


class Client:
    """Asks one endpoint and keeps every reply in ``store`` (a folder).

    ``offline``: answers from the store alone, and what is not there is invalid ("not recorded: …"). Budget and prices
    are the endpoint's; the budget counts all that the store has ever cost. Raises ParameterError where a budget in
    money meets a model without a price.
    """

    def __init__(self, endpoint: Endpoint, store: Path | Store, offline: bool = False, progress: bool = True) -> None:
        self.endpoint = endpoint
        self.store = store if isinstance(store, Store) else Store(store)
        self.offline = offline
        self.progress = progress
        self.statistics = Statistics()
        self.price = PriceTable.load(endpoint.prices).price(endpoint)
        self.budget = Budget(endpoint.max_cost, endpoint.max_total_tokens)
        if self.price is None and self.budget.cost is not None:
            raise ParameterError(
                f"No price is known for the model {endpoint.model}, so `max_cost` cannot be kept: give a price file "
                f"(`prices:`), or a limit in tokens (`max_total_tokens`)."
            )
        self._ledger: Ledger | None = None
        self._flying: dict[str, asyncio.Future[None]] = {}

    @property
    def ledger(self) -> Ledger:
        """The books of the store, opened when first needed."""
        if self._ledger is None:
            self._ledger = Ledger(self.store.root / "ledger.jsonl")
        return self._ledger

    def ask(self, request: Request) -> Outcome:
        """The outcome of one request."""
        return next(iter(list(self.run([request]))))

    def run(self, requests: Iterable[Request], label: str = "asking") -> Iterator[Outcome]:
        """The outcome of every request, as they come (not in order), each stored before it is given out.

        Requests are taken as calls become free, so memory does not grow with their number. Raises BudgetReached and
        EndpointError after the calls on their way have ended; everything paid for stays in the store.
        """
        total = len(requests) if isinstance(requests, Sized) else None
        with self._bar(label, total) as bar:
            for outcome in iterate(lambda: self.stream(requests)):
                self.statistics.count(outcome)
                bar.set_postfix_str(self._cost_so_far(), refresh=False)
                bar.update()
                yield outcome

    def plan(self, requests: Iterable[Request]) -> Plan:
        """What asking ``requests`` would take, without a call."""
        number = stored = size = 0
        waiting: set[str] = set()
        for request in requests:
            number += 1
            key = request.key(self.endpoint)
            if key in waiting or self.recall(request, key):
                stored += 1
                continue
            waiting.add(key)
            size += request.size
        tokens, most = size // BYTES_PER_TOKEN, len(waiting) * self.endpoint.max_tokens
        least = self.price.of(Usage(tokens)) if self.price else None
        highest = self.price.of(Usage(tokens, 0, most)) if self.price else None
        return Plan(number, stored, len(waiting), tokens, most, least, highest)

    async def stream(self, requests: Iterable[Request]) -> AsyncGenerator[Outcome, None]:
        """As ``run``, for callers with an event loop of their own; nothing is counted."""
        if self.offline:
            for request in requests:
                yield self.recall(request, request.key(self.endpoint)) or self._unrecorded(request)
            return
        source = self._batched(requests) if self.endpoint.mode == "batch" else self._direct(requests)
        async with aclosing(source) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _direct(self, requests: Iterable[Request]) -> AsyncGenerator[Outcome, None]:
        finished: asyncio.Queue[asyncio.Task[Outcome]] = asyncio.Queue()
        running: set[asyncio.Task[Outcome]] = set()
        stop: Exception | None = None
        source = iter(requests)
        async with AsyncExitStack() as stack:
            transport: Transport | None = None
            try:
                while True:
                    while stop is None and len(running) < AHEAD * self.endpoint.concurrency:
                        if (request := next(source, None)) is None:
                            break
                        key = request.key(self.endpoint)
                        stored = self.store.replies(key)
                        if outcome := _good(request, stored):
                            yield outcome
                            continue
                        if transport is None:
                            transport = await stack.enter_async_context(self._transport())
                        task = asyncio.create_task(self._answer(transport, request, key, stored))
                        running.add(task)
                        task.add_done_callback(finished.put_nowait)
                    if not running:
                        break
                    task = await finished.get()
                    running.discard(task)
                    try:
                        outcome = task.result()
                    except (BudgetReached, EndpointError) as error:
                        stop = stop or error
                        continue
                    yield outcome
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        if stop is not None:
            raise stop

    async def _batched(self, requests: Iterable[Request]) -> AsyncGenerator[Outcome, None]:
        from guardalign.llm.batch import batches

        async with self._transport() as transport, aclosing(batches(self, transport, requests)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    def _transport(self) -> Transport:
        return Transport(self.endpoint, Purse(self.budget, self.ledger), self.price, self.statistics.faults)

    async def _answer(self, transport: Transport, request: Request, key: str, stored: list[Delivered]) -> Outcome:
        while key in self._flying:
            await self._flying[key]
            stored = self.store.replies(key)
            if outcome := _good(request, stored):
                return outcome
        self._flying[key] = asyncio.get_running_loop().create_future()
        try:
            return await self._ask(transport, request, key, stored)
        finally:
            self._flying.pop(key).set_result(None)

    async def _ask(self, transport: Transport, request: Request, key: str, replies: list[Delivered]) -> Outcome:
        usage, cost = Usage(), 0.0
        for calls in range(1, self.endpoint.asks + 1):
            body = written(request.body(self.endpoint, ask=len(replies)))
            try:
                reply = await transport.send(body, f"{key[:40]}-{len(replies)}", request.size)
            except NoReply as none:
                return Outcome(request, invalid=str(none), calls=calls, usage=usage, cost=cost)
            # In a thread: the loop goes on while the disk is waited for, and what is cancelled is written all the same.
            replies = await asyncio.to_thread(self.keep, key, reply, replies, body, request.prompt)
            usage, cost = usage + reply.usage, cost + (reply.cost or 0.0)
            outcome = examine(request, reply, calls=calls, usage=usage, cost=cost)
            if outcome.invalid is None or transport.stopping:
                break
        return outcome

    def keep(self, key: str, reply: Delivered, before: list[Delivered], body: str, prompt: str = "") -> list[Delivered]:
        """Store a reply to ``body`` (JSON) after those ``before`` it; returns all replies to the same question."""
        asked = {"base_url": self.endpoint.base_url, "prompt": prompt}
        return self.store.add(key, f'{written(asked)[:-1]},"body":{body}}}', reply, before)

    def latest(self, request: Request, key: str, before: int, wrong: str | None) -> Outcome:
        """The outcome of a request that this run asked in batches: ``before`` replies were stored already, and
        ``wrong`` says why the last batch brought none."""
        asked = self.store.replies(key)[before:]
        usage, cost = sum((each.usage for each in asked), NO_TOKENS), sum(each.cost or 0.0 for each in asked)
        if wrong is not None or not asked:
            return Outcome(request, invalid=wrong or "no reply: not stored", calls=len(asked), usage=usage, cost=cost)
        return examine(request, asked[-1], calls=len(asked), usage=usage, cost=cost)

    def recall(self, request: Request, key: str) -> Outcome | None:
        """The outcome of a request whose good reply is stored; None where there is none."""
        return _good(request, self.store.replies(key))

    def _unrecorded(self, request: Request) -> Outcome:
        replies = self.store.replies(request.key(self.endpoint))
        if replies:
            return examine(request, replies[-1], stored=True)
        return Outcome(request, invalid="not recorded: the store has no reply to this question")

    def _bar(self, label: str, total: int | None) -> tqdm:
        live = sys.stderr.isatty()
        return tqdm(
            desc=label, total=total, disable=not self.progress, mininterval=0.5 if live else 15, dynamic_ncols=live
        )

    def _cost_so_far(self) -> str:
        cost = f"${self.statistics.cost:.2f}" if self.price else f"{self.statistics.usage.total} tokens"
        return f"{cost}, {sum(self.statistics.invalid.values())} invalid"


def _good(request: Request, stored: list[Delivered]) -> Outcome | None:
    outcomes = (examine(request, reply, stored=True) for reply in stored)
    return next((outcome for outcome in outcomes if outcome.invalid is None), None)
