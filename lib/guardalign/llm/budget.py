"""What replies cost, what a store's calls have cost in all, and the budget that is never exceeded."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import json
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guardalign.config.reading import read_mapping
from guardalign.errors import GuardalignError, ParameterError
from guardalign.files import first_error, resolved, space_for
from guardalign.llm.endpoint import Endpoint
from guardalign.llm.request import Usage


class BudgetReached(GuardalignError):
    """The next call could exceed the budget. Every reply is stored; with a larger budget the run resumes."""


Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Price(NamedTuple):
    """Dollars per million tokens."""

    prompt: Dollars
    cached: Dollars
    completion: Dollars

    def of(self, usage: Usage) -> float:
        fresh = max(0, usage.prompt - usage.cached)
        return (fresh * self.prompt + usage.cached * self.cached + usage.completion * self.completion) / 1e6


class PriceTable(BaseModel):
    """The price file: prices by the beginning of a model's name, and the Batch API's share of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, Price]
    batch: Dollars = 0.5


def price_of(endpoint: Endpoint) -> Price | None:
    """What ``endpoint`` charges in its mode, by its price file or the package's own; None if that is not known.

    Raises ParameterError if the file is not a price table.
    """
    source = resolved(endpoint.prices) if endpoint.prices else Path(__file__).with_name("prices.yaml")
    try:
        table = PriceTable.model_validate(read_mapping(source))
    except ValidationError as error:
        raise ParameterError(f"The price file {source} is not a price table: {first_error(error)}") from None
    names = [name for name in table.models if endpoint.model.startswith(name)]
    if names:
        factor = table.batch if endpoint.mode == "batch" else 1.0
        return Price(*(each * factor for each in table.models[max(names, key=len)]))
    return Price(0.0, 0.0, 0.0) if endpoint.local else None


@dataclass(frozen=True)
class Spent:
    """Tokens and dollars. Raises ValueError if one is negative or not finite."""

    tokens: int = 0
    cost: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.tokens < math.inf and 0 <= self.cost < math.inf):
            raise ValueError(f"{self.tokens} tokens for ${self.cost}: expected finite numbers from 0")

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.cost + other.cost)


class Ledger:
    """An append-only file of what was asked and what it cost: ``endpoint``'s budget holds across runs and crashes, and
    for all who share the file at the same time.

    One line when a call leaves (with the most it can cost), one when its price is known. A call whose end is not known
    (time-out, broken line, killed run) may have been billed: it stays in the ledger at its worst case.
    """

    def __init__(self, path: Path, endpoint: Endpoint) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.max_cost, self.max_tokens = endpoint.max_cost, endpoint.max_total_tokens
        self.known = Spent()
        self.open: dict[str, Spent] = {}
        """Calls without a known end, at the most they can cost."""
        self._waiting: set[str] = set()
        self._run = os.urandom(6).hex()
        self._numbers = itertools.count()
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._bytes_read = 0
        self._read()

    def _read(self) -> None:
        """Enter what others have written since: earlier runs, a panel's other judge, a notebook running meanwhile."""
        lines = os.pread(self._file, os.fstat(self._file).st_size - self._bytes_read, self._bytes_read)
        self._bytes_read += len(lines)
        for line in lines.splitlines():
            # A killed run leaves half a line: its call had not left yet, or counts at its worst case.
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if not entry["call"].startswith(self._run):
                    self._apply(entry["is"], entry["call"], Spent(entry["tokens"], entry["cost"]))

    def _fits(self, total: Spent) -> bool:
        return (self.max_cost is None or total.cost <= self.max_cost) and (
            self.max_tokens is None or total.tokens <= self.max_tokens
        )

    async def reserve(self, most: Spent) -> str:
        """Enter a call that may cost ``most``; waits for calls in flight if it does not fit next to them.

        Raises BudgetReached if it does not fit when all others have ended, GuardalignError if the disk is full.
        """
        while (call := self._entered(most)) is None:
            if not self._waiting:
                raise BudgetReached(self._reached())
            await asyncio.sleep(0.02)
        self._waiting.add(call)
        return call

    def _entered(self, most: Spent) -> str | None:
        """A new call that may cost ``most``, entered; None if it does not fit."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._read()
            if not self._fits(self.most + most):
                return None
            call = f"{self._run}.{next(self._numbers)}"
            with space_for(self.path):
                self._write("asked", call, most)
            return call
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def settle(self, call: str, spent: Spent | None) -> None:
        """End a call that this or an earlier run entered: it cost ``spent``; None if that is not known."""
        self._waiting.discard(call)
        if spent is not None:
            with suppress(OSError):  # the disk is full: after a restart the call counts at its worst case
                self._write("paid" if spent.tokens or spent.cost else "free", call, spent)

    def _write(self, state: str, call: str, spent: Spent) -> None:
        entry = {"is": state, "call": call, "tokens": spent.tokens, "cost": round(spent.cost, 9)}
        self._apply(state, call, spent)
        line = b"\n" + json.dumps(entry).encode()  # a new line before: what was cut off spoils nothing after it
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _apply(self, state: str, call: str, spent: Spent) -> None:
        if state == "asked":
            self.open[call] = spent
        elif self.open.pop(call, None) is not None and state == "paid":  # settled twice, it counts once
            self.known += spent

    @property
    def most(self) -> Spent:
        """What all calls may have cost at most."""
        return sum(self.open.values(), self.known)

    def _reached(self) -> str:
        unknown = self.most.cost - self.known.cost
        more = f", and {len(self.open)} calls with unknown outcome may have cost ${unknown:.4f} more"
        return (
            f"The next call could exceed the budget (max_cost: {self.max_cost}, max_total_tokens: {self.max_tokens}): "
            f"${self.known.cost:.4f} and {self.known.tokens} tokens are spent{more if self.open else ''}. Every reply "
            f"is stored; to continue, raise `max_cost` or `max_total_tokens`."
        )
