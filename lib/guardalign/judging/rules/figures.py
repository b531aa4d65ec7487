"""Addresses, amounts, periods, days and opening hours in a text, in digits and in words."""

from __future__ import annotations

import re

from guardalign.judging.rules.text import NUMBER, Passage, clauses, number, patterns, plain, without_quotations

_I = re.IGNORECASE
_P = patterns("figures")
ADDRESS = _P["address"]
_WORDED = {"a": 1.0, "an": 1.0, "half a": 0.5, "half an": 0.5}
_WORDED |= dict.fromkeys(("a few", "several", "some", "a couple of"), -1.0)
_OTHER_THAN = ("at least", "more than", "over", "less than", "not", "another")
Period = tuple[float, float, str]


def addresses(text: str) -> list[str]:
    return [match.group().rstrip("/.,") for match in ADDRESS.finditer(text)]


def amounts(text: str) -> list[tuple[float, str]]:
    """Every amount of money with its words."""
    return [(number(match["after"] or match["before"]), match.group()) for match in _P["amount"].finditer(text)]


def _period(match: re.Match[str]) -> Period:
    if match["end"]:
        return 0.0, 1.0, match["end"].lower().removeprefix("the ")
    if match["half"]:
        return 0.5, 0.5, match["half_of"].lower()
    words, unit = match["low"].lower(), match["unit"].lower()
    low = _WORDED.get(words) or number(words)
    high = number(match["high"]) if match["high"] else low
    if re.search("working|business", match["kind"], _I):
        unit = "working " + unit
    if unit == "fortnight":
        low, high, unit = 2 * low, 2 * high, "week"
    lead = (match["lead"] or "").strip().lower()
    return low, high, f"{lead} {unit}" if lead in _OTHER_THAN else unit


def periods(text: str) -> list[tuple[Period, str]]:
    """Every period as (least, most, unit) with its words. Working days are a unit of their own; "a few" counts -1."""
    return [(_period(match), match.group().strip()) for match in _P["period"].finditer(text)]


def _promised(passage: Passage, pattern: re.Pattern[str], customer_text: str) -> bool:
    """Whether a time is given, rather than denied, left open, wished, or taken up from the customer."""
    time, before = passage.text, passage.before
    if passage.negated or re.search(r"\bwhether\b", before, _I):
        return False
    if pattern is _P["today"]:
        return bool(_P["today_promised"].search(before))
    if re.search("(?:day|weekend)$", time, _I) and _P["somebodys_day"].search(before):
        return False
    if _P["customer_does"].search(before) or (passage.after.startswith("'s") and re.match("this|last", time, _I)):
        return False
    if _P["leaves_open"].search(passage.clause) and not _P["certainly_commits"].search(passage.clause):
        return False
    if re.match("(?:a|one|some) (?:minute|moment|day)$", time, _I) and not _P["commits"].search(before):
        return False
    if _P["commits"].search(passage.clause):
        return True
    if re.match("(?:a|an|one) ", time, _I) or re.search(r"\byears?$|\d ?[ap]m$", time):
        return False
    if {period for period, _ in periods(time)} & {period for period, _ in periods(customer_text)}:
        return False
    bare = re.sub(r"^(?:for|in|within|about|up to|by|before|on|the|at|a|an|until) |\s", "", time.lower())
    return bare not in re.sub(r"\s", "", customer_text.lower())


def time_given(reply: str, customer_text: str) -> str | None:
    """A day, date, time or period that the reply gives; ``customer_text`` is what the customer said."""
    for clause in clauses(_P["open_days"].sub("", without_quotations(reply))):
        for pattern in (_P["period"], _P["date"], _P["today"]):
            for match in pattern.finditer(clause):
                passage = Passage(match.group(), clause, clause[: match.start()], clause[match.end() :])
                if _promised(passage, pattern, plain(customer_text)):
                    return match.group().strip()
    return None


def _hour(text: str) -> float:
    """An hour on a twelve-hour clock."""
    match = re.match(NUMBER, text, _I)
    value = number(match.group()) if match else -1.0
    return value - 12 if 12 < value <= 24 else value


def hours_given(text: str) -> tuple[set[tuple[str, str]], set[tuple[float, float]]]:
    """The ranges of days ("tue", "sat") and of hours in ``text``."""
    days = {(first[:3].lower(), last[:3].lower()) for first, last in _P["days_open"].findall(text)}
    return days, {(_hour(opens), _hour(closes)) for opens, closes in _P["hours_open"].findall(text)}


def opening_hours(sentence: str) -> str | None:
    """Words of ``sentence`` that say when somebody can be reached."""
    if match := _P["days_open"].search(sentence) or _P["open_at"].search(sentence):
        return match.group()
    match = _P["hours_open"].search(sentence)
    if not match or not _P["about_opening"].search(sentence) or max(_hour(match[1]), _hour(match[2])) > 12:
        return None
    counted = re.match(r"\s*(?:minutes|hours?|days|weeks|euros)\b", sentence[match.end() :])
    return None if counted else match.group()
