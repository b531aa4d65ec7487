"""What replies cost, what has been spent, and the limit that is never passed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from guardalign.errors import GuardalignError, ParameterError
from guardalign.files import first_error
from guardalign.llm.endpoint import Endpoint
from guardalign.llm.request import Usage

MILLION = 1_000_000


class BudgetReached(GuardalignError):
    """The next call could pass the budget. Everything paid for is stored; a larger budget goes on from here."""


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    prompt: float
    cached: float
    completion: float

    def of(self, usage: Usage) -> float:
        fresh = usage.prompt - usage.cached
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
        """Read ``path``, or the package's own table. Raises ParameterError where it is no price table."""
        source = Path(path) if path else resources.files("guardalign.llm") / "prices.yaml"
        try:
            return cls.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError) as error:
            raise ParameterError(f"The price file {source} cannot be read: {error}") from None
        except ValidationError as error:
            raise ParameterError(f"The price file {source} is no price table: {first_error(error)}") from None

    def price(self, endpoint: Endpoint) -> Price | None:
        """What ``endpoint`` charges in its mode; None where nobody knows."""
        names = [name for name in self.models if endpoint.model.startswith(name)]
        if names:
            listed = Price(*self.models[max(names, key=len)])
            return listed.times(self.batch) if endpoint.mode == "batch" else listed
        return Price(0.0, 0.0, 0.0) if endpoint.local else None


@dataclass(frozen=True)
class Spent:
    """Tokens and dollars."""

    tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.cost + other.cost)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.tokens - other.tokens, self.cost - other.cost)


class Ledger:
    """An append-only file of what was asked and what it cost, so that a budget holds across runs and crashes.

    One line when a call leaves (with the most it can cost), one when its price is known. A call whose end is not known
    (time-out, broken line, killed run) may have been billed: it stays in the books at its worst case.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known = Spent()
        self.uncertain = Spent()
        self._open: dict[str, Spent] = {}
        torn = self._replay(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if torn:
            os.write(self._file, b"\n")

    def _replay(self, path: Path) -> bool:
        if not path.exists():
            return False
        line = "\n"
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    self._apply(json.loads(line))
                except (json.JSONDecodeError, KeyError, TypeError):
                    continue  # the half line of a killed run
        return not line.endswith("\n")

    def _apply(self, entry: dict[str, Any]) -> None:
        spent = Spent(entry["tokens"], entry["cost"])
        if entry["is"] == "asked":
            self._open[entry["call"]] = spent
            self.uncertain += spent
            return
        ended = self._open.pop(entry["call"], Spent())
        self.uncertain = self.uncertain - ended if self._open else Spent()
        if entry["is"] == "paid":
            self.known += spent

    def write(self, state: Literal["asked", "paid", "free"], call: str, spent: Spent) -> None:
        """Note that ``call`` was asked (``spent``: at most), paid (exactly that) or free (the server refused it)."""
        entry = {"is": state, "call": call, "tokens": spent.tokens, "cost": round(spent.cost, 9)}
        self._apply(entry)
        os.write(self._file, (json.dumps(entry) + "\n").encode())

    @property
    def open_calls(self) -> int:
        """How many calls have no known end."""
        return len(self._open)

    @property
    def most(self) -> Spent:
        """What all calls may have cost at most."""
        return self.known + self.uncertain

    def close(self) -> None:
        os.close(self._file)


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
