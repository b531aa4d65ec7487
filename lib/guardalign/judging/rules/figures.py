"""Addresses, amounts, periods, days and opening hours in a text, in digits and in words."""

from __future__ import annotations

import re

from guardalign.judging.rules.text import NUMBER, Passage, clauses, number, phrases, plain, without_quotations

_I = re.IGNORECASE
ADDRESS = re.compile(
    r"(?<![@\w.-])(?:https?://\S+|www\.\S+"
    r"|(?:[a-z0-9-]+\.)+(?:example|com|org|net|eu|io|co|info|uk|de|app|online|shop|bank)\b(?:/[\w/.#?=&-]*\w)?/?)",
    _I,
)
_AMOUNT = re.compile(
    r"(?:[€$£]|\b(?:EUR|USD|GBP)\b)\s?(?P<after>\d{1,3}(?:[.,]\d{3})+(?!\d)|\d+(?:[.,]\d+)?)"
    rf"|(?<![\w.,])(?P<before>{NUMBER})[\s-]?(?:[€$£]|(?:euros?|eur|dollars?|pounds?|cents?|bucks|quid)\b)",
    _I,
)
_KIND_OF_DAY = r"(?:(?:working|business|calendar|full|whole|more|extra|further)[ -])*"
_PERIOD = re.compile(
    r"(?P<lead>(?:at least|more than|over|less than|up to|about|around|roughly|approximately|within|under|almost|nearly"
    r"|not|another|the next|the last|the past|for|in)\s+)*"
    rf"\b(?P<low>{NUMBER}|an?|half an?|a few|a couple of|several|some)(?:\s*(?:-|to|or|and"
    rf"|until)\s*(?P<high>{NUMBER}))?"
    rf"[ -](?P<kind>{_KIND_OF_DAY})(?P<unit>minute|hour|day|week|month|fortnight|year)s?\b(?!'s)"
    r"|\b(?P<half>half) (?:an? |the )(?P<half_of>day|hour)\b|\b(?P<end>(?:the )?end of the (?:week|month|day))\b",
    _I,
)
_WORDED = {"a": 1.0, "an": 1.0, "half a": 0.5, "half an": 0.5}
_WORDED |= dict.fromkeys(("a few", "several", "some", "a couple of"), -1.0)
_OTHER_THAN = ("at least", "more than", "over", "less than", "not", "another")
Period = tuple[float, float, str]

_WEEKDAY = "(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH = "(?-i:January|February|March|April|May|June|July|August|September|October|November|December)"
_CLOCK = r"\d{1,2}(?:[:.]\d\d)?\s?(?:am|pm|a\.m|p\.m|o'clock)"
_DATE = phrases(
    _WEEKDAY,
    "tomorrow|tonight|overnight|the weekend|before the week is out",
    rf"(?:this|next|coming) (?:week|month|morning|afternoon|evening|weekend|{_WEEKDAY})",
    "(?:the )?(?:start|middle|end|beginning) of (?:the|next|this) (?:week|month|day)",
    rf"{_MONTH} \d{{1,2}}",
    rf"(?<![\d-])\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}",
    r"(?:by|on|before|until|for|from) (?:the )?\d+(?:st|nd|rd|th)",
    "within the (?:hour|day|week|month|fortnight)",
    "by (?:noon|midday|midnight|lunchtime|evening|the weekend|morning|close of business)",
    rf"(?:by|before|at|until) (?:{_CLOCK}|\d{{1,2}}:\d\d)",
    r"\d{1,2}(?:[:.]\d\d)?\s?(?:am|pm)",
    "(?:in|a matter of) (?:hours|days|minutes)",
)
_TODAY = phrases("today|later this|same day|this very day")
_TODAY_PROMISED = phrases("will|'ll|by|before|later|going to|ready|done|fixed|promise")
_COMMITS = phrases(
    "will|'ll|shall|should|going to|ready|done|fixed|solved|sorted|expect|arrives?|within|takes?|promise",
    r"by (?=\d|the|next|this|then|noon|tomorrow|tonight|\w+day)\w+",
)
_CERTAINLY_COMMITS = re.compile(r"\b(?:I|we|it|they|team|desk|you)(?: \w+)? (?:will|shall)\b|'ll\b|\btakes?\b", _I)
_LEAVES_OPEN = phrases(
    r"would be (?:a|an|only|mere|pure)|guess|can't|cannot|unknown|unclear|(?:is|are|stays?|remains?|leave|left"
    r"|still) open",
    r"you (?:asks?|asked|say|said|mention|mentioned|wanted|want|wrote|write|describe|need|were|have been|had|hope"
    r"|hoped)",
    r"you will \w+ out|(?:before|when|until|while|once) you|your \w+ (?:on|for|from)",
    "no (?:date|day|time|deadline|period|number)",
    "was|were|without|late|overdue|waiting|waited|ago|since|last|past|previous|after",
)
_OPEN_DAYS = re.compile(rf"\b{_WEEKDAY}s?\s*(?:-|to|through|until|till)\s*{_WEEKDAY}s?\b", _I)
_CUSTOMER_DOES = re.compile(r"\b(?:before|when|until|while|once|after) you\b[^,]*$", _I)
_SOMEBODYS_DAY = re.compile(
    r"\b(?:a|an|your|his|her|their|that|every|each|last)(?: (?!by|on|before|until|at|this|next)\w+){0,2} $", _I
)


