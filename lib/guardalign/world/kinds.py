"""What a guardrail of the embedded world demands: wordings, values, when it applies, how a text shows it is kept.

A kind reads text alone and does not depend on how replies are written (`writing`), so the judge built on it can
assess any reply. The catalogue is ``kinds.yaml``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import TypeAdapter

from guardalign.world.domains import POOLS, Domain, table
from guardalign.world.numbers import NUMBER_WORDS, in_digits
from guardalign.world.situation import Situation

Values = dict[str, str]
_DENIED = re.compile(
    r"\b(not(?! only| hesitate)|never|cannot|neither|nor|refuse|unable|no way|no longer|(?<!\bwhy )\w+n['’]t)\b",
    re.IGNORECASE,
)
_NO = re.compile(r"\bno $", re.IGNORECASE)
_IS_NOT = re.compile(r"\s*(?:is|are)(?: not\b| impossible\b|n['’]t\b)", re.IGNORECASE)
_CLAUSE = re.compile(r"[.!?,;:]|\b(?:but|although|though|however|so|because)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?:[^.!?]|(?<=\b[ap])\.(?=m\b)|(?<=\b[ap]\.m)\.(?= [a-z]))+(?:[.!?]+|$)")


def sentences(text: str) -> list[str]:
    """The sentences of a reply, without a signature after the last one."""
    body = re.sub(r"\s*-[A-Z]{2}\s*$", "", text)
    return [found.strip() for found in _SENTENCE.findall(body) if re.search(r"\w", found)]


@dataclass(frozen=True)
class Kind:
    """A kind of guardrail; the fields are explained in ``kinds.yaml``."""

    key: str
    wordings: tuple[str, ...]
    check: str
    pattern: str = ""
    unless: str = "(?!)"
    values: Mapping[str, str | tuple[int, ...]] = field(default_factory=dict)
    when: str = "always"
    excludes: tuple[str, ...] = ()
    prohibition: bool = False

    def applies(self, situation: Situation) -> bool:
        return WHEN[self.when](situation) if self.when in WHEN else self.when in (situation.act, situation.mood)

    def draw(self, name: str, rng: random.Random, domain: Domain | None = None) -> str:
        """A value for ``name``; the domain is needed where it comes from there."""
        source = self.values[name]
        if not isinstance(source, str):
            return str(rng.randrange(*source))
        if source == "page":
            return page_name(rng)
        if source == "initials":
            return "".join(rng.choices("ABCDEFGHJKLMNPRSTVW", k=2))
        if source in POOLS:
            return rng.choice(POOLS[source])
        choices = getattr(domain, source)
        return choices if isinstance(choices, str) else rng.choice(choices)


WHEN: dict[str, Callable[[Situation], bool]] = {
    "always": lambda s: True,
    "first": lambda s: s.first,
    "introduced": lambda s: s.first and s.name is not None,
    "reference missing": lambda s: s.first and s.reference is None,
    "reference known": lambda s: s.reference is not None,
    "reference given": lambda s: s.reference_now,
}


def page_name(rng: random.Random) -> str:
    return f"{rng.choice(POOLS['page_first'])} {rng.choice(POOLS['page_second'])}"


def _fill(pattern: str, values: Values, situation: Situation) -> str:
    """Put values into a pattern, escaped; a small number also matches its word ("5" or "five")."""
    known = values | {"name": situation.name or "", "given": situation.reference or ""}

    def escaped(match: re.Match[str]) -> str:
        value = known[match.group(1)]
        if value.isdigit():
            word = rf"|{NUMBER_WORDS[int(value)]}" if int(value) < len(NUMBER_WORDS) else ""
            return rf"(?<![\w.])(?:{value}{word})\b"
        return re.escape(value)

    return re.sub(r"<(\w+)>", escaped, pattern)


def _denied(text: str, found: re.Match[str]) -> bool:
    """Whether the clause around a match negates it."""
    clause, after = _CLAUSE.split(text[: found.start()])[-1], text[found.end() :]
    before = _DENIED.search(clause + found.group(0)) and not after.startswith(" enough")
    return bool(before or _NO.search(clause) or _IS_NOT.match(after))


def _requires(rule: Rule, text: str, situation: Situation) -> tuple[bool, str]:
    """The pattern occurs; the quote is empty if the text writes a number in words."""
    read = in_digits(text)
    for found in re.finditer(_fill(rule.kind.pattern, rule.values, situation), read, re.IGNORECASE):
        if not (rule.kind.check == "states" and _denied(read, found)):
            quote = found.group(0).strip()
            return True, quote if quote in text else ""
    return False, ""


def _forbids(rule: Rule, text: str, situation: Situation) -> tuple[bool, str]:
    """No sentence has the pattern, those aside with ``unless`` in them; the quote is the sentence."""
    filled = _fill(rule.kind.pattern, rule.values, situation)
    for sentence in sentences(text) or [text]:
        if re.search(filled, in_digits(sentence), re.I) and not re.search(rule.kind.unless, sentence, re.I):
            return False, sentence
    return True, ""


def _shows(rule: Rule, text: str, situation: Situation) -> tuple[bool, str]:
    found = re.search(rule.kind.pattern, text)
    return bool(found) == (rule.kind.check == "shows"), found.group(0) if found else ""


def _at_most_sentences(rule: Rule, text: str, situation: Situation) -> tuple[bool, str]:
    beyond = sentences(text)[int(rule.values["count"]) :]
    return not beyond, beyond[0] if beyond else ""


def _one_question(rule: Rule, text: str, situation: Situation) -> tuple[bool, str]:
    beyond = re.findall(r"[^.!?]*\?", text)[1:]
    return not beyond, beyond[0].strip() if beyond else ""


CHECKS: dict[str, Callable[[Rule, str, Situation], tuple[bool, str]]] = {
    "requires": _requires,
    "states": _requires,  # but a clause that denies it ("it does not cost 42 euros") does not count
    "forbids": _forbids,
    "shows": _shows,  # the pattern occurs literally in the text
    "lacks": _shows,
    "at_most_sentences": _at_most_sentences,
    "one_question": _one_question,
}
BY_KEY = {key: TypeAdapter(Kind).validate_python({"key": key, **fields}) for key, fields in table("kinds").items()}
KINDS = tuple(BY_KEY.values())


@dataclass(frozen=True)
class Rule:
    """A guardrail of one conversation: a kind, its values, and the sentence in which it is written, with the number of
    its wording (from 0)."""

    kind: Kind
    values: Values
    text: str
    wording: int

    def check(self, reply: str, situation: Situation) -> tuple[bool, str]:
        return CHECKS[self.kind.check](self, reply, situation)


def word_rule(kind: Kind, rng: random.Random, domain: Domain, withheld: int = 0) -> Rule:
    """Draw a kind's values and write the guardrail down in one of its wordings, never in the last ``withheld``."""
    values = {name: kind.draw(name, rng, domain) for name in kind.values}
    wording = rng.choice(range(len(kind.wordings) - withheld))
    text = re.sub(r"<(\w+)>", lambda match: values[match.group(1)], kind.wordings[wording])
    return Rule(kind, values, text[0].upper() + text[1:], wording)


_READERS = [
    (re.compile(re.sub(r"<(\w+)>", r"(?P<\1>.+?)", re.escape(wording)), re.IGNORECASE), kind, number)
    for kind in KINDS
    for number, wording in enumerate(kind.wordings)
]


@lru_cache(maxsize=65536)
def read_rule(text: str) -> Rule | None:
    """Read a guardrail's kind and values back from its sentence; None for one that is not of this world."""
    for pattern, kind, wording in _READERS:
        if found := pattern.fullmatch(text.strip()):
            return Rule(kind, found.groupdict(), text, wording)
    return None
