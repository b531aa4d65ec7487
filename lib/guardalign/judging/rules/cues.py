"""Surface cues in a customer's message: the words by which a guardrail becomes due."""

from __future__ import annotations

from guardalign.judging.rules.text import literal, patterns, plain, sentences

_P = patterns("cues")
ORDER = _P["gives_number"]


# words that the sentence must have besides the cue
_BESIDES = {"asks_price": _P["asking"], "asks_duration": _P["asking"], "says_years": _P["customer"]}


def cue_quote(name: str, message: str, values: dict[str, str] | None = None) -> str | None:
    """The words of ``message`` that give cue ``name``, or None.

    ``values`` are the guardrail's: cue "rival" is the name of the rival.
    """
    text, values = plain(message), values or {}
    if name == "rival":
        match = literal(values["rival"]).search(text)
        return match.group() if match else None
    for sentence in sentences(text):
        match = _P[name].search(sentence)
        if match and (name not in _BESIDES or _BESIDES[name].search(sentence)):
            return match.group()
    return None
