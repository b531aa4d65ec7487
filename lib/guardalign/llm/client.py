"""Requests in, outcomes out; each reply is paid for once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Sized
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from anyio.from_thread import start_blocking_portal
from tqdm import tqdm

from guardalign.errors import ParameterError
from guardalign.llm.budget import Ledger, price_of
from guardalign.llm.endpoint import Endpoint
from guardalign.llm.examination import examine, first_valid
from guardalign.llm.request import NO_TOKENS, Outcome, Request, Usage
from guardalign.llm.store import Store


@dataclass
class Statistics:
    """What a client has done so far. ``invalid`` counts by kind."""

    stored: int = 0
    calls: int = 0
    usage: Usage = NO_TOKENS
    cost: float = 0.0
    invalid: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: Outcome) -> None:
        self.stored += outcome.stored
        self.calls += outcome.calls
        self.usage += outcome.usage
        self.cost += outcome.cost
        if outcome.invalid:
            self.invalid[outcome.invalid.split(":")[0]] += 1


class Client:
    """Asks one endpoint and keeps every reply in ``store`` (a folder).

    ``offline``: answers only from the store, and anything missing is invalid ("not recorded: …"). Budget and prices
    are the endpoint's; the budget counts all that the store has ever cost. Raises ParameterError if a budget in
    money is set for a model without a price.
    """

    def __init__(self, endpoint: Endpoint, store: Path, offline: bool = False, progress: bool = True) -> None:
        self.endpoint = endpoint
        self.store = Store(store)
        self.offline = offline
        self.progress = progress
        self.statistics = Statistics()
        self.price = price_of(endpoint)
        if self.price is None and endpoint.max_cost is not None:
            raise ParameterError(
                f"No price is known for the model {endpoint.model}, so `max_cost` cannot be kept: give a price file "
                f"(`prices:`), or a limit in tokens (`max_total_tokens`)."
            )

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of the store, opened when first needed."""
        return Ledger(self.store.root / "ledger.jsonl", self.endpoint)

    def ask(self, request: Request) -> Outcome:
        """The outcome of one request."""
        (outcome,) = self.run([request])
        return outcome

    def run(self, requests: Iterable[Request], label: str = "asking") -> Iterator[Outcome]:
        """The outcome of every request, as they come (not in order), each stored before it is given out.

        Requests are taken as calls become free, so memory does not grow with their number. Raises BudgetReached,
        EndpointError and (full disk) GuardalignError after the calls on their way have ended; every reply is stored.
        """
        total, live = len(requests) if isinstance(requests, Sized) else None, sys.stderr.isatty()
        done = self.statistics
        with tqdm(
            desc=label, total=total, disable=not self.progress, mininterval=0.5 if live else 15, dynamic_ncols=live
        ) as bar:
            for outcome in map(self._recorded, requests) if self.offline else _iterate(self._asked(requests)):
                done.count(outcome)
                cost = f"${done.cost:.2f}" if self.price else f"{done.usage.total} tokens"
                bar.set_postfix_str(f"{cost}, {done.invalid.total()} invalid", refresh=False)
                bar.update()
                yield outcome

    async def _asked(self, requests: Iterable[Request]) -> AsyncGenerator[Outcome, None]:
        # The openai package takes a second to import: only those who ask wait for it.
        from guardalign.llm.batch import batched
        from guardalign.llm.direct import direct
        from guardalign.llm.transport import Transport

        ask = batched if self.endpoint.mode == "batch" else direct
        async with (
            Transport(self.endpoint, self.ledger, self.price) as transport,
            aclosing(ask(transport, self.store, requests)) as outcomes,
        ):
            async for outcome in outcomes:
                yield outcome

    def _recorded(self, request: Request) -> Outcome:
        key = request.key(self.endpoint)
        replies = self.store.replies(key)
        if replies:
            return first_valid(request, replies) or examine(request, replies[-1], stored=True)
        why = "the file is damaged" if self.store.path(key).exists() else "the store has no reply to this question"
        return Outcome(request, invalid=f"not recorded: {why}")


def _iterate(source: AsyncGenerator[Outcome, None]) -> Iterator[Outcome]:
    """The outcomes of ``source`` as they come, from an event loop in a thread: a notebook runs one in its own already.

    Leaving early, also by Ctrl-C, cancels what is still running.
    """
    with start_blocking_portal() as portal:
        while (item := portal.call(anext, source, None)) is not None:
            yield item
