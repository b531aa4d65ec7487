"""How agents of the embedded world write: a plan of sentences by slot, which guardrails then shape or spoil.

A reply starts as a plain plan for the customer's last message; `keep` changes it so that a guardrail is followed,
`spoil` so that it is broken in one of the ways agents break it. Nothing here looks at a finished text.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from guardalign.world import domains as pools
from guardalign.world import phrases
from guardalign.world.kinds import Rule, initials, page_name
from guardalign.world.situation import Act, Situation

SLOTS = ("greet", "thanks", "company", "apology", "acknowledge", "reassure", "core", "detail", "request", "offer", "bad", "more", "closing")  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What stays the same through a conversation: who talks to whom about what."""

    company: str
    name: str
    reference_kind: str
    reference: str
    issue_said: str
    issue: str
    process: str
    service: str
    task: str


@dataclass
class Plan:
    """A reply before it is text. ``needed`` holds sentences that a kept guardrail asks for."""

    situation: Situation
    setting: Setting
    slots: dict[str, list[str]] = field(default_factory=lambda: {slot: [] for slot in SLOTS})
    needed: set[str] = field(default_factory=set)
    page: str | None = None
    numbered: bool = False
    signature: str = ""
    exclaim: bool = False
    smiley: str = ""
    contracted: bool = False
    must_contract: bool = False
    questions: int = 0
    limit: int | None = None
    overlong: int | None = None

    def put(self, slot: str, sentence: str, needed: bool = False) -> None:
        """Replace what stands in a slot."""
        self.slots[slot] = [sentence]
        if needed:
            self.needed.add(sentence)

    def add(self, slot: str, sentence: str) -> None:
        self.slots[slot].append(sentence)
        self.needed.add(sentence)

    def sentences(self) -> list[str]:
        return [sentence for slot in SLOTS for sentence in self.slots[slot]]


def plain_plan(situation: Situation, setting: Setting, rng: random.Random, careless: bool = False) -> Plan:
    """What an agent without guardrails would write: the core of the answer, and some courtesies by chance.

    A careless agent also states what nobody told it: a company, a duration, a price, a team.
    """
    plan = Plan(situation, setting)

    def maybe(chance: float, slot: str, *sentences: str) -> None:
        if rng.random() < chance and sentences:
            plan.put(slot, rng.choice(sentences), slot == "core")

    core = rng.choice(phrases.CORE[situation.act])
    plan.put("core", core.format(issue=setting.issue, Issue=setting.issue[0].upper() + setting.issue[1:]), True)
    if careless:
        maybe(0.4, "core", *_invented(situation.act, setting, rng))
    maybe(0.3, "greet", "Hello.", "Hi.", "Good morning.")
    if situation.first:
        maybe(0.25, "thanks", *phrases.THANKS)
        maybe(0.2 if careless else 0, "company", *(text.format(company=setting.company) for text in phrases.COMPANY))
        maybe(0.3, "acknowledge", *(text.format(issue=setting.issue) for text in phrases.ACKNOWLEDGE))
        maybe(0.25, "reassure", *phrases.REASSURE)
    if situation.mood == "angry":
        maybe(0.4, "apology", *phrases.APOLOGY)
    if situation.reference is None and situation.act in ("open", "complain"):
        maybe(0.5, "request", *(text.format(kind=setting.reference_kind) for text in phrases.ASK))
    if situation.mood == "hurried":
        maybe(0.2, "offer", *phrases.CALLBACK)
    if situation.act == "close":
        maybe(0.4, "more", *phrases.ANYTHING)
    maybe(0.25, "detail", *phrases.FILLERS)
    plan.exclaim, plan.contracted = rng.random() < 0.12, rng.random() < 0.15
    plan.smiley = rng.choice((" 🙂", " :)")) if rng.random() < 0.06 else ""
    return plan


def _invented(act: Act, setting: Setting, rng: random.Random) -> tuple[str, ...]:
    number = rng.randint(2, 98)
    match act:
        case "when":
            return f"It takes {number} days.", f"That is done within {number} days."
        case "fee":
            return f"The fee is {number} euros.", f"It costs {number} euros."
        case "hours":
            return (f"We are open from {rng.randint(6, 11)} to {rng.randint(15, 22)}.",)
        case "human":
            return (f"I will pass you to the {rng.choice(pools.TEAMS)} team.",)
        case "how":
            return (f"Please open the {page_name(rng)} page.",)
        case "offtopic":
            return phrases.SUBJECTS
    return ()


def _other(rng: random.Random, draw: Callable[[], str], value: str) -> str:
    """A value like ``value`` that is not it."""
    while (drawn := draw()) == value:
        pass
    return drawn


