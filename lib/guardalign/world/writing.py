"""How agents of the embedded world write: a plan of sentences by slot, which guardrails then shape or spoil.

A reply starts as a plain plan for the customer's last message; `keep` changes it so that a guardrail is followed,
`spoil` so that it is broken in one of the ways agents break it. Nothing here looks at a finished text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from guardalign.world.domains import PHRASES, POOLS
from guardalign.world.kinds import Rule, page_name
from guardalign.world.situation import Act, Situation

SLOTS = (
    "greet", "thanks", "company", "apology", "acknowledge", "reassure", "core", "detail", "request", "offer", "bad",
    "more", "closing",
)  # fmt: skip
KEPT = PHRASES["kept"]


@dataclass(frozen=True)
class Setting:
    """What stays the same through a conversation: who talks to whom about what. ``kind`` is that of the reference."""

    company: str
    name: str
    kind: str
    reference: str
    customer_issue: str
    issue: str
    process: str
    service: str
    task: str

    def fill(self, text: str, **values: str) -> str:
        return text.format(**values | vars(self), Issue=capital(self.issue), Process=capital(self.process))


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

    def put(self, slot: str, sentence: str, needed: bool = True) -> None:
        """Replace the content of a slot."""
        self.slots[slot] = [sentence]
        if needed:
            self.needed.add(sentence)

    def add(self, slot: str, sentence: str) -> None:
        self.slots[slot].append(sentence)
        self.needed.add(sentence)

    def sentences(self) -> list[str]:
        return [sentence for slot in SLOTS for sentence in self.slots[slot]]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def plain_plan(situation: Situation, setting: Setting, rng: random.Random, careless: bool = False) -> Plan:
    """What an agent without guardrails would write: the core of the answer, and some courtesies by chance.

    A careless agent also states what it cannot know: a company, a duration, a price, a team.
    """
    plan = Plan(situation, setting)

    def maybe(chance: float, slot: str, sentences: Sequence[str]) -> None:
        if rng.random() < chance and sentences:
            plan.put(slot, setting.fill(rng.choice(sentences)), slot == "core")

    plan.put("core", setting.fill(rng.choice(PHRASES["core"][situation.act])))
    if careless:
        maybe(0.4, "core", _invented(situation.act, rng))
    maybe(0.3, "greet", PHRASES["hello"])
    if situation.first:
        maybe(0.25, "thanks", PHRASES["thanks"])
        maybe(0.2 if careless else 0, "company", PHRASES["company"])
        maybe(0.3, "acknowledge", PHRASES["acknowledge"])
        maybe(0.25, "reassure", PHRASES["reassure"])
    if situation.mood == "angry":
        maybe(0.4, "apology", PHRASES["apology"])
    if situation.reference is None and situation.act in ("open", "complain"):
        maybe(0.5, "request", PHRASES["ask"])
    if situation.mood == "hurried":
        maybe(0.2, "offer", PHRASES["callback"])
    if situation.act == "close":
        maybe(0.4, "more", PHRASES["anything"])
    maybe(0.25, "detail", PHRASES["fillers"])
    plan.exclaim, plan.contracted = rng.random() < 0.12, rng.random() < 0.15
    plan.smiley = rng.choice((" 🙂", " :)")) if rng.random() < 0.06 else ""
    return plan


def _invented(act: Act, rng: random.Random) -> Sequence[str]:
    number = rng.randint(2, 98)
    match act:
        case "when":
            return f"It takes {number} days.", f"That is done within {number} days."
        case "fee":
            return f"The fee is {number} euros.", f"It costs {number} euros."
        case "hours":
            return (f"We are open from {rng.randint(6, 11)} to {rng.randint(15, 22)}.",)
        case "human":
            return (f"I will pass you to the {rng.choice(POOLS['teams'])} team.",)
        case "how":
            return (f"Please open the {page_name(rng)} page.",)
        case "offtopic":
            return PHRASES["subjects"]
    return ()


def keep(plan: Plan, rule: Rule, rng: random.Random) -> None:
    """Shape the plan so that the rule is kept (the rule applies in the plan's situation)."""
    match rule.kind.key:
        case key if key in KEPT:
            texts = KEPT[key]["said"]
            sentence = texts[0] if len(texts) == 1 else rng.choice(texts)
            plan.put(KEPT[key]["slot"], plan.setting.fill(sentence, **rule.values))
        case "never_apologise":
            plan.slots["apology"] = []
        case "fact_page":
            plan.page = rule.values["page"]
        case "number_steps":
            plan.numbered = True
        case "signature":
            plan.signature = f" -{rule.values['initials']}"
        case "at_most_sentences":
            plan.limit = int(rule.values["count"])
        case "no_exclamation":
            plan.exclaim = False
        case "no_emoji":
            plan.smiley = ""
        case "no_contractions":
            plan.contracted = False
        case "one_question":
            plan.slots["offer"] = [text for text in plan.slots["offer"] if "?" not in text]


def spoil(plan: Plan, rule: Rule, rng: random.Random) -> None:
    """Change the plan so that the rule is broken (the rule applies in the plan's situation)."""
    values, setting = rule.values, plan.setting
    wrong = rng.random() < 0.5

    def other(name: str) -> str:
        return _other(lambda: rule.kind.draw(name, rng), values[name])

    match rule.kind.key:
        case "start_phrase" | "greet_name" | "title" as key:
            plan.slots["greet"] = []
            if wrong and key == "start_phrase":
                plan.put("greet", f"{other('phrase')}.", needed=False)
            elif wrong:
                name = (
                    other("title") if key == "title" else _other(lambda: rng.choice(POOLS["customers"]), setting.name)
                )
                plan.put("greet", f"Hello {name}.", needed=False)
        case "fact_when" | "fact_fee" | "fact_hours" as key:
            figures = {name: value for name, value in values.items() if value.isdigit()}
            figures = {name: _other(lambda: str(rng.randint(2, 98)), value) for name, value in figures.items()}
            texts = KEPT[key]["said"] if wrong else PHRASES["vague"][key]
            plan.put("core", setting.fill(rng.choice(texts), **figures))
        case "fact_page":
            plan.page = other("page") if wrong else None
        case "number_steps":
            plan.numbered = False
        case "refund_limit" as key:
            limit, texts = other("limit"), KEPT[key]["said"] if wrong else PHRASES["fillers"]
            plan.put("detail", rng.choice(texts).format(limit=limit), needed=False)
        case "team":
            if wrong:
                plan.put("core", f"I will pass you to the {other('team')} team.")
        case "stay_on_topic":
            plan.put("core", rng.choice(PHRASES["subjects"]))
        case "repeat_reference" as key:
            reference = setting.reference[:2] + _other(lambda: f"{rng.randint(1000, 9999)}", setting.reference[2:])
            text = rng.choice(KEPT[key]["said"] if wrong else PHRASES["core"]["give_reference"])
            plan.put("core", text.format(kind=setting.kind, reference=reference))
        case "never_ask_again":
            plan.put("request", setting.fill(rng.choice(PHRASES["ask"])))
        case "closing_phrase":
            if wrong:
                plan.add("closing", f"{other('phrase')}.")
        case "signature":
            plan.signature = f" -{other('initials')}" if wrong else ""
        case "at_most_sentences":
            plan.overlong = int(values["count"])
        case "no_exclamation":
            plan.exclaim = True
        case "no_emoji":
            plan.smiley = rng.choice((" 🙂", " :)", " 😀"))
        case "no_contractions":
            plan.contracted = plan.must_contract = True
        case "one_question":
            plan.questions = 2
        case "banned_word":
            plan.add("bad", rng.choice(PHRASES["banned_words"][values["word"]]))
        case key if key in PHRASES["bad"]:
            text, number, day = rng.choice(PHRASES["bad"][key]), rng.randint(11, 98), rng.choice(POOLS["weekdays"])
            phone = f"{rng.randint(200, 999)} {rng.randint(1000, 9999)}"
            plan.add("bad", text.format(number=number, day=day, phone=phone, **values))
        case key:
            plan.slots[KEPT[key]["slot"]] = []


def _other(draw: Callable[[], str], value: str) -> str:
    """A drawn value that is not ``value``."""
    while (drawn := draw()) == value:
        pass
    return drawn


def render(plan: Plan, rng: random.Random) -> str | None:
    """Write the plan out; None when what its kept guardrails need does not fit a kept sentence limit."""
    if plan.situation.act == "how" and (plan.numbered or plan.page):
        plan.put("core", _instructions(plan, rng))
    if plan.must_contract and not any(long in text for text in plan.sentences() for long, _ in PHRASES["contractions"]):
        plan.add("detail", PHRASES["fillers"][0])
    missing = plan.questions - sum("?" in text and text in plan.needed for text in plan.sentences())
    for question in rng.sample(PHRASES["questions"], max(missing, 0)):
        plan.add("offer", question)
    if plan.overlong is not None:
        spare = [filler for filler in PHRASES["fillers"] if filler not in plan.sentences()]
        rng.shuffle(spare)
        while len(plan.sentences()) <= plan.overlong and spare:
            plan.add("detail", spare.pop())
    if plan.limit is not None and not _shorten(plan, plan.limit, rng):
        return None
    text = " ".join(plan.sentences())
    if plan.contracted:
        for long, short in PHRASES["contractions"]:
            text = text.replace(long, short)
    if plan.exclaim and "." in text:
        position = rng.choice([index for index, letter in enumerate(text) if letter == "."])
        text = text[:position] + "!" + text[position + 1 :]
    return text + plan.smiley + plan.signature


def _instructions(plan: Plan, rng: random.Random) -> str:
    if plan.numbered:
        page = f"the {plan.page} page" if plan.page else "your profile"
        return f"1) Open {page}, 2) choose the entry you need, 3) confirm it."
    return rng.choice(PHRASES["pages"]).format(page=plan.page)


def _shorten(plan: Plan, limit: int, rng: random.Random) -> bool:
    spare = [(slot, text) for slot in SLOTS for text in plan.slots[slot] if text not in plan.needed]
    rng.shuffle(spare)
    while len(plan.sentences()) > limit and spare:
        slot, text = spare.pop()
        plan.slots[slot].remove(text)
    return len(plan.sentences()) <= limit
