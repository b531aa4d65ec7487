"""Numbers as a reader understands them, however they are written."""

from __future__ import annotations

import re
from functools import lru_cache

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate([*NUMBER_WORDS, *_TEENS])} | {
    word: 10 * value for value, word in enumerate(_TENS, 2)
}
_UNIT = "|".join(NUMBER_WORDS[1:10])
_SMALL = rf"(?:{'|'.join(_TENS)})(?:[ -](?:{_UNIT}))?|{'|'.join([*_TEENS, *reversed(NUMBER_WORDS)])}"
_NUMBER = re.compile(
    rf"\b(?:(?P<hundreds>a|{_UNIT}) hundred(?:(?: and)? (?P<rest>{_SMALL}))?|(?P<small>{_SMALL}))\b"
    r"(?P<unit>(?= (?:business |working )?(?:euros?|eur|days?|o'clock)\b))?",
    re.IGNORECASE,
)
_TIME = re.compile(r"\b(\d{1,2})(?::00(?! ?[ap]\.?m)|(?::00)? ?(?:([ap])\.?m\b\.?))", re.IGNORECASE)


@lru_cache(maxsize=65536)
def in_digits(text: str) -> str:
    """``text`` with numbers in digits: "ninety nine euros" → "99 euros", "8:00" → "8", "5 pm" → "17".

    Words up to twelve stay, unless euros, days or o'clock follow: "one" and "two" mean other things too.
    """
    return _TIME.sub(_hour, _NUMBER.sub(_digits, text))


def _digits(found: re.Match[str]) -> str:
    if found["small"]:
        value = _sum(found["small"])
        return str(value) if value > 12 or found["unit"] is not None else found[0]
    hundreds = 1 if found["hundreds"].lower() == "a" else _VALUES[found["hundreds"].lower()]
    return str(100 * hundreds + _sum(found["rest"] or ""))


def _sum(words: str) -> int:
    return sum(_VALUES[word] for word in re.findall("[a-z]+", words.lower()))


def _hour(found: re.Match[str]) -> str:
    hour = int(found[1])
    half = (found[2] or "").lower()
    return str(hour % 12 + 12 * (half == "p") if half else hour)
