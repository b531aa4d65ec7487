"""Conversations of the embedded world: a customer with an issue and a mood, an agent under guardrails, 2-10 exchanges.

The same seed gives the same bytes: every conversation draws from its own ``random.Random(f"{seed}/{number}")``.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from guardalign.data.construction import Rejection
from guardalign.data.conversations import Conversation, Turn
from guardalign.world.domains import DOMAINS, PHRASES, POOLS, Domain
from guardalign.world.kinds import BY_KEY, KINDS, Kind, Rule, word_rule
from guardalign.world.situation import Act, Mood, Situation
from guardalign.world.writing import Setting, capital, keep, plain_plan, render, spoil

LENGTHS, LENGTH_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 10), (3, 5, 6, 6, 5, 3, 2, 1, 1)
MIDDLE_ACTS: tuple[Act, ...] = ("how", "when", "fee", "hours", "refund", "human", "complain", "offtopic")
OPENING = (
    "start_phrase", "greet_name", "title", "thank_contact", "name_company", "acknowledge", "reassure", "ask_reference",
)  # fmt: skip
ENDING = (
    "closing_phrase", "signature", "at_most_sentences", "no_exclamation", "no_emoji", "one_question", "no_contractions",
)  # fmt: skip
CONDITIONAL: dict[str, str] = {
    "fact_when": "when", "fact_fee": "fee", "fact_hours": "hours", "fact_page": "how", "number_steps": "how",
    "refund_limit": "refund", "team": "human", "stay_on_topic": "offtopic", "repeat_reference": "give_reference",
    "never_ask_again": "give_reference", "anything_else": "close", "apologise_upset": "angry",
    "offer_callback": "hurried",
}  # fmt: skip
BANS = tuple(kind.key for kind in KINDS if kind.prohibition and kind.key not in (*ENDING, *CONDITIONAL))


@dataclass(frozen=True)
class Script:
    """A conversation, a rejected reply by the index of each tagged agent turn, and what its writer knew."""

    conversation: Conversation
    rejections: dict[int, Rejection]
    situations: dict[int, Situation]
    rules: tuple[Rule, ...]


def _setting(rng: random.Random, domain: Domain) -> Setting:
    customer_words, agent_words = rng.choice(domain.issues)
    letters = "".join(rng.choices("ABCDEFGHKLMNPRSTVWXZ", k=2))
    return Setting(
        company=rng.choice(domain.companies),
        name=rng.choice(POOLS["customers"]),
        kind=domain.reference,
        reference=f"{letters}{rng.randint(1000, 9999)}",
        customer_issue=customer_words,
        issue=agent_words,
        process=rng.choice(domain.processes),
        service=rng.choice(domain.services),
        task=rng.choice(domain.tasks),
    )


def _acts(rng: random.Random, length: int, reference_first: bool) -> list[Act]:
    middle = rng.sample(MIDDLE_ACTS, min(length, len(MIDDLE_ACTS)))
    acts: list[Act] = ["open"]
    if not reference_first and length > 2 and rng.random() < 0.75:
        acts.append("give_reference")
    acts += middle[: max(length - len(acts) - 1, 0)]
    return [*acts, "close" if rng.random() < 0.8 or not middle else middle[-1]][:length]


def some_kinds(count: int, seed: int) -> tuple[str, ...]:
    """Keys of ``count`` kinds, an equal share of those that open a reply, of conditional ones, bans and endings."""
    rng = random.Random(f"{seed}/kinds")
    groups = [rng.sample(keys, len(keys)) for keys in (OPENING, tuple(CONDITIONAL), BANS, ENDING)]
    ranked = [((rank + 0.5) / len(keys), key) for keys in groups for rank, key in enumerate(keys)]
    return tuple(key for _, key in sorted(ranked))[:count]


def _choose_kinds(rng: random.Random, present: set[str], among: Collection[str] | None) -> list[Kind]:
    """Four to seven kinds (fewer ``among`` few) that do not contradict each other, most of which the conversation will
    put to the test."""
    fitting = [key for key, trigger in CONDITIONAL.items() if trigger in present]
    other = [key for key in CONDITIONAL if key not in fitting]

    def draw(keys: Sequence[str], count: int) -> list[str]:
        allowed = [key for key in keys if among is None or key in among]
        return rng.sample(allowed, min(len(allowed), count))

    wanted = [
        *draw(OPENING, rng.choice((1, 1, 2))),
        *draw(fitting, rng.choice((1, 2, 2, 3))),
        *draw(other, rng.choice((0, 0, 1))),
        *draw(BANS, rng.choice((1, 1, 2))),
        *draw(ENDING, rng.choice((1, 1, 2))),
    ]
    chosen: list[Kind] = []
    for key in wanted:
        kind = BY_KEY[key]
        if not any(kind.key in taken.excludes or taken.key in kind.excludes for taken in chosen):
            chosen.append(kind)
    rng.shuffle(chosen)
    return chosen


def _user_text(rng: random.Random, setting: Setting, situation: Situation) -> str:
    introduce = situation.first and situation.name
    parts = [setting.fill(rng.choice(PHRASES["introductions"]))] if introduce else []
    parts.append(rng.choice(PHRASES["user"][situation.act]).format(**vars(setting) | {"issue": setting.customer_issue}))
    if situation.first and situation.reference:
        parts.append(f"My {setting.kind} is {setting.reference}.")
    if situation.mood != "calm":
        parts.insert(rng.randint(1 if introduce else 0, len(parts)), rng.choice(PHRASES["moods"][situation.mood]))
    greeting = rng.choice(PHRASES["greetings"]) if situation.first else ""
    text = " ".join(map(capital, parts))
    return greeting + (text[0].lower() + text[1:] if greeting and not text.startswith("I ") else text)


def _situations(rng: random.Random, setting: Setting) -> list[Situation]:
    length = rng.choices(LENGTHS, LENGTH_WEIGHTS)[0]
    reference_first = rng.random() < 0.3
    mood: Mood = rng.choice(("calm", "angry", "hurried", "angry"))
    named = rng.random() < 0.6
    reference_given, situations = reference_first, []
    for index, act in enumerate(_acts(rng, length, reference_first)):
        reference_given = reference_given or act == "give_reference"
        shown: Mood = mood if act != "close" and rng.random() < 0.55 else "calm"
        situations.append(
            Situation(
                first=index == 0,
                act=act,
                mood=shown,
                name=setting.name if named else None,
                reference=setting.reference if reference_given else None,
                reference_now=act == "give_reference" or (index == 0 and reference_first),
                issue=setting.issue,
            )
        )
    return situations


def _write(
    situation: Situation,
    setting: Setting,
    applicable: Sequence[Rule],
    broken: Sequence[Rule],
    seed: str,
    careless: bool,
) -> str | None:
    rng = random.Random(seed)
    plan = plain_plan(situation, setting, rng, careless)
    for rule in applicable:
        if rule not in broken:
            keep(plan, rule, rng)
    for rule in broken:
        spoil(plan, rule, rng)
    return render(plan, rng)


def _reject(
    rng: random.Random, situation: Situation, setting: Setting, rules: Sequence[Rule], chosen: str, seed: str
) -> Rejection | None:
    """Of several spoilt replies, one about as long as the chosen one: length must not tell the two apart."""
    applicable = [rule for rule in rules if rule.kind.applies(situation)]
    candidates: list[tuple[int, Rejection]] = []
    for attempt in range(14):
        count = min(len(applicable), rng.choices((1, 2, 3), (5, 4, 2))[0])
        broken = rng.sample(applicable, count)
        text = _write(
            situation, setting, applicable, broken, seed if rng.random() < 0.5 else f"{seed}/{attempt}", careless=False
        )
        if text and text != chosen:
            numbers = tuple(sorted(rules.index(rule) + 1 for rule in broken))
            candidates.append((abs(len(text.split()) - len(chosen.split())), Rejection(text, numbers)))
    candidates.sort(key=lambda candidate: candidate[0])
    return rng.choice(candidates[:2])[1] if candidates else None


def write_script(
    seed: str,
    domain: Domain,
    identifier: str = "",
    habits: Mapping[str, float] | None = None,
    kinds: Collection[str] | None = None,
) -> Script:
    """Write one conversation, with guardrails of ``kinds`` alone (keys; default: all), which are never worded in the
    last way of their kind. Without ``habits`` its agent keeps every guardrail that applies.

    ``habits`` (kind's key to the chance that it is kept at a turn) makes agents as careless as the text a base model
    is pretrained on; such scripts have no rejections.
    """
    rng = random.Random(seed)
    setting = _setting(rng, domain)
    narrowed = replace(domain, companies=(setting.company,), processes=(setting.process,), services=(setting.service,))
    situations = _situations(rng, setting)
    present = {str(situation.act) for situation in situations} | {str(situation.mood) for situation in situations}
    withheld = 0 if kinds is None else 1
    rules = tuple(word_rule(kind, rng, narrowed, withheld) for kind in _choose_kinds(rng, present, kinds))
    while (replies := _replies(rng, seed, situations, setting, rules, habits)) is None:
        # What the guardrails ask for does not fit the sentence limit: the limit goes.
        rules = tuple(rule for rule in rules if rule.kind.key != "at_most_sentences")
    turns: list[Turn] = []
    rejections: dict[int, Rejection] = {}
    for index, (situation, reply) in enumerate(zip(situations, replies, strict=True)):
        applicable = any(rule.kind.applies(situation) for rule in rules)
        turns.append(Turn(role="user", text=_user_text(rng, setting, situation)))
        turns.append(Turn(role="agent", text=reply, tagged=applicable and habits is None))
        if applicable and habits is None:
            rejected = _reject(rng, situation, setting, rules, reply, f"{seed}/{index}")
            if rejected:
                rejections[len(turns) - 1] = rejected
    conversation = Conversation(
        id=identifier or seed, domain=domain.name, turns=tuple(turns), guardrails=tuple(rule.text for rule in rules)
    )
    return Script(conversation, rejections, {2 * index + 1: each for index, each in enumerate(situations)}, rules)


def _replies(
    rng: random.Random,
    seed: str,
    situations: Sequence[Situation],
    setting: Setting,
    rules: Sequence[Rule],
    habits: Mapping[str, float] | None,
) -> list[str] | None:
    replies = []
    for index, situation in enumerate(situations):
        applicable = [rule for rule in rules if rule.kind.applies(situation)]
        broken = [rule for rule in applicable if habits is not None and rng.random() >= habits[rule.kind.key]]
        reply = _write(situation, setting, applicable, broken, f"{seed}/{index}", careless=habits is not None)
        if reply is None:
            return None
        replies.append(reply)
    return replies


def write_scripts(
    count: int,
    seed: int,
    domains: Sequence[str],
    prefix: str = "world",
    habits: Mapping[str, float] | None = None,
    kinds: Collection[str] | None = None,
) -> list[Script]:
    """``count`` scripts, domains in turn; ids are ``<prefix>-<number>``. Raises KeyError for an unknown domain."""
    return [
        write_script(
            f"{seed}/{prefix}/{number}",
            DOMAINS[domains[number % len(domains)]],
            f"{prefix}-{number:04d}",
            habits,
            kinds,
        )
        for number in range(count)
    ]
