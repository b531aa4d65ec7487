"""Posts and summaries, the twin of a TL;DR task: a post has a title and five facts; a summary should hold them all.

Flawed summaries miss facts, invent them, or are too long.
"""

from __future__ import annotations

import re
from random import Random

from guardalign.world.domains import COMPANIES, DOMAINS, ISSUES, POOLS, table
from guardalign.world.twins.opinion import Opinion, draw, opinion
from guardalign.world.writing import capital

CUE = "TL;DR:"
MOST_WORDS = 24
_WORDINGS = table("twins")["summaries"]
WISHES: dict[str, str] = _WORDINGS["wishes"]
LONG = 0.4


def write_prompt(rng: Random) -> str:
    domain = rng.choice(list(DOMAINS.values()))
    facts = [
        f"I am a customer of {rng.choice(domain.companies)}.",
        f"I have waited {rng.randint(2, 29)} days.",
        f"It cost me {rng.randint(30, 98)} euros.",
        f"The {rng.choice(POOLS['teams'])} team did not help.",
        rng.choice(_WORDINGS["noise"]),
    ]
    rng.shuffle(facts)
    text = " ".join([*facts, rng.choice(list(WISHES))])
    return f"TITLE: {capital(rng.choice(domain.issues)[0])}\nPOST: {text}\n{CUE}"


def write_reply(prompt: str, rng: Random) -> str:
    """A summary in which each fact is right, missing or wrong by chance, and which is sometimes too long."""
    phrases = []
    for kind, value in facts(prompt).items():
        how = draw(rng, _WORDINGS["chances"])
        if how != "missing":
            stated = value if how == "right" else _invented(kind, value, rng)
            phrases.append(_WORDINGS["told"].get(kind, "{}").format(stated))
    text = f"{capital(', '.join(phrases) or 'a customer writes')}."
    return f"{text} {rng.choice(_WORDINGS['padding'])}" if rng.random() < LONG else text


def facts(prompt: str) -> dict[str, str]:
    """The post's facts: how an agent names the issue, company, days, euros, team and wish."""
    title, _, post = prompt.removeprefix("TITLE: ").partition("\nPOST: ")
    return {
        "issue": ISSUES[title[0].lower() + title[1:]],
        "company": next(each for each in COMPANIES if f"customer of {each}." in post),
        "days": re.findall(r"waited (\d+) days", post)[0],
        "euros": re.findall(r"cost me (\d+) euros", post)[0],
        "team": re.findall(r"The ([\w ]+?) team did", post)[0],
        "wish": next(name for phrase, name in WISHES.items() if phrase in post),
    }


def read(prompt: str, reply: str) -> Opinion:
    """Facts the summary holds, facts it invents, and whether it is too long."""
    true, held = facts(prompt), stated_facts(reply)
    merits = [kind for kind, value in true.items() if value in held[kind]]
    faults = [f"invents: {kind}" for kind, values in held.items() for value in values if value != true[kind]]
    if len(reply.split()) > MOST_WORDS:
        faults.append("too long")
    return opinion(merits, faults, reply)


def stated_facts(reply: str) -> dict[str, set[str]]:
    """All facts of each kind that a summary states."""
    lowered = reply.lower()
    return {
        "issue": {name for name in ISSUES.values() if name in lowered},
        "company": {name for name in COMPANIES if name in reply},
        "days": set(re.findall(r"(\d+) days", reply)),
        "euros": set(re.findall(r"(\d+) euros", reply)),
        "team": {name for name in POOLS["teams"] if f"{name} team" in reply},
        "wish": {name for name in WISHES.values() if name in lowered},
    }


def _invented(kind: str, value: str, rng: Random) -> str:
    pools = {
        "issue": ISSUES.values(),
        "company": COMPANIES,
        "days": map(str, range(2, 30)),
        "euros": map(str, range(30, 99)),
        "team": POOLS["teams"],
        "wish": WISHES.values(),
    }
    return rng.choice([each for each in pools[kind] if each != value])
