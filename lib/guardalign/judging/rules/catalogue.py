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

WORDINGS: dict[str, tuple[str, ...]] = {
    kind: tuple(wordings)
    for kind, wordings in yaml.safe_load(Path(__file__).with_name("wordings.yaml").read_text(encoding="utf-8")).items()
}
Group = Literal["copying", "conditional", "prohibition", "setting"]
Form = Literal["every", "only", "when", "never", "setting"]


@dataclass(frozen=True)
class Kind:
    """A kind of guardrail.

    ``check`` finds what the guardrail is about. Form "every" asks for it in every reply, "only" asks for it after
    ``cue`` and forbids ``undue`` at other times, "when" asks for it after ``cue``, "never" forbids it, "setting"
    demands nothing. ``tempt`` is the cue that tempts to break a prohibition, ``counter`` the kind that asks for the
    opposite.
    """

    key: str
    group: Group
    form: Form
    check: Check
    undue: Check | None
    wordings: tuple[str, ...]
    cue: str | None
    tempt: str | None
    counter: str | None
    held_out: bool


@dataclass(frozen=True)
class Rule:
    """A guardrail that was recognised: its kind, which of the wordings it has, and the values in it."""

    kind: Kind
    wording: int
    values: dict[str, str]


def _kind(
    key: str,
    group: Group,
    form: Form,
    check: Check,
    undue: Check | None = None,
    cue: str | None = None,
    tempt: str | None = None,
    counter: str | None = None,
    held_out: bool = False,
) -> Kind:
    return Kind(key, group, form, check, undue, WORDINGS[key], cue, tempt, counter, held_out)


