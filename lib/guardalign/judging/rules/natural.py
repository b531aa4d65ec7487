"""Whether a reply reads as a person's answer to the customer, and which of its claims have no source."""

from __future__ import annotations

import re
from collections import Counter

from guardalign.judging.rules import ends, figures
from guardalign.judging.rules.text import (
    WORDS,
    number,
    passages,
    patterns,
    plain,
    sentences,
    without_quotations,
    words,
)

_P = patterns("natural")
FUNCTION_WORDS = WORDS["function_words"]

LONGEST = 90
FEWEST_CONTENT_WORDS = 4
ENGLISH_SHARE = 0.2


def content_words(text: str) -> list[str]:
    """Words that carry matter: no function words, none of one or two letters."""
    return [word for word in words(text) if word not in FUNCTION_WORDS and (len(word) > 2 or word[0].isdigit())]


def _stems(text: str) -> set[str]:
    return {re.sub(r"(?:'s|ing|ed|es|s|ly|ation|ment)$", "", word)[:6] for word in content_words(text)}


def _runs(tokens: list[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(length)), strict=False))


def repeated(text: str) -> str | None:
    """A sentence or seven words repeated, three words in a row used three times, or a word three times running."""
    counts = Counter(" ".join(words(sentence)) for sentence in sentences(text))
    threes = _runs(words(text), 3)
    found = [sentence for sentence, count in counts.items() if count > 1 and len(sentence.split()) > 2]
    found += [" ".join(run) for run, count in threes.items() if count > 2 or (len(set(run)) == 1 and run[0].isalpha())]
    found += [" ".join(run) for run, count in _runs(words(text), 7).items() if count > 1]
    return next(iter(found), None)


def faults(reply: str, customer: str, demanded: tuple[str, ...]) -> list[str]:
    """What is wrong with ``reply``, a text, as a natural answer to the customer's messages; empty when nothing is.

    ``demanded`` are signatures and closings that guardrails ask for. A reply takes up the customer's messages when it
    shares a content word with them, asks, addresses the customer, or says what comes next; few replies fail this.
    """
    text = plain(reply)
    tokens, found = words(text), []
    body = ends.without_sign_off(text, demanded)
    matter = ends.without_greeting(body)
    if len(content_words(matter)) < FEWEST_CONTENT_WORDS:
        found.append("says almost nothing besides greeting and signature")
    if not (_P["ended"].search(text) or _P["ended"].search(body.rstrip(" -")) or _P["ended_by_closing"].search(text)):
        found.append("is cut off")
    if len(tokens) > LONGEST:
        found.append(f"runs on for {len(tokens)} words")
    if again := repeated(body):
        found.append(f'repeats "{again}"')
    if match := _P["signs"].search(text):
        found.append(f'has the signs "{match.group()}"')
    if match := _P["role"].search(text):
        found.append(f'has the label "{match.group().strip()}"')
    if match := _P["program"].search(text):
        found.append(f'speaks as a program: "{match.group()}"')
    if len(tokens) > 5 and sum(token in FUNCTION_WORDS for token in tokens) < ENGLISH_SHARE * len(tokens):
        found.append("is no English sentence")
    if not (_stems(matter) & _stems(customer) or _P["takes_up"].search(matter)):
        found.append("does not take up the customer's message")
    return found


def _deeds(reply: str, context: str) -> list[str]:
    """Deeds that the reply says have been done and that the conversation does not mention."""
    return [
        deed.text
        for deed in passages(_P["deed"], without_quotations(reply))
        if not deed.negated and not _P["supposed"].search(deed.before) and deed.text.lower() not in context.lower()
    ]


def _figures(text: str, context: str) -> list[str]:
    """Figures of ``text`` that ``context`` lacks; a number in words counts when something is measured by it."""
    context = re.sub(r"(\w+)ieth\b", r"\1y", context)
    known = {number(match.group()) for match in _P["figure"].finditer(context)}
    known |= {float(run) for run in re.findall(r"\d+", context)}
    if _P["two"].search(context):
        known.add(2.0)
    found = []
    for match in _P["figure"].finditer(text):
        quote = match.group()
        measures = _P["measured"].match(text, match.end())
        if number(quote) not in known and quote.lower() not in ("one", "zero") and (quote[0].isdigit() or measures):
            found.append(quote)
    return found


def _names(text: str, context: str) -> list[str]:
    """Capitalised words within sentences that ``context`` does not have in some form."""
    known = {word.lower().removesuffix("'s") for word in re.findall(r"[A-Za-z][\w'&-]*", context)}
    stems = {word[:5] for word in known if len(word) > 4}
    found = []
    for sentence in sentences(text):
        for word in re.findall(r"[A-Za-z][\w'-]*", sentence)[1:]:
            base = word.lower().removesuffix("'s")
            ordinary = base in WORDS["no_names"] or base.split("'")[0] in FUNCTION_WORDS or _P["day"].fullmatch(base)
            if not word[0].isupper() or (word.isupper() and len(word) <= 5) or ordinary:
                continue
            if not (
                base in known or base.rstrip("s") in known or base[:5] in stems or known.issuperset(base.split("-"))
            ):
                found.append(word)
    return found


def claims(reply: str, context: str) -> list[str]:
    """Figures, days, codes, links, names and deeds in ``reply`` that ``context`` (guardrails and history) lacks."""
    text, context = plain(reply), plain(context)
    links = [address for address in figures.addresses(text) if address.lower() not in context.lower()]
    bare = figures.ADDRESS.sub(" ", text)
    codes = [code for code in _P["code"].findall(bare) if code.lower() not in context.lower()]
    bare = _P["code"].sub(" ", bare)
    days = [
        match.group() for match in _P["day"].finditer(bare) if match.group().lower().rstrip("s") not in context.lower()
    ]
    figures_and_days = (*_figures(bare, context), *days)
    return list(dict.fromkeys((*links, *codes, *figures_and_days, *_names(bare, context), *_deeds(text, context))))