def addresses(text: str) -> list[str]:
    return [match.group().rstrip("/.,") for match in ADDRESS.finditer(text)]


def amounts(text: str) -> list[tuple[float, str]]:
    """Every amount of money with its words."""
    return [(number(match["after"] or match["before"]), match.group()) for match in _AMOUNT.finditer(text)]


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
    return [(_period(match), match.group().strip()) for match in _PERIOD.finditer(text)]


def _promised(found: Passage, pattern: re.Pattern[str], told: str) -> bool:
    """Whether a time is given, rather than denied, left open, wished, or taken up from the customer."""
    time, before = found.text, found.before
    if found.negated or re.search(r"\bwhether\b", before, _I):
        return False
    if pattern is _TODAY:
        return bool(_TODAY_PROMISED.search(before))
    if re.search("(?:day|weekend)$", time, _I) and _SOMEBODYS_DAY.search(before):
        return False
    if _CUSTOMER_DOES.search(before) or (found.after.startswith("'s") and re.match("this|last", time, _I)):
        return False
    if _LEAVES_OPEN.search(found.clause) and not _CERTAINLY_COMMITS.search(found.clause):
        return False
    if re.match("(?:a|one|some) (?:minute|moment|day)$", time, _I) and not _COMMITS.search(before):
        return False
    if _COMMITS.search(found.clause):
        return True
    if re.match("(?:a|an|one) ", time, _I) or re.search(r"\byears?$|\d ?[ap]m$", time):
        return False
    if {period for period, _ in periods(time)} & {period for period, _ in periods(told)}:
        return False
    bare = re.sub(r"^(?:for|in|within|about|up to|by|before|on|the|at|a|an|until) |\s", "", time.lower())
    return bare not in re.sub(r"\s", "", told.lower())


def time_given(reply: str, told: str) -> str | None:
    """A day, date, time or period that the reply gives; ``told`` is what the customer said."""
    for clause in clauses(_OPEN_DAYS.sub("", without_quotations(reply))):
        for pattern in (_PERIOD, _DATE, _TODAY):
            for match in pattern.finditer(clause):
                found = Passage(match.group(), clause, clause[: match.start()], clause[match.end() :])
                if _promised(found, pattern, plain(told)):
                    return match.group().strip()
    return None


_DAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:days?)?"
_HOUR = rf"(?:{NUMBER})(?::\d\d)?(?:\s?(?:[ap]\.?m\.?|o'clock))?"
_DAYS_OPEN = re.compile(rf"\b({_DAY})\s*(?:-|to|through|until|till)\s*({_DAY})\b", _I)
_HOURS_OPEN = re.compile(
    rf"(?<![\w-])({_HOUR})(?:\s*(?:-|to|through|until|till|and)\s*|\s*,?\s*(?:and )?clos\w+ at )({_HOUR})(?![\w-])", _I
)
_ABOUT_OPENING = phrases(
    r"open|opens|opening|reach\w*|hours|available|lines are|office|staffed|weekdays|daily|counter|phones?|telephone"
    r"|calls?"
)
_OPEN_AT = re.compile(
    r"\b(?:open|opens|close|closes|reachable|available|reach (?:us|me)|closing|staffed)\b[^.?!]{0,25}"
    rf"\b(?:from|until|till|at|on|every)\s+(?:{_HOUR}|{_DAY}|weekdays)\b",
    _I,
)


def _hour(text: str) -> float:
    """An hour on a twelve-hour clock."""
    match = re.match(NUMBER, text, _I)
    value = number(match.group()) if match else -1.0
    return value - 12 if 12 < value <= 24 else value


def hours_given(text: str) -> tuple[set[tuple[str, str]], set[tuple[float, float]]]:
    """The ranges of days ("tue", "sat") and of hours in ``text``."""
    days = {(first[:3].lower(), last[:3].lower()) for first, last in _DAYS_OPEN.findall(text)}
    return days, {(_hour(opens), _hour(closes)) for opens, closes in _HOURS_OPEN.findall(text)}


def opening_hours(sentence: str) -> str | None:
    """Words of ``sentence`` that say when somebody can be reached."""
    if match := _DAYS_OPEN.search(sentence) or _OPEN_AT.search(sentence):
        return match.group()
    match = _HOURS_OPEN.search(sentence)
    if not match or not _ABOUT_OPENING.search(sentence) or max(_hour(match[1]), _hour(match[2])) > 12:
        return None
    counted = re.match(r"\s*(?:minutes|hours?|days|weeks|euros)\b", sentence[match.end() :])
    return None if counted else match.group()
