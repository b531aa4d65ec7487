"""From the text of a reply to the record it should be: one JSON object or nothing.

A parser that takes the first thing looking like an answer rewards replies that smuggle one in, and echoes of the
prompt. Here prose around the object is tolerated, a second and different object is not.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from guardalign.files import first_error

LONGEST = 1_000_000
MOST_STARTS = 1_000
THINKING = re.compile("</?think>")


class Answer(BaseModel):
    """A part of a model's answer. No defaults and no other keys: strict structured outputs require every field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Unreadable(ValueError):
    """The text does not hold what was asked for; the message begins with the kind of failure."""


def parse(text: str, reply: type[BaseModel]) -> BaseModel:
    """The record in ``text``. Raises Unreadable ("not JSON: …", "cut off: …", "several answers: …", …)."""
    data = the_object(text)
    try:
        proper = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
        return reply.model_validate_json(proper, strict=True)
    except ValidationError as error:
        raise Unreadable(f"wrong schema: {first_error(error)}") from None


def the_object(text: str) -> dict[str, Any]:
    """The one JSON object in ``text``; the same object delivered twice counts once. Raises Unreadable."""
    if len(text) > LONGEST:
        raise Unreadable(f"not JSON: {len(text)} characters")
    distinct = {json.dumps(each, sort_keys=True): each for each in objects(without_thoughts(text))}
    if not distinct:
        raise Unreadable("not JSON: no object in the reply")
    if len(distinct) > 1:
        raise Unreadable(f"several answers: {len(distinct)} different objects in the reply")
    return next(iter(distinct.values()))


def objects(text: str) -> list[dict[str, Any]]:
    """All outermost JSON objects in ``text``, in order. Raises Unreadable for duplicate keys and NaN."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    found: list[dict[str, Any]] = []
    start = text.find("{")
    for _ in range(MOST_STARTS):
        if start < 0:
            return found
        try:
            value, end = decoder.raw_decode(text, start)
            found.append(value)
        except json.JSONDecodeError:
            end = start + 1
        except RecursionError:
            raise Unreadable("not JSON: nested too deeply") from None
        start = text.find("{", end)
    raise Unreadable("not JSON: too many opening braces")


def without_thoughts(text: str) -> str:
    """``text`` without the thoughts before it. Raises Unreadable if they do not end: what they hold is a draft."""
    depth = end = 0
    for tag in THINKING.finditer(text):
        if depth == 0 and (tag[0] != "<think>" or text[end : tag.start()].strip()):
            break
        depth += 1 if tag[0] == "<think>" else -1
        end = tag.end()
    if depth:
        raise Unreadable("cut off: the reply ends within its reasoning")
    return text[end:]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise Unreadable("several answers: a key is given twice in one object")
    return record


def _no_constant(name: str) -> Any:
    raise Unreadable(f"not JSON: {name}")
