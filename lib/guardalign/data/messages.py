"""Messages as others write them (``turns``, OpenAI's ``messages``): turns of user and agent, and the system's rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Any, Literal

from guardalign.data.conversations import Turn

ROLES: dict[str, Literal["user", "agent", "system", "tool"]] = {
    **dict.fromkeys(("user", "customer", "human", "client"), "user"),
    **dict.fromkeys(("agent", "assistant", "bot"), "agent"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function"), "tool"),
}
ITEM = re.compile(r"([ \t]*)(?:[-*+•–]|\(?\d{1,3}[.)])[ \t]+(.+)")


class Refusal(ValueError):
    """Why a row cannot be used."""


def messages_of(entries: Any, ignored: Collection[str], notes: Counter[str]) -> tuple[list[str], tuple[Turn, ...]]:
    """The texts of system messages, and the turns of user and agent; consecutive ones of one role are joined."""
    if not isinstance(entries, list) or not entries:
        raise Refusal("`turns` or `messages` is not a list of messages")
    system: list[str] = []
    turns: list[Turn] = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise Refusal(f"turn {number} is not an object with role and text")
        name, content = str(entry.get("role", "")).strip().lower(), entry.get("text", entry.get("content"))
        role = "tool" if name in ignored else role_of(entry)
        if role is None:
            raise Refusal(f"turn {number} has the unknown role {entry.get('role')!r} (known: {', '.join(ROLES)})")
        if role == "tool" or (role == "agent" and entry.get("tool_calls") and not content):
            notes[f"turn of role `{name}` left out" if role == "tool" else "tool call left out"] += 1
            continue
        text = text_of(content, f"turn {number}")
        if role == "system":
            system.append(text)
            continue
        tagged = entry.get("tagged") is True
        if turns and turns[-1].role == role:
            notes["turn joined to the one before (same role)"] += 1
            before = turns.pop()
            text, tagged = f"{before.text}\n{text}", before.tagged or tagged
        turns.append(Turn(role=role, text=text, tagged=tagged))
    return system, tuple(turns)


def role_of(entry: Any) -> str | None:
    """A message's role by this package's name; None if it is unknown."""
    return ROLES.get(str(entry.get("role", "")).strip().lower()) if isinstance(entry, dict) else None


def text_of(value: Any, what: str) -> str:
    if isinstance(value, list):  # OpenAI's content parts
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            raise Refusal(f"{what} is not only text")
        value = "\n".join(str(part.get("text", "")) for part in value)
    if not isinstance(value, str):
        raise Refusal(f"{what} has no text")
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise Refusal(f"{what} is empty")
    if not is_writable(text):
        raise Refusal(f"{what} holds half a character (a lone surrogate), which no UTF-8 file can hold")
    return text


def is_writable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def rules_of(text: str) -> list[str]:
    """The rules in a system message: the items of its numbered or bulleted list and the text around it; else the text.

    Lines further in belong to the item above them. Headings, and the words that introduce a list, are left out.
    """
    lines = text.split("\n")
    items = [item for line in lines if (item := ITEM.fullmatch(line))]
    if not items:
        return [text]
    margin = min(len(item[1]) for item in items)
    rules, inside, blank = [""], False, False
    for line in lines:
        item = ITEM.fullmatch(line)
        if item and len(item[1]) <= margin:
            rules, inside = [*rules, item[2]], True
        elif line.strip():
            if inside and blank and not line[0].isspace():
                rules, inside = [*rules, ""], False
            rules[-1] += "\n" + (line if inside else _without_heading(line)).strip()
        blank = not line.strip()
    return [rule.strip() for rule in rules if rule.strip()]


def _without_heading(line: str) -> str:
    if line.startswith("#"):
        return ""
    return line[: max(map(line.rfind, ".!?")) + 1] if line.rstrip(" *_").endswith(":") else line
