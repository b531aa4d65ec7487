"""What replies cost, what has been spent, and the limit that is never passed."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from guardalign.config.reading import read_mapping
from guardalign.errors import GuardalignError, ParameterError
from guardalign.files import first_error, space_for
from guardalign.llm.endpoint import Endpoint
from guardalign.llm.request import Usage

MILLION = 1_000_000


class BudgetReached(GuardalignError):
    """The next call could pass the budget. Every reply is stored; with a larger budget the run resumes."""


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    prompt: float
    cached: float
    completion: float

    def of(self, usage: Usage) -> float:
        fresh = max(0, usage.prompt - usage.cached)
        return (fresh * self.prompt + usage.cached * self.cached + usage.completion * self.completion) / MILLION

    def times(self, factor: float) -> Price:
        return Price(self.prompt * factor, self.cached * factor, self.completion * factor)


class PriceTable(BaseModel):
    """The price file: dollars per million tokens by the beginning of a model's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, tuple[float, float, float]]
    batch: float = 0.5

    @classmethod
    def load(cls, path: str | Path | None = None) -> PriceTable:
        """Read ``path``, or the package's own table. Raises ParameterError if it is not a price table."""
        source = Path(path) if path else resources.files("guardalign.llm") / "prices.yaml"
        try:
            return cls.model_validate(read_mapping(str(source)))
        except ValidationError as error:
            raise ParameterError(f"The price file {source} is not a price table: {first_error(error)}") from None

    def price(self, endpoint: Endpoint) -> Price | None:
        """What ``endpoint`` charges in its mode; None if that is not known."""
        names = [name for name in self.models if endpoint.model.startswith(name)]
        if names:
            listed = Price(*self.models[max(names, key=len)])
            return listed.times(self.batch) if endpoint.mode == "batch" else listed
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


@dataclass(frozen=True)
class Budget:
    """The most that the calls of one store may cost in all; None is no limit."""

    cost: float | None = None
    tokens: int | None = None

    def allows(self, spent: Spent) -> bool:
        return (self.cost is None or spent.cost <= self.cost) and (self.tokens is None or spent.tokens <= self.tokens)

    def __str__(self) -> str:
        parts = [f"${self.cost:g}"] if self.cost is not None else []
        return " and ".join(parts + ([f"{self.tokens} tokens"] if self.tokens is not None else [])) or "no limit"


class Ledger:
    """An append-only file of what was asked and what it cost, so that ``budget`` holds across runs and crashes.

    One line when a call leaves (with the most it can cost), one when its price is known. A call whose end is not known
    (time-out, broken line, killed run) may have been billed: it stays in the ledger at its worst case.
    """

    def __init__(self, path: Path, budget: Budget) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.budget = budget
        self.known = Spent()
        self._open: dict[str, Spent] = {}
        self._waiting: set[str] = set()
        self._run = os.urandom(6).hex()
        self._numbers = itertools.count()
        for line in path.read_bytes().splitlines() if path.exists() else ():
            # A killed run leaves half a line: its call had not left yet, or counts at its worst case.
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                self._apply(entry["is"], entry["call"], Spent(entry["tokens"], entry["cost"]))
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def reserve(self, most: Spent) -> str:
        """Enter a call that may cost ``most``; waits for calls in flight if it does not fit next to them.

        Raises BudgetReached if it does not fit when all others have ended, GuardalignError if the disk is full.
        """
        while not self.budget.allows(self.most + most):
            if not self._waiting:
                raise BudgetReached(self._reached())
            await asyncio.sleep(0.02)
        call = f"{self._run}.{next(self._numbers)}"
        with space_for(self.path):
            self._write("asked", call, most)
        self._waiting.add(call)
        return call

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
            self._open[call] = spent
            return
        self._open.pop(call, None)
        if state == "paid":
            self.known += spent

    @property
    def open_calls(self) -> int:
        """How many calls have no known end."""
        return len(self._open)

    @property
    def most(self) -> Spent:
        """What all calls may have cost at most."""
        return sum(self._open.values(), self.known)

    def _reached(self) -> str:
        lost = self.open_calls
        more = f", and {lost} calls with unknown outcome may have cost ${self.most.cost - self.known.cost:.4f} more"
        return (
            f"The next call could pass the budget of {self.budget}: ${self.known.cost:.4f} and {self.known.tokens} "
            f"tokens are spent{more if lost else ''}. Every reply is stored; to continue, raise `max_cost` or "
            f"`max_total_tokens`."
        )
