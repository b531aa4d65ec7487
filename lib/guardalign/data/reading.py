"""Reads your own data: a JSONL file of conversations and ready pairs, in the forms that docs/data.md shows.

Rows are read independently. An unusable row is refused with its line and the reason; corrections (messages joined,
tool calls left out, keys not used) are counted.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from guardalign.data.conversations import Conversation, PreferencePair, Row, Turn
from guardalign.data.messages import Refusal, is_writable, messages_of, role_of, rules_of, text_of
from guardalign.errors import InputError
from guardalign.files import fingerprint

SIDES = ("chosen", "rejected")
HISTORIES = ("turns", "messages", "prompt")
CONVERSATION_KEYS = {"id", "turns", "messages", "guardrails", "banlist", "domain"}
PAIR_KEYS = CONVERSATION_KEYS | {"prompt", "conversation_id", "chosen", "rejected", "broken"}


class Refused(Row):
    """A row that was not used: its position (the line, in a file), the reason, and the row itself."""

    line: int | None = None
    id: str
    reason: str
    row: str


RowReader = Callable[[dict[str, Any], Collection[str], Counter[str]], Conversation | PreferencePair]


@dataclass(frozen=True)
class Reading:
    """A file's ready pairs (of ``prompts``: without replies), conversations and refused rows, and counts of
    corrections."""

    pairs: list[PreferencePair] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def read(path: Path, ignore_roles: Sequence[str] = ()) -> Reading:
    """Read a JSONL file; messages of ``ignore_roles`` are left out and counted.

    A row with ``chosen`` is a pair, any other a conversation. A pair without ``conversation_id`` belongs to the
    conversation that its id names before a final ``.number``, else to that of its id. An id that an earlier row has is
    numbered. Raises InputError if the file cannot be opened or holds nothing usable.
    """
    return _read(path, ignore_roles, _training_row)


def prompts(path: Path, ignore_roles: Sequence[str] = ()) -> Reading:
    """As ``read``, but each row is a prompt to answer: its turns up to the last message of the user, without replies
    and in the split ``transfer``. Rows of one id are of one conversation."""
    return _read(path, ignore_roles, _prompt)


def _read(path: Path, ignore_roles: Sequence[str], read_row: RowReader) -> Reading:
    found, ignored = Reading(), {role.strip().lower() for role in ignore_roles}
    line_of: dict[Conversation | PreferencePair, int] = {}
    ids, uses = set[str](), Counter[str]()
    for number, line in _lines(path):
        row: dict[str, Any] = {}
        notes: Counter[str] = Counter()
        try:
            row = _object(line)
            item = read_row(row, ignored, notes)
            if item in line_of:
                raise Refusal(f"the row repeats line {line_of[item]}")
        except Refusal as refusal:
            name, reason = (str(each).encode("utf-8", "replace").decode() for each in (row.get("id", ""), refusal))
            found.refused.append(Refused(line=number, id=name, reason=reason, row=line.decode("utf-8", "replace")))
            continue
        line_of[item] = number
        name = item.id
        while name in ids:
            uses[item.id] += 1
            name = f"{item.id}#{uses[item.id] + 1}"
        if name != item.id:
            notes["id of an earlier row, numbered"] += 1
            item = item.model_copy(update={"id": name})
        ids.add(name)
        (found.pairs if isinstance(item, PreferencePair) else found.conversations).append(item)  # type: ignore[arg-type]
        found.notes.update(notes)
    if not ids:
        first = f": line {found.refused[0].line}: {found.refused[0].reason}" if found.refused else ""
        raise InputError(f"{path} holds no usable row; {len(found.refused)} refused{first}")
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number and content of every line that is not blank."""
    try:
        with Path(path).open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if content := line.removeprefix(b"\xef\xbb\xbf").strip():
                    yield number, content
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"), object_pairs_hook=_once)
    except Refusal:
        raise
    except UnicodeDecodeError as error:
        raise Refusal(f"not UTF-8 text (byte {error.start + 1})") from None
    except (ValueError, RecursionError) as error:
        raise Refusal(f"not valid JSON: {error}") from None
    if not isinstance(row, dict):
        raise Refusal("not a JSON object: one conversation or pair per line is expected")
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise Refusal(f"the key `{Counter(key for key, _ in pairs).most_common(1)[0][0]}` is given twice")
    return row


def _training_row(row: dict[str, Any], ignored: Collection[str], notes: Counter[str]) -> Conversation | PreferencePair:
    return (_pair if any(key in row for key in SIDES) else _conversation)(row, ignored, notes)


def _conversation(row: dict[str, Any], ignored: Collection[str], notes: Counter[str]) -> Conversation:
    system, turns = messages_of(_history(row), ignored, notes)
    if not any(turn.role == "agent" for turn in turns):
        raise Refusal("no agent turn: a prompt without a reply can be answered (source.prompts), not learnt from")
    return Conversation(turns=turns, **_shared(row, CONVERSATION_KEYS, system, turns, notes))


