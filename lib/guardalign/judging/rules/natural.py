"""Whether a reply reads as a person's answer to the customer, and which of its claims have no source."""

from __future__ import annotations

import re
from collections import Counter

from guardalign.judging.rules import ends, figures
from guardalign.judging.rules.text import (
    NUMBER,
    number,
    passages,
    phrases,
    plain,
    sentences,
    without_quotations,
    word_set,
    words,
)

FUNCTION_WORDS = word_set(
    "a an the and or but so if then than that this these those there here of to in on at by for from with without about"
    " into over under after before as is am are was were be been being do does did have has had will would can could"
    " shall should may might must not no yes i you he she it we they me him her us them my your his its our their what"
    " which who when where why how all any some each every more most other such only just also too very now once again"
    " please"
)
LONGEST = 90
FEWEST_CONTENT_WORDS = 4
ENGLISH_SHARE = 0.2

_ROLE = re.compile(r"(?:^|[\s.!?])(?:user|agent|customer|assistant|system|support|human|bot)\s?:", re.IGNORECASE)
_SIGNS = re.compile(
    r"([,;:!?-])\1{3,}|\.{5,}|(?:[,;:.!?] ?){5,}|[#*_=|<>]{3,}|\{\w*\}"
    r"|\[(?:name|customer|agent|company|your|insert)[^\]]*\]",
    re.IGNORECASE,
)
_PROGRAM = re.compile(r"\b(?:AI|language) (?:assistant|model)\b|\bas an AI\b")
_ENDED = re.compile(r"[.!?][\"')]*$")
_ENDED_BY_CLOSING = re.compile(
    r"(?:^|[.!?] )(?:yours?|wishing|speak|talk|until|all|take|always|see|with|warm|best|kind|many|have|sincerely)\b"
    r"[^.!?]{3,40}$",
    re.IGNORECASE,
)
_TAKES_UP = re.compile(
    r"\?|\b(?:please|send|tell|let (?:me|us)|you|your"
    r"|(?:I|we) (?:will|can|cannot|would|shall|need)|(?:I|we)'(?:ll|d|m|ve|re))\b",
    re.IGNORECASE,
)


def content_words(text: str) -> list[str]:
    """Words that carry matter: no function words, none of one or two letters."""
    return [word for word in words(text) if word not in FUNCTION_WORDS and (len(word) > 2 or word[0].isdigit())]


def _stems(text: str) -> set[str]:
    return {re.sub(r"(?:'s|ing|ed|es|s|ly|ation|ment)$", "", word)[:6] for word in content_words(text)}


def _runs(tokens: list[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[place:] for place in range(length)), strict=False))


def repeated(text: str) -> str | None:
    """A sentence or seven words repeated, three words in a row used three times, or a word three times running."""
    said = Counter(" ".join(words(sentence)) for sentence in sentences(text))
    threes = _runs(words(text), 3)
    found = [sentence for sentence, count in said.items() if count > 1 and len(sentence.split()) > 2]
    found += [" ".join(run) for run, count in threes.items() if count > 2 or (len(set(run)) == 1 and run[0].isalpha())]
    found += [" ".join(run) for run, count in _runs(words(text), 7).items() if count > 1]
    return next(iter(found), None)


