"""The lines of business of the embedded world, the pools they share, and their phrases: data from YAML files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter


@dataclass(frozen=True)
class Domain:
    """A line of business. An issue is a pair (the customer's words: "my ...", the agent's words: "the ...")."""

    name: str
    companies: tuple[str, ...]
    reference: str
    issues: tuple[tuple[str, str], ...]
    tasks: tuple[str, ...]
    processes: tuple[str, ...]
    services: tuple[str, ...]


def table(name: str) -> dict[str, Any]:
    """The content of ``name``.yaml next to this module."""
    return yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))


_DATA = table("domains")
DOMAINS = TypeAdapter(dict[str, Domain]).validate_python(
    {name: {"name": name, **fields} for name, fields in _DATA["domains"].items()}
)
POOLS: dict[str, list[str]] = _DATA["pools"]
COMPANIES = tuple(company for domain in DOMAINS.values() for company in domain.companies)
ISSUES = {customer_words: agent_words for domain in DOMAINS.values() for customer_words, agent_words in domain.issues}
"""The agent's words for a customer's."""
PHRASES, READING = table("phrases"), table("reading")
