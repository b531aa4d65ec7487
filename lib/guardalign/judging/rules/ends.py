"""How a reply begins and ends: greeting, signature, sign-off."""

from __future__ import annotations

import re

from guardalign.judging.rules.text import WORDS, patterns, plain, sentences, words

_P = patterns("ends")


def greeting(reply: str) -> str | None:
    """The greeting that the reply begins with."""
    text = plain(reply)
    match = _P["greeting"].match(text) or _P["second_word"].match(text)
    return match.group().strip() if match else None


def sign_off(reply: str) -> str | None:
    """A signature, name, team or formal close at the end. "Thanks, Mei!" is no signature, "Thanks, Mei" is one."""
    text = plain(reply)
    match = _P["signed"].search(text)
    if match and text.endswith("!") and match[1].lower().startswith("thanks"):
        match = None
    if match and (_P["formal_end"].search(match[1]) or re.search(r"[\s(-][A-Z]", match[1][1:])):
        return match[1].strip()
    dashed = _P["dashed"].search(text)
    if dashed and _is_name(dashed[1]):
        return dashed.group().strip()
    last = next(reversed(sentences(text)), "")
    if last and last != text and len(words(last)) <= 6 and not last.endswith("?") and _is_name(last):
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
    first = next(iter(sentences(text)), "")
    return text.replace(first, "", 1) if _P["greeting"].match(first) and len(words(first)) <= 6 else text


def _is_name(text: str) -> bool:
    """Whether ``text`` reads as a name, a company or a team rather than as a sentence."""
    tokens = re.findall(r"[A-Za-z][\w'-]*", text)
    if not tokens or tokens[0].lower() in WORDS["no_name"] or text[-1] in ",:;" or text[0].isdigit():
        return False
    if _P["person_of_office"].match(text) or _P["person_from"].match(text) or _P["your_office"].match(text):
        return True
    bare = re.findall(r"[A-Za-z][\w'-]*", re.sub(r"\([^)]*\)", "", text))
    names = [token for token in bare if token.lower() not in WORDS["lower_in_names"]]
    return bool(names) and all(token[0].isupper() and token.lower() not in WORDS["pronouns"] for token in names)
