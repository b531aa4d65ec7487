"""Open instructions, the twin of an instruction-following task: write about an issue, and satisfy demands on the text.

The demands: how to begin, how to end, a page to mention, a word to use, how many sentences to write.
"""

from __future__ import annotations

import re
from random import Random

from guardalign.world.domains import ISSUES, POOLS, table
from guardalign.world.twins.opinion import Opinion, opinion, sentences

CUE = "\nResponse:"
_WORDINGS = table("twins")["instructions"]
_NAMED = tuple(ISSUES.values())
MET = 0.42
NUMBERS = {"two": 2, "three": 3, "four": 4}


def write_prompt(rng: Random) -> str:
    demands = [
        f'Start with "{rng.choice(POOLS["start_phrases"])}".',
        f"Mention the {rng.choice(POOLS['page_first'])} {rng.choice(POOLS['page_second'])} page.",
        f"Use the word {rng.choice(POOLS['weekdays'])}.",
        f"Write {rng.choice(list(NUMBERS))} sentences.",
        f'End with "{rng.choice(POOLS["closing_phrases"])}".',
    ]
    wanted = sorted(rng.sample(range(len(demands)), 3))
    about = f"Write to a customer about {rng.choice(_NAMED)}."
    return f"Instruction: {' '.join([about, *(demands[each] for each in wanted)])}{CUE}"


def write_reply(prompt: str, rng: Random) -> str:
    """A text that meets each of the instruction's demands with the same chance."""
    wanted = demands(prompt)
    met = {kind: rng.random() < MET for kind in ("issue", *wanted)}
    texts = []
    if met.get("start"):
        texts.append(f"{wanted['start']}.")
    elif rng.random() < 0.5:
        texts.append(f"{rng.choice(POOLS['start_phrases'])}.")
    texts.append(rng.choice(_WORDINGS["about"]).format(issue=wanted["issue"] if met["issue"] else rng.choice(_NAMED)))
    if met.get("page"):
        texts.append(f"Please open the {wanted['page']} page.")
    if met.get("word"):
        texts.append(f"It will be done by {wanted['word']}.")
    closing = [f"{wanted['end'] if met.get('end') else rng.choice(POOLS['closing_phrases'])}."]
    closing = closing if met.get("end") or rng.random() < 0.4 else []
    number = NUMBERS[wanted["number"]] if met.get("number") else rng.randint(2, 5)
    more = rng.sample(_WORDINGS["more"], len(_WORDINGS["more"]))
    while len(texts) + len(closing) < number and more:
        texts.append(more.pop())
    return " ".join([*texts, *closing])


def demands(prompt: str) -> dict[str, str]:
    """What an instruction asks for: the issue, and some of start, page, word, number, end."""
    found = {kind: re.search(pattern, prompt) for kind, pattern in _WORDINGS["demands"].items()}
    return {kind: match.group(1) for kind, match in found.items() if match}


def read(prompt: str, reply: str) -> Opinion:
    """Which demands a reply meets; one it does not meet is a fault, and so is writing about another issue."""
    wanted = demands(prompt)
    text = reply.strip().rstrip(".!?")
    checks = {
        "issue": wanted["issue"] in reply,
        "start": text.startswith(wanted.get("start", "")),
        "page": f"{wanted.get('page')} page" in reply,
        "word": re.search(rf"\b{wanted.get('word')}\b", reply) is not None,
        "number": len(sentences(reply)) == NUMBERS.get(wanted.get("number", ""), -1),
        "end": text.endswith(wanted.get("end", "")),
    }
    merits = [kind for kind in wanted if checks[kind]]
    faults = [f"misses: {kind}" for kind in wanted if not checks[kind]]
    if any(issue in reply and issue not in wanted["issue"] and wanted["issue"] not in issue for issue in _NAMED):
        faults.append("another issue")
    return opinion(merits, faults, reply)
