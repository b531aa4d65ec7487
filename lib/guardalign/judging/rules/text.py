"""Sentences, clauses and words of a message, and whether something in them is asserted or denied."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml
from syntok.segmenter import split
from syntok.tokenizer import Tokenizer

_TOKENIZER = Tokenizer(replace_not_contraction=False)
_PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00a0": " ", "…": "..."})
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d+(?:[.,:]\d+)*")


def phrases(*alternatives: str) -> re.Pattern[str]:
    """A pattern for any of the alternatives as whole words, whatever the case."""
    return re.compile(r"\b(?:" + "|".join(alternatives) + r")\b", re.IGNORECASE)


_DATA = yaml.safe_load(Path(__file__).with_name("patterns.yaml").read_text(encoding="utf-8"))
WORDS: dict[str, frozenset[str]] = {name: frozenset(given.split()) for name, given in _DATA.pop("words").items()}
_SMALL, _TENS = (_DATA.pop(name) for name in ("small_numbers", "tens"))
NUMBERS = {name: value for value, name in enumerate(_SMALL.split())}
NUMBERS |= {name: 10 * value for value, name in enumerate(_TENS.split(), 3)}
_UNITS = "|".join(name for name, value in NUMBERS.items() if 0 < value < 10)
_FIGURES = r"\d{1,3}(?:[.,]\d{3})+(?!\d)|\d+(?:[.,]\d+)?"
_TENS_AND_UNITS = rf"(?:twenty|{_TENS.replace(' ', '|')})[- ](?:{_UNITS})"
NUMBER = "|".join((_FIGURES, _TENS_AND_UNITS, *sorted(NUMBERS, key=len, reverse=True)))


def patterns(section: str) -> dict[str, re.Pattern[str]]:
    """The patterns of a section of ``patterns.yaml``, whose head explains their form."""
    texts, compiled = {"number": NUMBER}, {}
    for name, source in _DATA[section].items():
        parts = ["".join(part.split("\n")) for part in ([source] if isinstance(source, str) else source)]
        texts[name] = re.sub(r"\{([a-z_]+)\}", lambda match: texts[match[1]], "|".join(parts))
        compiled[name] = re.compile(texts[name]) if isinstance(source, str) else phrases(texts[name])
    return compiled


_P = patterns("text")
NEGATION = _P["negation"]


def plain(text: str) -> str:
    """``text`` with straight quotes and hyphens and single spaces."""
    return re.sub(r"[^\S\n]+", " ", text.translate(_PLAIN)).strip()


def number(text: str) -> float:
    """The value of a number in digits ("9", "9.50", "1,200") or words ("nine", "twenty-four")."""
    lowered = text.lower()
    if lowered[0].isdigit():
        return float(re.sub(r"[.,](?=\d{3}\b)", "", lowered).replace(",", "."))
    return sum(NUMBERS[part] for part in re.split(r"[- ]", lowered))


@lru_cache(maxsize=65536)
def sentences(text: str) -> tuple[str, ...]:
    """The sentences of ``text``; a line break ends one too."""
    found = []
    for line in text.split("\n"):
        for tokens in split(_TOKENIZER.tokenize(line)):
            first, last = tokens[0], tokens[-1]
            found.append(line[first.offset : last.offset + len(last.value)].strip())
    return tuple(sentence for sentence in found if sentence)


@lru_cache(maxsize=65536)
def clauses(text: str) -> tuple[str, ...]:
    """Sentences cut further where another statement begins ("..., but I can ...")."""
    found: list[str] = []
    for sentence in sentences(text):
        for part in _P["clause"].split(sentence):
            lead = _P["subordinate"].match(part)
            found += [part[: lead.end()], part[lead.end() :]] if lead else [part]
    return tuple(part.strip() for part in found if part.strip())


def words(text: str) -> list[str]:
    """The words and figures of ``text`` in lower case; contractions and hyphenated words stay whole."""
    return [match.group().lower() for match in _WORD.finditer(text)]


def without_quotations(text: str) -> str:
    """``text`` without what is in double quotes, which quotes another speaker."""
    return re.sub(r'"[^"\n]*"', '""', text)


@dataclass(frozen=True)
class Passage:
    """A match and the clause it was found in."""

    text: str
    clause: str
    before: str
    after: str

    @property
    def negated(self) -> bool:
        """Whether the clause denies what matched, before it or in the few words after it."""
        return bool(NEGATION.search(self.before) or _P["denied_after"].match(self.after[:40]))


def passages(pattern: re.Pattern[str], text: str) -> list[Passage]:
    """Every match of ``pattern``, clause by clause."""
    return [
        Passage(match.group(), clause, clause[: match.start()], clause[match.end() :])
        for clause in clauses(text)
        for match in pattern.finditer(clause)
    ]


def first_asserted(pattern: re.Pattern[str], text: str, *, unless: re.Pattern[str] | None = None) -> str | None:
    """The first match that is neither denied nor preceded in its clause by ``unless``."""
    for passage in passages(pattern, text):
        if not passage.negated and not (unless and unless.search(passage.before)):
            return passage.text
    return None


def literal(phrase: str) -> re.Pattern[str]:
    """A pattern for exactly these words, whatever the case and the spaces between them."""
    body = r"\s+".join(re.escape(part) for part in plain(phrase).split())
    return re.compile(rf"(?<![\w-]){body}(?![\w-])", re.IGNORECASE)


@lru_cache(maxsize=1024)
def office_named(name: str) -> re.Pattern[str]:
    """A pattern for an office's name; "refund board" is the refunds board."""
    body = r"\s+".join(re.escape(word.removesuffix("s")) + "s?" for word in plain(name).split())
    return re.compile(rf"(?<![\w-]){body}(?![\w-])", re.IGNORECASE)


@lru_cache(maxsize=1024)
def inflected(word: str) -> re.Pattern[str]:
    """A pattern for a word and its inflected forms (check, checks, checked, checking)."""
    base = word.lower()
    forms = {base, base + "s", base + "'s"}
    if not base.endswith(("ly", "ever")):
        forms |= {base + suffix for suffix in ("es", "ed", "ing", "er", "est")}
        forms |= {base + base[-1] + suffix for suffix in ("ed", "ing")}
    if base.endswith("e"):
        forms |= {base + "d", base + "n", base[:-1] + "ing"}
    if base.endswith("y"):
        forms |= {base[:-1] + "ies", base[:-1] + "ied"}
    if base.endswith("s"):
        forms |= {base[:-1]}
    return phrases(*sorted(map(re.escape, forms), key=len, reverse=True))