def faults(reply: str, customer: str, demanded: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with ``reply`` as a natural answer to the customer's messages; empty when nothing is.

    ``demanded`` are signatures and closings that guardrails ask for. A reply takes up the customer's messages when it
    shares a content word with them, asks, addresses the customer, or says what comes next; little fails that.
    """
    text = plain(reply)
    tokens = words(text)
    if not tokens:
        return ["there is no reply"]
    found = []
    body = ends.without_sign_off(text, demanded)
    matter = ends.without_greeting(body)
    if len(content_words(matter)) < FEWEST_CONTENT_WORDS:
        found.append("says almost nothing besides greeting and signature")
    if not (_ENDED.search(text) or _ENDED.search(body.rstrip(" -")) or _ENDED_BY_CLOSING.search(text)):
        found.append("is cut off")
    if len(tokens) > LONGEST:
        found.append(f"runs on for {len(tokens)} words")
    if again := repeated(body):
        found.append(f'repeats "{again}"')
    if match := _SIGNS.search(text):
        found.append(f'has the signs "{match.group()}"')
    if match := _ROLE.search(text):
        found.append(f'has the label "{match.group().strip()}"')
    if match := _PROGRAM.search(text):
        found.append(f'speaks as a program: "{match.group()}"')
    if len(tokens) > 5 and sum(token in FUNCTION_WORDS for token in tokens) < ENGLISH_SHARE * len(tokens):
        found.append("is no English sentence")
    if not (_stems(matter) & _stems(customer) or _TAKES_UP.search(matter)):
        found.append("does not take up the customer's message")
    return found


_DONE = (
    "(?:decided|marked|requested|expedited|prioriti[sz]ed|identified|resent|initiated|flagged|assigned|generated"
    "|refunded|sent|processed|issued|cancel+ed|arranged|booked"
    "|checked|fixed|resolved|solved|updated|changed"
    "|credited|approved|escalated|forwarded|transferred|contacted|called|spoken|talked|found|located|confirmed|reset"
    "|restored|activated|deactivated|blocked|unblocked|reserved|extended|removed|added|applied|scheduled|rescheduled"
    "|ordered|dispatched|shipped|replaced|reversed|closed|opened|passed|asked|informed|notified|reviewed|examined"
    "|traced"
    "|verified|unlocked|moved|upgraded|waived|corrected|started|completed|prepared|placed|set up|looked (?:into|at|up))"
)
_SENT = (
    "(?:refunded|sent|processed|issued|cancel+ed|arranged|booked|checked|fixed|updated|changed|credited|approved"
    "|escalated"
    "|forwarded|contacted|called|confirmed|reviewed|initiated)"
)
_ADVERB = "(?: (?:already|just|now|also|since|personally|meanwhile|successfully|immediately))*"
_DEED = phrases(
    rf"(?:I|we)(?:'ve| have){_ADVERB} {_DONE}|(?:I|we) (?:already |just |also )*{_SENT}",
    rf"(?:has|have|is|'s) (?:already|just|now) (?:been )?{_DONE}|(?:has|have|'s) been{_ADVERB} {_DONE}",
)
_SUPPOSED = phrases(
    "you|if|once|when|whether|after|until|as soon as|before|they|who|unless|why|how|where|what|may|might|should"
    "|every|asks?"
)
_MEASURE = r"(?:minute|hour|day|night|week|month|year|euro|cent|per ?cent)s?\b"
_CODE = re.compile(r"(?<![\w-])(?:[A-Z]{1,4}-?\d{3,}|\d{3,}(?:[ -]\d{3,})+)(?![\w-])")
_FIGURE = re.compile(rf"(?<![\w.,/-])(?:{NUMBER})(?![\w/])", re.IGNORECASE)
_DAY = phrases(
    "(?:mon|tues|wednes|thurs|fri|satur|sun)days?|tomorrow",
    "january|february|march(?= \\d)|april|june|july|august|september|october|november|december",
)
_NO_NAMES = word_set(
    "ok okay ms mr mrs dr miss sir madam english french german spanish italian dutch polish turkish latin european"
    " christmas easter internet"
)


def deeds(reply: str, told: str) -> list[str]:
    """Deeds that the reply says have been done and that the conversation does not mention."""
    return [
        found.text
        for found in passages(_DEED, without_quotations(reply))
        if not found.negated and not _SUPPOSED.search(found.before) and found.text.lower() not in told.lower()
    ]


def _figures(text: str, told: str) -> list[str]:
    """Figures of ``text`` that ``told`` lacks; a number in words counts when something is measured by it."""
    told = re.sub(r"(\w+)ieth\b", r"\1y", told)
    known = {number(match.group()) for match in _FIGURE.finditer(told)} | {
        float(run) for run in re.findall(r"\d+", told)
    }
    if phrases("two|both|second|another|twice").search(told):
        known.add(2.0)
    found = []
    for match in _FIGURE.finditer(text):
        quote = match.group()
        measures = re.match(rf"[ -](?:\w+[ -])?{_MEASURE}", text[match.end() :])
        if number(quote) not in known and quote.lower() not in ("one", "zero") and (quote[0].isdigit() or measures):
            found.append(quote)
    return found


def _names(text: str, told: str) -> list[str]:
    """Capitalised words within sentences that ``told`` does not have in some form."""
    known = {word.lower().removesuffix("'s") for word in re.findall(r"[A-Za-z][\w'&-]*", told)}
    stems = {word[:5] for word in known if len(word) > 4}
    found = []
    for sentence in sentences(text):
        for word in re.findall(r"[A-Za-z][\w'-]*", sentence)[1:]:
            base = word.lower().removesuffix("'s")
            ordinary = base in _NO_NAMES or base.split("'")[0] in FUNCTION_WORDS or _DAY.fullmatch(base)
            if not word[0].isupper() or (word.isupper() and len(word) <= 5) or ordinary:
                continue
            if not (
                base in known or base.rstrip("s") in known or base[:5] in stems or known.issuperset(base.split("-"))
            ):
                found.append(word)
    return found


def claims(reply: str, context: str) -> list[str]:
    """Figures, days, codes, links, names and deeds in ``reply`` that ``context`` (guardrails and history) lacks."""
    text, told = plain(reply), plain(context)
    links = [address for address in figures.addresses(text) if address.lower() not in told.lower()]
    bare = figures.ADDRESS.sub(" ", text)
    codes = [code for code in _CODE.findall(bare) if code.lower() not in told.lower()]
    bare = _CODE.sub(" ", bare)
    days = [match.group() for match in _DAY.finditer(bare) if match.group().lower().rstrip("s") not in told.lower()]
    return list(dict.fromkeys((*links, *codes, *_figures(bare, told), *days, *_names(bare, told), *deeds(text, told))))