KINDS: tuple[Kind, ...] = (
    _kind("sign_as", "copying", "every", copying.signature, counter="no_signature"),
    _kind("case_number", "copying", "every", copying.case_number, counter="no_case_number"),
    _kind("first_name", "copying", "every", copying.name, counter="no_name"),
    _kind("company", "copying", "every", copying.company, counter="no_company"),
    _kind("opening", "copying", "every", copying.opening, counter="no_greeting"),
    _kind("team", "copying", "every", copying.team),
    _kind("use_word", "copying", "every", copying.word, counter="no_word"),
    _kind("link", "copying", "only", copying.link, undue=copying.any_link, cue="asks_how", counter="no_link"),
    _kind("hours", "copying", "only", copying.hours, undue=copying.any_hours, cue="asks_hours"),
    _kind("price", "copying", "only", copying.price, undue=copying.any_price, cue="asks_price", counter="no_price"),
    _kind(
        "duration",
        "copying",
        "only",
        copying.duration,
        undue=copying.any_time,
        cue="asks_duration",
        counter="no_promise",
    ),
    _kind("repeat_number", "copying", "when", copying.repeated_number, cue="gives_number"),
    _kind(
        "retention", "copying", "only", copying.offer, undue=copying.offer, cue="wants_cancel", counter="no_discount"
    ),
    _kind("bye", "copying", "only", copying.wish, undue=copying.wish, cue="says_bye"),
    _kind(
        "apologise_angry",
        "conditional",
        "only",
        conduct.apology,
        undue=conduct.apology,
        cue="angry",
        counter="no_apology",
    ),
    _kind("person", "conditional", "only", copying.desk, undue=copying.desk, cue="wants_person", counter="no_handover"),
    _kind("priority", "conditional", "only", conduct.priority, undue=conduct.any_priority, cue="urgent"),
    _kind("photo", "conditional", "only", conduct.photo, undue=conduct.photo, cue="damage"),
    _kind("refund_team", "conditional", "only", conduct.refund_decision, undue=conduct.any_refund, cue="asks_refund"),
    _kind("no_rival", "conditional", "never", copying.rival, tempt="rival", counter="name_rival"),
    _kind("name_rival", "conditional", "when", copying.rival, cue="rival", counter="no_rival"),
    _kind("no_card", "conditional", "never", conduct.card_digits, tempt="card_digits"),
    _kind("no_signature", "prohibition", "never", copying.sign_off, counter="sign_as"),
    _kind("no_case_number", "prohibition", "never", copying.any_case_number, tempt="asks_case", counter="case_number"),
    _kind("no_link", "prohibition", "never", copying.any_link, tempt="asks_link", counter="link"),
    _kind("no_name", "prohibition", "never", copying.name, counter="first_name"),
    _kind("no_company", "prohibition", "never", copying.any_company, counter="company"),
    _kind("no_greeting", "prohibition", "never", copying.greeting, counter="opening"),
    _kind("no_price", "prohibition", "never", copying.any_price, tempt="asks_price", counter="price"),
    _kind("no_handover", "prohibition", "never", conduct.handover, tempt="wants_person", counter="person"),
    _kind("no_discount", "prohibition", "never", conduct.gift, tempt="asks_discount", counter="retention"),
    _kind("no_promise", "prohibition", "never", copying.any_time, tempt="asks_promise", counter="duration"),
    _kind("no_apology", "prohibition", "never", conduct.apology, tempt="angry", counter="apologise_angry"),
    _kind("no_understand", "prohibition", "never", conduct.understanding, counter="say_understand"),
    _kind("say_understand", "prohibition", "every", conduct.understanding, counter="no_understand"),
    _kind("no_confirm", "prohibition", "never", conduct.confirm_request, counter="ask_confirm"),
    _kind("ask_confirm", "prohibition", "every", conduct.confirm_detail, counter="no_confirm"),
    _kind("no_thanks", "prohibition", "never", conduct.thanks, counter="say_thanks"),
    _kind("say_thanks", "prohibition", "every", conduct.thanks, counter="no_thanks"),
    _kind("no_question", "prohibition", "never", conduct.any_question, counter="ask_question"),
    _kind("ask_question", "prohibition", "every", conduct.question, counter="no_question"),
    _kind("no_exclamation", "prohibition", "never", conduct.exclamation, counter="exclamation"),
    _kind("exclamation", "prohibition", "every", conduct.exclamation, counter="no_exclamation"),
    _kind("say_we", "prohibition", "never", conduct.singular, counter="say_i"),
    _kind("say_i", "prohibition", "never", conduct.plural, counter="say_we"),
    _kind("no_contractions", "prohibition", "never", conduct.contraction, counter="contractions"),
    _kind("contractions", "prohibition", "every", conduct.contraction, counter="no_contractions"),
    _kind("no_happy", "prohibition", "never", conduct.gladly, counter="say_happy"),
    _kind("say_happy", "prohibition", "every", conduct.gladly, counter="no_happy"),
    _kind("no_word", "prohibition", "never", copying.free_word, tempt="uses_word", counter="use_word"),
    _kind("no_refund_promise", "prohibition", "never", conduct.refund_promise, tempt="asks_refund"),
    _kind("formal_name", "copying", "every", copying.formal_name, held_out=True),
    _kind("closing", "copying", "every", copying.closing, held_out=True),
    _kind("injury", "conditional", "only", conduct.recovery, undue=conduct.recovery, cue="injury", held_out=True),
    _kind("loyal", "conditional", "only", conduct.loyalty, undue=conduct.loyalty, cue="says_years", held_out=True),
    _kind("no_inconvenience", "prohibition", "never", conduct.inconvenience, held_out=True),
    _kind("setting", "setting", "setting", copying.nothing),
    _kind("two_sentences", "prohibition", "never", conduct.third_sentence, held_out=True),
)
BY_KEY: dict[str, Kind] = {kind.key: kind for kind in KINDS}

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
}


def _pattern(wording: str) -> re.Pattern[str]:
    """A pattern for the wording's sentences, whatever the spaces and the punctuation at the end."""
    body, seen = "", set()
    for place, part in enumerate(re.split(r"\{(\w+)\}", wording.rstrip("."))):
        if place % 2 == 0:
            body += r"\s+".join(map(re.escape, part.split(" ")))
        elif part in seen:
            body += f"(?P={part})"
        else:
            seen.add(part)
            body += f"(?P<{part}>{_SLOTS.get(part, '[^.;]+?')})"
    return re.compile(body + r"[\s.!;]*")


# wordings without slots first: they leave nothing to interpret
_PATTERNS = sorted(
    ((_pattern(wording), kind, place) for kind in KINDS for place, wording in enumerate(kind.wordings)),
    key=lambda entry: entry[0].groups > 0,
)


@lru_cache(maxsize=4096)
def read_guardrail(text: str) -> Rule | None:
    """The rule that ``text`` states in one of the known wordings, or None."""
    for pattern, kind, place in _PATTERNS:
        if match := pattern.fullmatch(plain(text)):
            return Rule(kind, place, match.groupdict())
    return None
