"""The kinds of guardrail: when they are due, the check that reads a reply for them, and how to recognise their text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml

from guardalign.judging.rules import conduct, copying
from guardalign.judging.rules.case import Check
from guardalign.judging.rules.text import plain


@dataclass(frozen=True)
class Kind:
    """A kind of guardrail; the fields are explained in ``kinds.yaml``."""

    key: str
    form: Literal["every", "only", "when", "never", "setting"]
    check: Check
    wordings: tuple[str, ...]
    undue: Check | None = None
    cue: str | None = None
    demands: str = ""
    held_out: bool = False


@dataclass(frozen=True)
class Rule:
    """A guardrail that was recognised: its kind, which of the wordings it has, and the values in it."""

    kind: Kind
    wording: int
    values: dict[str, str]


def _kinds() -> dict[str, Kind]:
    checks: dict[str, Check] = {**vars(conduct), **conduct.WORDED, **vars(copying), **copying.WORDED}
    table = yaml.safe_load(Path(__file__).with_name("kinds.yaml").read_text(encoding="utf-8"))
    for fields in table.values():
        fields |= {role: checks[fields[role]] for role in ("check", "undue") if role in fields}
    return {key: Kind(key, **fields | {"wordings": tuple(fields["wordings"])}) for key, fields in table.items()}


BY_KEY = _kinds()
KINDS = tuple(BY_KEY.values())

_NAME = r"[A-Z](?:[\w'.-]*\w)?"
_NAMES = rf"{_NAME}(?: (?:&|and|of|{_NAME}))*"
_SLOTS: dict[str, str] = {
    "name": _NAME,
    "formal": rf"(?:Ms|Mr|Mrs|Dr|Miss|Prof)\.? {_NAME}(?: {_NAME})?",
    "company": _NAMES,
    "rival": _NAMES,
    "agent": _NAME,
    "customer": _NAMES,
    "case": r"[A-Z]{1,4}-\d{2,6}",
    "link": r"[\w.-]+\.\w+(?:/[\w./-]*\w)?",
    "price": r"[€$£]?\d+(?:[.,]\d+)?(?: \w+)?",
    "word": r"[\w-]+",
    "words": ".+?",
}


def _pattern(wording: str) -> re.Pattern[str]:
    """A pattern for the wording's sentences, whatever the spaces and the punctuation at the end."""
    body, seen = "", set()
    for index, part in enumerate(re.split(r"\{(\w+)\}", wording.rstrip("."))):
        if index % 2 == 0:
            body += r"\s+".join(map(re.escape, part.split(" ")))
        elif part in seen:
            body += f"(?P={part})"
        else:
            seen.add(part)
            body += f"(?P<{part}>{_SLOTS.get(part, '[^.;]+?')})"
    return re.compile(body + r"[\s.!;]*")


# wordings without slots first: they match unambiguously
_PATTERNS = sorted(
    ((_pattern(wording), kind, number) for kind in KINDS for number, wording in enumerate(kind.wordings)),
    key=lambda entry: entry[0].groups > 0,
)


@lru_cache(maxsize=4096)
def read_guardrail(text: str) -> Rule | None:
    """The rule that ``text`` states in one of the known wordings, or None."""
    sentence = plain(text)
    for pattern, kind, wording in _PATTERNS:
        if match := pattern.fullmatch(sentence):
            return Rule(kind, wording, match.groupdict())
    return None
