"""How a reply begins and ends: greeting, signature, sign-off."""

from __future__ import annotations

import re

from guardalign.judging.rules.text import plain, sentences, word_set, words

GREETING = re.compile(
    r"\W*(?:(?:oh|well|yes|ah),? )?(?:hello|hi|hey|hiya|howdy|dear|welcome|greetings"
    r"|(?:a )?(?:very |warm |many |kind )+(?:hello|welcome|greetings?)"
    r"|good (?:day|morning|afternoon|evening)|good to hear from you|nice to (?:hear from|meet) you)\b",
    re.IGNORECASE,
)
_SECOND_WORD = re.compile(r"[\w' ]{2,14}, (?:hello|hi|hey)\b", re.IGNORECASE)
_VALEDICTION = (
    "(?i:(?:with )?(?:best|kind|kindest|warm|warmest|friendly) (?:regards|wishes|greetings)|regards"
    "|(?:yours )?(?:sincerely|faithfully|truly)|yours|cheers|best|warmly|all the best|take care|many thanks|thanks"
    "|sincerely yours|with thanks|your friend)"
)
_SIGNED = re.compile(
    rf"(?:^|[.!?\n,;]\s*|\s-\s*)({_VALEDICTION}(?:,| -|\n)?\s*"
    r"(?:[A-Z(][\w&'().-]*,?\s*(?:(?:from|of|at|the|and|&|in|for|on)\s+)*(?:(?:team|desk|service|care)\)?\s*)?){0,6}"
    r"[.!]?)\s*$"
)
_FORMAL_END = re.compile(r"\b(?:regards|sincerely|faithfully|wishes)\W*$", re.IGNORECASE)
_DASHED = re.compile(r"(?:^|[\s.!?])-\s*([A-Z][\w&'-]*(?:[ ,(]+[\w&'-]+\)?){0,6})[.!]?$")
_OFFICE = "(?:team|desk|engineers|line|department|office|crew|people|service|care|board|counter)"
_PERSON_OF_OFFICE = re.compile(
    r"[A-Z][\w'-]+(?: [A-Z][\w'-]+)?(?:,| from| of| at| \()(?: (?:the|your|our))? ?"
    rf"(?:[\w-]+ ){{0,3}}{_OFFICE}\)?\.?$"
)
_PERSON_FROM = re.compile(r"[A-Z][\w'-]+ (?:from|at) (?:the )?[\w-]+(?: [\w-]+)?$")
_YOUR_OFFICE = re.compile(rf"(?:your|the|our) (?:[\w-]+ ){{0,3}}{_OFFICE}\b\.?$", re.IGNORECASE)
_LOWER_IN_NAMES = word_set("from of the at and team desk your for in")
_PRONOUNS = word_set(
    "i i'm i'll i've i'd we we'll we're we've you you're you'll he she it it's they this that these those there if in"
    " to but or as so now however also then once"
)
_NO_NAME = word_set(
    "thanks thank sorry yes no okay ok sure hello goodbye bye great absolutely understood noted welcome please good"
    " have enjoy take talk see until speak all greetings best hi dear more what how why which when not safe wishing"
    " sleep rest everything one two let done agreed exactly right fair promise"
)


def greeting(reply: str) -> str | None:
    """The greeting that the reply begins with."""
    text = plain(reply)
    match = GREETING.match(text) or _SECOND_WORD.match(text)
    return match.group().strip() if match else None


def sign_off(reply: str) -> str | None:
    """A signature, name, team or formal close at the end. "Thanks, Mei!" is no signature, "Thanks, Mei" is one."""
    text = plain(reply)
    match = _SIGNED.search(text)
    if match and text.endswith("!") and match[1].lower().startswith("thanks"):
        match = None
    if match and (_FORMAL_END.search(match[1]) or re.search(r"[\s(-][A-Z]", match[1][1:])):
        return match[1].strip()
    dashed = _DASHED.search(text)
    if dashed and _is_name(dashed[1]):
        return dashed.group().strip()
    last = sentences(text)[-1] if text else ""
    if last != text and len(words(last)) <= 6 and not last.endswith("?") and _is_name(last):
        return last
    return None


def without_sign_off(reply: str, demanded: tuple[str, ...] = ()) -> str:
    """The reply less its signature; ``demanded`` are signatures and closings that guardrails ask for."""
    text = plain(reply)
    for phrase in (*demanded, sign_off(text) or ""):
        if phrase and text.rstrip(" .!\"'").endswith(phrase.rstrip(" .!")):
            return text[: text.rindex(phrase.rstrip(" .!"))]
    return text


def without_greeting(text: str) -> str:
    """``text`` less a greeting that is a sentence of its own."""
    first = sentences(text)[0] if text.strip() else ""
    return text.replace(first, "", 1) if GREETING.match(first) and len(words(first)) <= 6 else text


def _is_name(text: str) -> bool:
    """Whether ``text`` reads as a name, a company or a team rather than as a sentence."""
    tokens = re.findall(r"[A-Za-z][\w'-]*", text)
    if not tokens or tokens[0].lower() in _NO_NAME or text[-1] in ",:;" or text[0].isdigit():
        return False
    if _PERSON_OF_OFFICE.match(text) or _PERSON_FROM.match(text) or _YOUR_OFFICE.match(text):
        return True
    bare = re.findall(r"[A-Za-z][\w'-]*", re.sub(r"\([^)]*\)", "", text))
    names = [token for token in bare if token.lower() not in _LOWER_IN_NAMES]
    return bool(names) and all(token[0].isupper() and token.lower() not in _PRONOUNS for token in names)
