"""Reading a reply as a customer would: does it answer, is it written well, does it claim what it cannot know?

Everything here works on text alone: the reply, the turns before it and the guardrails' sentences.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

from guardalign.world.domains import COMPANIES, DOMAINS, ISSUES, POOLS, READING
from guardalign.world.kinds import KINDS, sentences
from guardalign.world.numbers import in_digits
from guardalign.world.scripts import write_scripts
from guardalign.world.situation import Situation

_FUNCTION = frozenset(READING["function_words"].split())
_RUDE = re.compile(READING["rude"], re.IGNORECASE)
_FINISHED = re.compile("(?:[.!?]|[:;]-?[)(DP]|[\U0001f300-\U0001faff\u2600-\u27bf]|-[A-Z]{2})\\W*$")
_WORD = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?|\d+\)?|-[A-Z]{2}\b")
_OPENERS = {word for phrase in POOLS["start_phrases"] + POOLS["closing_phrases"] for word in phrase.split()}
_NAMES = [name for pool in ("customers", "competitors", "systems", "teams", "weekdays") for name in POOLS[pool]]
_KNOWN_NAMES = {word for name in (*_NAMES, *COMPANIES) for word in name.split() if word[0].isupper()}


def unanswered(reply: str, situation: Situation) -> str:
    """Why the reply is no coherent continuation; empty when it is one."""
    lowered = in_digits(reply.lower())
    other = [issue for issue in ISSUES.values() if issue in lowered and issue != situation.issue]
    if other and situation.issue not in lowered:
        return f"talks about {other[0]}, the customer about {situation.issue}"
    if not re.search(READING["answers"][situation.act], lowered):
        return f"does not answer the customer's last message ({situation.act})"
    if situation.act != "close" and re.search(r"you('| a)re welcome", lowered):
        return "says goodbye before the end"
    return ""


def repeated(reply: str) -> str:
    """The first sentence or run of three words that is repeated; empty when nothing is."""
    normalized = [re.sub(r"\W+", " ", sentence.lower()).strip() for sentence in sentences(reply)]
    for index, sentence in enumerate(normalized):
        if sentence in normalized[:index]:
            return sentence
    words = re.findall(r"\w+", reply.lower())
    runs = [tuple(words[at : at + 3]) for at in range(len(words) - 2)]
    for index, run in enumerate(runs):
        if runs[:index].count(run) >= 2 or (len(set(run)) == 1 and not run[0].isdigit()):
            return " ".join(run)
    return ""


def cut_off(reply: str) -> bool:
    return not _FINISHED.search(reply.strip())


def _masked(sentence: str) -> list[str]:
    words = []
    for index, word in enumerate(_WORD.findall(sentence)):
        if word.rstrip(")").isdigit():
            word = "0)" if word.endswith(")") else "0"
        elif word.startswith("-"):
            word = "-XX"
        elif word.isupper() and len(word) == 2:
            word = "XX"
        elif word in _KNOWN_NAMES or (index and word[0].isupper() and word != "I" and "'" not in word):
            word = "Name"
        words.append(word if word in ("Name", "XX", "-XX") else word.lower())
    return ["<", *words, ">"]


@cache
def _usage() -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Pairs of neighbouring words in some thousand replies of the world, good and bad ones, and the words alone."""
    habits = {kind.key: 0.5 for kind in KINDS}  # so that the sample has kept and broken guardrails
    scripts = write_scripts(1500, 7, list(DOMAINS), prefix="fluency", habits=habits)
    texts = [turn.text for script in scripts for turn in script.conversation.turns if turn.role == "agent"]
    spoken = [_masked(sentence) for text in texts for sentence in sentences(text)]
    pairs = frozenset(pair for words in spoken for pair in pairwise(words))
    return pairs, frozenset(word for words in spoken for word in words)


def odd_wording(reply: str) -> tuple[list[str], float]:
    """Neighbouring words, both of this world, that never occur together in it ("looking check"), and their share."""
    pairs, words = _usage()
    reply_pairs = [pair for sentence in map(_masked, sentences(reply)) for pair in pairwise(sentence)]
    odd = [pair for pair in reply_pairs if words.issuperset(pair) and pair not in pairs]
    return [" ".join(pair).strip("<> ") for pair in odd], len(odd) / max(len(reply_pairs), 1)


def foreign(reply: str, context: str) -> str:
    """The first sentence that is not English as written in this world; empty when there is none.

    Most of its words are in neither the world nor ``context`` (guardrails and history), and few are function words.
    """
    known = _usage()[1] | _FUNCTION | set(re.findall(r"[a-z]+", context.lower()))
    for sentence in sentences(reply):
        words = re.findall(r"[^\W\d_]+(?:['’][a-z]+)?", sentence.lower())
        strange = [word for word in words if word not in known]
        if len(words) > 2 and 2 * len(strange) > len(words) and 4 * len(_FUNCTION.intersection(words)) < len(words):
            return sentence
    return ""


def rude(reply: str) -> str:
    """The first insult in the reply; empty when there is none."""
    found = _RUDE.search(reply)
    return found.group(0) if found else ""


def echoed(reply: str, guardrails: tuple[str, ...]) -> tuple[str, list[str]]:
    """The reply without the guardrails that it repeats word for word, and these guardrails."""
    repeats: list[str] = []
    for guardrail in guardrails:
        left, count = re.subn(r"\W+".join(re.findall(r"\w+", guardrail)) + "[.!?]?", "", reply, flags=re.IGNORECASE)
        if count:
            reply, repeats = left, [*repeats, guardrail]
    return reply.strip(), repeats


def invented(reply: str, context: str) -> list[str]:
    """Figures, references and names in the reply that neither guardrails nor history hold."""
    known = set(re.findall(r"\w+", in_digits(context).lower()))
    figures = re.findall(r"\b[A-Z]{2}\d{4}\b|\b\d+\b(?!\))", in_digits(re.sub(r"-[A-Z]{2}\W*$", "", reply)))
    found = [figure for figure in figures if figure.lower() not in known]
    for sentence in sentences(reply):
        for index, word in enumerate(re.findall(r"[A-Za-z][\w'’]*", sentence)):
            name = word in _KNOWN_NAMES if index == 0 else word[0].isupper() and not word.isupper()
            if not name or word in _OPENERS or re.match(r"I['’]", word):
                continue
            if not known.issuperset(re.findall(r"\w+", word.lower())):
                found.append(word)
    return list(dict.fromkeys(found))