def _fact(rule: Rule, plan: Plan, values: dict[str, str], rng: random.Random) -> str:
    setting = plan.setting
    process = setting.process[0].upper() + setting.process[1:]
    texts = {
        "fact_when": (f"{process} takes {values.get('days')} days.", f"It takes {values.get('days')} days.", f"That is done within {values.get('days')} days."),
        "fact_fee": (f"The fee is {values.get('amount')} euros.", f"It costs {values.get('amount')} euros.", f"The price for {setting.service} is {values.get('amount')} euros."),
        "fact_hours": (f"We are open from {values.get('opens')} to {values.get('closes')}.", f"You can reach us from {values.get('opens')} to {values.get('closes')}.", f"Our hours are {values.get('opens')} to {values.get('closes')}."),
    }  # fmt: skip
    return rng.choice(texts[rule.kind.key])


def keep(plan: Plan, rule: Rule, rng: random.Random) -> None:
    """Shape the plan so that the rule is kept (the rule applies in the plan's situation)."""
    key, values, setting = rule.kind.key, rule.values, plan.setting
    if key == "start_phrase":
        plan.put("greet", f"{values['phrase']}.", True)
    elif key == "greet_name":
        plan.put("greet", rng.choice(("Hello {0}.", "Hi {0}.", "Good morning {0}.")).format(setting.name), True)
    elif key == "title":
        plan.put("greet", rng.choice(("Hello {0}.", "Hi {0}.", "Good morning {0}.")).format(values["title"]), True)
    elif key in phrases.COURTESIES:
        slot, texts = phrases.COURTESIES[key]
        sentence = rng.choice(texts).format(issue=setting.issue, company=setting.company, kind=setting.reference_kind)
        plan.put(slot, sentence, True)
    elif key == "never_apologise":
        plan.slots["apology"] = []
    elif key in phrases.VAGUE:
        plan.put("core", _fact(rule, plan, values, rng), True)
    elif key == "fact_page":
        plan.page = values["page"]
    elif key == "number_steps":
        plan.numbered = True
    elif key == "refund_limit":
        plan.put("detail", rng.choice(phrases.LIMIT).format(**values), True)
    elif key == "team":
        plan.put("core", rng.choice(("I will pass you to the {team} team.", "The {team} team will take over.", "You will hear from the {team} team.")).format(**values), True)  # fmt: skip
    elif key == "stay_on_topic":
        plan.put("core", rng.choice(("I can only help with {0}.", "I can only answer questions about {0}.", "I can only help with matters of {0}.")).format(setting.company), True)  # fmt: skip
    elif key == "repeat_reference":
        plan.put("core", _confirm(setting.reference_kind, setting.reference, rng), True)
    elif key == "closing_phrase":
        plan.add("closing", f"{values['phrase']}.")
    elif key == "signature":
        plan.signature = f" -{values['initials']}"
    elif key == "at_most_sentences":
        plan.limit = int(values["count"])
    elif key == "no_exclamation":
        plan.exclaim = False
    elif key == "no_emoji":
        plan.smiley = ""
    elif key == "no_contractions":
        plan.contracted = False
    elif key == "one_question":
        plan.slots["offer"] = [text for text in plan.slots["offer"] if "?" not in text]


def _confirm(kind: str, reference: str, rng: random.Random) -> str:
    return rng.choice(("I have found {0} {1}.", "Thank you, {1} is noted.", "I see the {0} {1} here.")).format(kind, reference)  # fmt: skip


