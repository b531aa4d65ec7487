"""Masks personal data in conversations before anything is sent.

It finds data of a fixed form: e-mail addresses, telephone, card, bank account and social security numbers, network
addresses and handles. Names and street addresses have none and stay: removing them takes a tool for their language.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import partial

from guardalign.data.conversations import Conversation

OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
PATTERNS: dict[str, re.Pattern[str]] = {
    "email": re.compile(r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+\b"),
    "account": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "card": re.compile(r"\b(?:[3-6]|2(?=[ -]?[2-7]))(?:[ -]?\d){12,18}\b"),
    "social security number": re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),
    "address": re.compile(rf"(?<![\w.]){OCTET}(?:\.{OCTET}){{3}}(?!\.?\w)"),
    "phone": re.compile(
        r"(?<![\w.(])\(?(?:\+|00)?\d{1,4}[ .()/-]{0,2}(?:\d{2,4}[ .()/-]{1,2}){1,4}\d{2,4}\b"
        r"|(?<!\w)\+\d(?:[ .()/-]{0,2}\d){6,14}\b|\b\d{10,11}\b"
    ),
    "handle": re.compile(r"(?<!\w)@\w{2,}"),
}
DAY, YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:19|20)\d\d"
DATE = re.compile(
    rf"(?:{DAY}[./-]{DAY}[./-](?:19|20)?\d\d|{YEAR}[./-]{DAY}[./-]{DAY})(?:[ ,]+\d{{1,2}}(?:[ .-]\d\d){{0,2}})?"
)
"""A date, or the start of a timestamp."""
VERSION = re.compile(r"\b(?:versions?|releases?|builds?|firmware|v)\.?(?: (?:number|no\.|is|was))*[ :]*$", re.I)


def luhn(digits: str) -> bool:
    """Whether a card number's check digit is right (ISO/IEC 7812)."""
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def mask(conversation: Conversation) -> tuple[Conversation, Counter[str]]:
    """The conversation with ``[email 1]`` and the like in place of personal data, and how much of each kind there was.

    The same datum gets the same number throughout the conversation, its guardrails included.
    """
    masks: dict[str, str] = {}
    counts: Counter[str] = Counter()

    def masked(text: str) -> str:
        for kind, pattern in PATTERNS.items():
            text = pattern.sub(partial(replace, kind), text)
        return text

    def replace(kind: str, found: re.Match[str]) -> str:
        if not _is_datum(kind, found):
            return found[0]
        if found[0] not in masks:
            counts[kind] += 1
            masks[found[0]] = f"[{kind} {counts[kind]}]"
        return masks[found[0]]

    turns = tuple(turn.model_copy(update={"text": masked(turn.text)}) for turn in conversation.turns)
    guardrails = tuple(masked(text) for text in conversation.guardrails)
    return conversation.model_copy(update={"turns": turns, "guardrails": guardrails}), counts


def _is_datum(kind: str, found: re.Match[str]) -> bool:
    """Whether a match of a datum's form is one: dates, order numbers and versions look alike."""
    digits = re.sub(r"\D", "", found[0])
    if kind == "card" and not luhn(digits):
        return False
    if kind == "phone" and not 7 <= len(digits) <= 15:
        return False
    if kind in ("card", "phone") and DATE.fullmatch(found[0]):
        return False
    return kind not in ("address", "phone") or not VERSION.search(found.string[: found.start()])
