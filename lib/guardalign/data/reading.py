"""One's own data in: JSONL conversations or ready pairs, checked row by row.

A file that is damaged (no UTF-8, no JSON) is an error that names the line. A row that cannot be used is refused with
the reason and kept in the list of refused rows; what was put right on the way (turns joined, keys not used) is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from guardalign.data.conversations import Conversation, PreferencePair, Role, Row, Turn
from guardalign.errors import InputError
from guardalign.files import fingerprint

ROLES: dict[str, Role] = {
    "user": "user",
    "customer": "user",
    "human": "user",
    "client": "user",
    "agent": "agent",
    "assistant": "agent",
    "bot": "agent",
}
CONVERSATION_KEYS = {"id", "turns", "messages", "guardrails", "domain"}
PAIR_KEYS = CONVERSATION_KEYS | {"conversation_id", "chosen", "rejected", "broken"}
Item = TypeVar("Item", Conversation, PreferencePair)


class Refused(Row):
    """A row that was not used: where it stands (its line, if it is a file's), why, and the row itself."""

    line: int | None = None
    id: str
    reason: str
    row: str


@dataclass(frozen=True)
class Reading(Generic[Item]):
    """What a file gave: usable rows, refused ones, and how often something was put right or left out."""

    rows: list[Item]
    refused: list[Refused] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


class _Refusal(ValueError):
    """Why a row cannot be used."""


def holds_pairs(path: Path) -> bool:
    """Whether the file's first row is a preference pair (it has ``chosen``) and no conversation."""
    for _, _, row in _objects(path):
        return "chosen" in row
    raise InputError(f"{path} holds no rows")


def read_conversations(path: Path, ignore_roles: Sequence[str] = ()) -> Reading[Conversation]:
    """Read conversations: ``{"id", "turns": [{"role", "text"}], "guardrails": [...] or {"1": ...}}`` a line.

    Turns of ``ignore_roles`` are left out and counted. Raises InputError where the file is damaged or holds nothing
    usable.
    """
    return _read(path, _conversation, CONVERSATION_KEYS, ignore_roles)


def read_pairs(path: Path, ignore_roles: Sequence[str] = ()) -> Reading[PreferencePair]:
    """Read ready pairs: a conversation's keys, its history in ``turns``, and ``chosen`` and ``rejected`` replies.

    A pair without ``conversation_id`` belongs to the conversation its id names before a final ``.number``, else
    stands alone. Raises InputError where the file is damaged or holds nothing usable.
    """
    return _read(path, _pair, PAIR_KEYS, ignore_roles)


def _read(path: Path, build: Any, known: set[str], ignore_roles: Sequence[str]) -> Reading[Any]:
    rows: list[Any] = []
    refused: list[Refused] = []
    notes: Counter[str] = Counter()
    ignored = {role.strip().lower() for role in ignore_roles}
    line_of: dict[str, int] = {}
    for number, line, row in _objects(path):
        counts: Counter[str] = Counter(f"key `{key}` not used" for key in row.keys() - known)
        try:
            item = build(row, ignored, counts)
            if item.id in line_of:
                raise _Refusal(f"the id is already that of line {line_of[item.id]}")
        except _Refusal as refusal:
            refused.append(Refused(line=number, id=str(row.get("id", "")), reason=str(refusal), row=_clean(line)))
            continue
        line_of[item.id] = number
        rows.append(item)
        notes += counts
    if not rows:
        first = f": line {refused[0].line}: {refused[0].reason}" if refused else ""
        raise InputError(f"{path} holds no usable row; {len(refused)} refused{first}")
    return Reading(rows, refused, notes)


def _objects(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Line number, line and object of every row; BOM, CRLF and blank lines are no matter."""
    with _opened(path) as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                row = json.loads(line) if line else None
            except UnicodeDecodeError as error:
                raise InputError(f"{path}, line {number} is no UTF-8 text (byte {error.start + 1})") from None
            except (json.JSONDecodeError, RecursionError) as error:
                raise InputError(f"{path}, line {number} is no JSON: {error}") from None
            if line and not isinstance(row, dict):
                raise InputError(f"{path}, line {number} is no JSON object: one conversation or pair a line is wanted")
            if row is not None:
                yield number, line, row


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with Path(path).open("rb") as stream:
            yield stream
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _conversation(row: dict[str, Any], ignored: set[str], notes: Counter[str]) -> Conversation:
    if "chosen" in row:
        raise _Refusal("a preference pair among conversations")
    turns = _turns(row, ignored, notes)
    if not any(turn.role == "agent" for turn in turns):
        raise _Refusal("no agent turn")
    guardrails = _guardrails(row.get("guardrails"))
    return Conversation(id=_id(row, notes, turns, guardrails), turns=turns, guardrails=guardrails, domain=_domain(row))


def _pair(row: dict[str, Any], ignored: set[str], notes: Counter[str]) -> PreferencePair:
    turns = _turns(row, ignored, notes)
    if turns[-1].role != "user":
        raise _Refusal("the history does not end in a user's message")
    chosen, rejected = (_text(row.get(key), f"`{key}`") for key in ("chosen", "rejected"))
    if chosen == rejected:
        raise _Refusal("chosen and rejected are the same reply")
    guardrails = _guardrails(row.get("guardrails"))
    identity = _id(row, notes, turns, guardrails, chosen, rejected)
    return PreferencePair(
        id=identity,
        conversation_id=_conversation_id(row, identity),
        turns=turns,
        chosen=chosen,
        rejected=rejected,
        guardrails=guardrails,
        broken=_broken(row.get("broken"), len(guardrails)),
        domain=_domain(row),
    )


def _turns(row: dict[str, Any], ignored: set[str], notes: Counter[str]) -> tuple[Turn, ...]:
    given = row.get("turns", row.get("messages"))
    if not isinstance(given, list) or not given:
        raise _Refusal("`turns` is no list of messages")
    turns: list[Turn] = []
    for number, entry in enumerate(given, start=1):
        if not isinstance(entry, dict):
            raise _Refusal(f"turn {number} is no object with role and text")
        name = str(entry.get("role", "")).strip().lower()
        if name in ignored:
            notes[f"turn of role `{name}` left out"] += 1
            continue
        if name not in ROLES:
            raise _Refusal(f"turn {number} has the unknown role {entry.get('role')!r} (known: {', '.join(ROLES)})")
        turn = Turn(
            role=ROLES[name],
            text=_text(entry.get("text", entry.get("content")), f"turn {number}"),
            tagged=entry.get("tagged") is True,
        )
        if turns and turns[-1].role == turn.role:
            notes["turn joined to the one before (same role)"] += 1
            before = turns.pop()
            turn = Turn(role=turn.role, text=f"{before.text}\n{turn.text}", tagged=before.tagged or turn.tagged)
        turns.append(turn)
    if not turns:
        raise _Refusal("no turn is left once the ignored roles are left out")
    return tuple(turns)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _Refusal(f"{what} has no text")
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise _Refusal(f"{what} is empty")
    if not _is_writable(text):
        raise _Refusal(f"{what} holds half a character (a lone surrogate), which no UTF-8 file can hold")
    return text


def _is_writable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _clean(line: str) -> str:
    """A line as it can be written, lone surrogates shown as replacement characters."""
    return line.encode("utf-8", "replace").decode("utf-8")


def _guardrails(value: Any) -> tuple[str, ...]:
    """Guardrails as a list, or as a dict numbered from 1, possibly wrapped as ``{"guardrails": {...}}``."""
    if isinstance(value, dict) and set(value) == {"guardrails"}:
        value = value["guardrails"]
    if value is None:
        return ()
    if isinstance(value, dict):
        numbered = all(str(key).strip().isdecimal() for key in value)
        value = [value[key] for key in (sorted(value, key=int) if numbered else value)]
    if not isinstance(value, list):
        raise _Refusal("`guardrails` is neither a list nor a dict")
    return tuple(_text(text, f"guardrail {number}") for number, text in enumerate(value, start=1))


def _broken(value: Any, count: int) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(n, int) and 1 <= n <= count for n in value):
        raise _Refusal(f"`broken` is no list of guardrail numbers from 1 to {count}")
    return tuple(value)


def _id(row: dict[str, Any], notes: Counter[str], *content: Any) -> str:
    """The row's id as text; a row without one is named after its content, so it keeps its name when rows move."""
    given = row.get("id")
    if given is None or not str(given).strip():
        notes["row without id, named after its content"] += 1
        return fingerprint(*([turn.model_dump() for turn in part] if _is_turns(part) else part for part in content))
    if isinstance(given, dict | list | bool) or not _is_writable(str(given)):
        raise _Refusal("`id` is neither text nor a number")
    return str(given).strip()


def _is_turns(part: Any) -> bool:
    return isinstance(part, tuple) and bool(part) and isinstance(part[0], Turn)


def _conversation_id(row: dict[str, Any], identity: str) -> str:
    given = row.get("conversation_id")
    if given is not None and str(given).strip():
        return str(given).strip()
    stem, dot, number = identity.rpartition(".")
    return stem if dot and stem and number.isdecimal() else identity


def _domain(row: dict[str, Any]) -> str:
    value = row.get("domain")
    return value.strip() if isinstance(value, str) and _is_writable(value) else ""