def spoil(plan: Plan, rule: Rule, rng: random.Random) -> None:
    """Change the plan so that the rule is broken (the rule applies in the plan's situation)."""
    key, values, setting = rule.kind.key, rule.values, plan.setting
    wrong = rng.random() < 0.5
    if key in ("start_phrase", "greet_name", "title"):
        plan.slots["greet"] = []
        other = {
            "start_phrase": lambda: _other(rng, lambda: rng.choice(pools.START_PHRASES), values["phrase"]),
            "greet_name": lambda: f"Hello {_other(rng, lambda: rng.choice(pools.CUSTOMERS), setting.name)}",
            "title": lambda: f"Hello {_other(rng, lambda: rng.choice(pools.TITLES), values['title'])}",
        }[key]
        if wrong:
            plan.put("greet", f"{other()}.")
    elif key in phrases.COURTESIES:
        plan.slots[phrases.COURTESIES[key][0]] = []
    elif key in phrases.VAGUE:
        numbers = {name: _other(rng, lambda: str(rng.randint(2, 98)), value) for name, value in values.items() if value.isdigit()}  # fmt: skip
        plan.put("core", _fact(rule, plan, numbers, rng) if wrong else rng.choice(phrases.VAGUE[key]), True)
    elif key == "fact_page":
        plan.page = _other(rng, lambda: page_name(rng), values["page"]) if wrong else None
    elif key == "number_steps":
        plan.numbered = False
    elif key == "refund_limit":
        limit = _other(rng, lambda: str(rng.randint(3, 19) * 10), values["limit"])
        plan.put("detail", rng.choice(phrases.LIMIT).format(limit=limit) if wrong else rng.choice(phrases.FILLERS))
    elif key == "team":
        if wrong:
            team = _other(rng, lambda: rng.choice(pools.TEAMS), values["team"])
            plan.put("core", f"I will pass you to the {team} team.", True)
    elif key == "stay_on_topic":
        plan.put("core", rng.choice(phrases.SUBJECTS), True)
    elif key == "repeat_reference":
        digits = _other(rng, lambda: f"{rng.randint(1000, 9999)}", setting.reference[2:])
        plan.put("core", _confirm(setting.reference_kind, setting.reference[:2] + digits, rng) if wrong else rng.choice(phrases.CORE["give_reference"]), True)  # fmt: skip
    elif key == "never_ask_again":
        plan.put("request", rng.choice(phrases.ASK).format(kind=setting.reference_kind), True)
    elif key in phrases.BAD or key == "banned_word":
        plan.add("bad", _bad_sentence(key, rule, rng))
    elif key == "closing_phrase" and wrong:
        plan.add("closing", _other(rng, lambda: rng.choice(pools.CLOSING_PHRASES), values["phrase"]) + ".")
    elif key == "signature":
        plan.signature = f" -{_other(rng, lambda: initials(rng), values['initials'])}" if wrong else ""
    elif key == "at_most_sentences":
        plan.overlong = int(values["count"])
    elif key == "no_exclamation":
        plan.exclaim = True
    elif key == "no_emoji":
        plan.smiley = rng.choice((" 🙂", " :)", " 😀"))
    elif key == "no_contractions":
        plan.contracted = plan.must_contract = True
    elif key == "one_question":
        plan.questions = 2


def _bad_sentence(key: str, rule: Rule, rng: random.Random) -> str:
    if key == "banned_word":
        return rng.choice(phrases.WORD_SENTENCES[rule.values["word"]])
    return rng.choice(phrases.BAD[key]).format(
        number=rng.randint(11, 98),
        day=rng.choice(pools.WEEKDAYS),
        phone=f"{rng.randint(200, 999)} {rng.randint(1000, 9999)}",
        **rule.values,
    )


def render(plan: Plan, rng: random.Random) -> str | None:
    """Write the plan out; None when what its kept guardrails need does not fit a kept sentence limit."""
    if plan.situation.act == "how" and (plan.numbered or plan.page):
        plan.put("core", _instructions(plan, rng), True)
    if plan.must_contract and not any(long in text for text in plan.sentences() for long, _ in phrases.CONTRACTIONS):
        plan.add("detail", phrases.FILLERS[0])
    missing = plan.questions - sum("?" in text and text in plan.needed for text in plan.sentences())
    for question in rng.sample(phrases.QUESTIONS, max(missing, 0)):
        plan.add("offer", question)
    if plan.overlong is not None:
        spare = [filler for filler in phrases.FILLERS if filler not in plan.sentences()]
        rng.shuffle(spare)
        while len(plan.sentences()) <= plan.overlong and spare:
            plan.add("detail", spare.pop())
    if plan.limit is not None and not _shorten(plan, plan.limit, rng):
        return None
    text = " ".join(plan.sentences())
    if plan.contracted:
        for long, short in phrases.CONTRACTIONS:
            text = text.replace(long, short)
    if plan.exclaim and "." in text:
        ends = [index for index, letter in enumerate(text) if letter == "."]
        place = rng.choice(ends)
        text = text[:place] + "!" + text[place + 1 :]
    return text + plan.smiley + plan.signature


def _instructions(plan: Plan, rng: random.Random) -> str:
    if plan.numbered:
        place = f"the {plan.page} page" if plan.page else "your profile"
        return f"1) Open {place}, 2) choose the entry you need, 3) confirm it."
    return rng.choice(phrases.PAGES).format(page=plan.page)


def _shorten(plan: Plan, limit: int, rng: random.Random) -> bool:
    spare = [(slot, text) for slot in SLOTS for text in plan.slots[slot] if text not in plan.needed]
    rng.shuffle(spare)
    while len(plan.sentences()) > limit and spare:
        slot, text = spare.pop()
        plan.slots[slot].remove(text)
    return len(plan.sentences()) <= limit