def _pair(row: dict[str, Any], ignored: Collection[str], notes: Counter[str]) -> PreferencePair:
    sides: list[Any]
    history, sides = _history(row), [row.get(key) for key in SIDES]
    if all(isinstance(side, list) and side and role_of(side[0]) != "agent" for side in sides):  # whole conversations
        begin = len([*takewhile(lambda two: two[0] == two[1], zip(*sides, strict=False))])
        history, sides = sides[0][:begin], [side[begin:] for side in sides]
    system, turns = messages_of(history, ignored, notes)
    if not turns or turns[-1].role != "user":
        raise Refusal("the history does not end in a user's message")
    chosen, rejected = (_reply(side, key, ignored, notes) for side, key in zip(sides, SIDES, strict=True))
    if chosen == rejected:
        raise Refusal("chosen and rejected are the same reply")
    shared = _shared(row, PAIR_KEYS, system, turns, notes, chosen, rejected)
    return PreferencePair(
        turns=turns,
        chosen=chosen,
        rejected=rejected,
        conversation_id=_conversation_id(row, shared["id"]),
        broken=_broken(row.get("broken"), len(shared["guardrails"])),
        **shared,
    )


def _prompt(row: dict[str, Any], ignored: Collection[str], notes: Counter[str]) -> PreferencePair:
    system, turns = messages_of(_history(row), ignored, notes)
    last = max((at for at, turn in enumerate(turns, start=1) if turn.role == "user"), default=0)
    if not last:
        raise Refusal("no message of the user")
    shared = _shared(row, PAIR_KEYS, system, turns, notes)
    home = _conversation_id(row, shared["id"])
    return PreferencePair(turns=turns[:last], chosen="", rejected="", conversation_id=home, split="transfer", **shared)


def _shared(
    row: dict[str, Any], known: set[str], system: list[str], turns: Sequence[Turn], notes: Counter[str], *replies: str
) -> dict[str, Any]:
    """The fields that every row has; a row without id is named after its content, so it keeps its name when moved."""
    guardrails = _guardrails(row, system, notes)
    notes.update(f"key `{key}` not used" for key in row.keys() - known if is_writable(key))
    name, domain = _name(row, "id"), row.get("domain")
    if not name:
        notes["row without id, named after its content"] += 1
        name = fingerprint([turn.model_dump() for turn in turns], guardrails, *replies)
    domain = domain.strip() if isinstance(domain, str) and is_writable(domain) else ""
    return {"id": name, "guardrails": guardrails, "domain": domain}


def _history(row: dict[str, Any]) -> Any:
    history: Any = next((row[key] for key in HISTORIES if row.get(key) is not None), [])
    return [{"role": "user", "content": history}] if isinstance(history, str) else history


def _reply(value: Any, key: str, ignored: Collection[str], notes: Counter[str]) -> str:
    if not isinstance(value, list):
        return text_of(value, f"`{key}`")
    system, turns = messages_of(value, ignored, notes)
    if system or [turn.role for turn in turns] != ["agent"]:
        raise Refusal(f"`{key}` is more than the agent's next message")
    return turns[0].text


def _guardrails(row: dict[str, Any], system: list[str], notes: Counter[str]) -> tuple[str, ...]:
    """The row's ``guardrails``, or the rules of its system messages if it has none; then its ``banlist``."""
    value = row.get("guardrails")
    if isinstance(value, dict) and set(value) == {"guardrails"}:
        value = value["guardrails"]
    if isinstance(value, dict):
        numbered = all(key.strip().isdecimal() and len(key) < 10 for key in value)
        value = [value[key] for key in (sorted(value, key=int) if numbered else value)]
    if value is None:
        value = [rule for text in system for rule in rules_of(text)]
    elif system:
        notes["system message left out, the row has guardrails"] += 1
    if not isinstance(value, list):
        raise Refusal("`guardrails` is neither a list nor a dict")
    if banned := row.get("banlist"):
        if not isinstance(banned, list) or not all(isinstance(word, str) for word in banned):
            raise Refusal("`banlist` is not a list of words")
        value = [*value, f"Never use any of these words: {', '.join(banned)}."]
    return tuple(text_of(text, f"guardrail {number}") for number, text in enumerate(value, start=1))


def _broken(value: Any, count: int) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(type(n) is int and 1 <= n <= count for n in value):
        raise Refusal(f"`broken` is not a list of guardrail numbers from 1 to {count}")
    return tuple(value)


def _conversation_id(row: dict[str, Any], identity: str) -> str:
    stem, dot, number = identity.rpartition(".")
    return _name(row, "conversation_id") or (stem if dot and stem and number.isdecimal() else identity)


def _name(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    known = type(value) in (str, int) or (type(value) is float and math.isfinite(value))
    if not known or not is_writable(str(value)) or "\0" in str(value):
        raise Refusal(f"`{key}` is neither text nor a number")
    return str(value).strip()
