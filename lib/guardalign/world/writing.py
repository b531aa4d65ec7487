"""How agents of the embedded world write: a plan of sentences by slot, which guardrails then shape or spoil.

A reply starts as a plain plan for the customer's last message; `keep` changes it so that a guardrail is followed,
`spoil` so that it is broken in one of the ways agents break it. Nothing here looks at a finished text.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from guardalign.world import domains as pools
from guardalign.world.kinds import Rule, initials, page_name
from guardalign.world.situation import Act, Situation

SLOTS = ("greet", "thanks", "company", "apology", "acknowledge", "reassure", "core", "detail", "request", "offer", "bad", "more", "closing")  # fmt: skip

CORE: dict[Act, tuple[str, ...]] = {
    "open": ("I will look into {issue}.", "Let me check {issue}.", "I am checking {issue} for you.", "We will take care of {issue}."),
    "give_reference": ("Thank you, I have found it.", "Thanks, I have it in front of me.", "I have your details now.", "Thank you, I can open your case now."),
    "how": ("I will send you the steps by message.", "A colleague will show you how that works.", "I will do that for you.", "I can set that up from here."),
    "when": ("I will check how long that takes.", "I have to ask how long it takes.", "Let me find out how many days it takes."),
    "fee": ("I will check what it costs.", "I have to look up the fee.", "Let me find out the price for you."),
    "hours": ("I will check our opening hours for you.", "Let me look up when we are open.", "I have to look up the opening hours."),
    "refund": ("I will request the refund for you.", "I have started the refund.", "The refund is on its way."),
    "human": ("I will ask a colleague to take over.", "Somebody will talk to you soon.", "A real person will take over from here."),
    "complain": ("I will take care of {issue} now.", "I am working on {issue}.", "{Issue} comes first now.", "I have put {issue} on top of the list."),
    "offtopic": ("That is hard to say.", "Let us come back to {issue}.", "I have no answer to that."),
    "close": ("You are welcome.", "It was a pleasure.", "Glad that we could sort it out.", "Thank you for your time."),
}  # fmt: skip
FILLERS = (
    "I am looking at it now.", "I have made a note of it.", "It is in good hands.", "I have opened a case for you.",
    "My colleagues know about it.", "I will keep an eye on it.", "We are taking this seriously.",
)  # fmt: skip
QUESTIONS = ("Is that alright for you?", "Does that work for you?", "Would that be fine?", "Shall I go on?")
CONTRACTIONS = (
    ("I am ", "I'm "), ("I will ", "I'll "), ("I have made", "I've made"), ("I have put", "I've put"), ("I have to", "I've to"),
    ("I have found", "I've found"), ("I have opened", "I've opened"), ("I have started", "I've started"), ("We will ", "We'll "), ("We are ", "We're "),
    ("cannot ", "can't "), ("do not ", "don't "), ("It is ", "It's "), ("That is ", "That's "), ("You are ", "You're "),
    ("we are ", "we're "),
)  # fmt: skip


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

    core = rng.choice(CORE[situation.act])
    plan.put("core", core.format(issue=setting.issue, Issue=setting.issue[0].upper() + setting.issue[1:]), True)
    if careless:
        maybe(0.4, "core", *_invented(situation.act, setting, rng))
    maybe(0.3, "greet", "Hello.", "Hi.", "Good morning.")
    if situation.first:
        maybe(0.25, "thanks", *_THANKS)
        maybe(0.2 if careless else 0, "company", *(text.format(company=setting.company) for text in _COMPANY))
        maybe(0.3, "acknowledge", *(text.format(issue=setting.issue) for text in _ACKNOWLEDGE))
        maybe(0.25, "reassure", *_REASSURE)
    if situation.mood == "angry":
        maybe(0.4, "apology", *_APOLOGY)
    if situation.reference is None and situation.act in ("open", "complain"):
        maybe(0.5, "request", *(text.format(kind=setting.reference_kind) for text in _ASK))
    if situation.mood == "hurried":
        maybe(0.2, "offer", *_CALLBACK)
    if situation.act == "close":
        maybe(0.4, "more", *_ANYTHING)
    maybe(0.25, "detail", *FILLERS)
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
            return _SUBJECTS
    return ()


_THANKS = ("Thank you for getting in touch.", "Thanks for contacting us.", "Thank you for reaching out.", "Thanks for your message.")  # fmt: skip
_COMPANY = ("This is {company}.", "You are talking to {company}.", "Here is {company}.")
_ACKNOWLEDGE = ("I understand that this is about {issue}.", "I see that you write about {issue}.", "I understand how annoying {issue} is.")  # fmt: skip
_REASSURE = ("I am here to help.", "I am happy to help.", "I will help you with this.")
_APOLOGY = ("I am sorry about this.", "I apologise for the trouble.", "We regret what happened.", "Please accept my apologies.")  # fmt: skip
_ASK = ("May I have your {kind}?", "Could you tell me your {kind}?", "Please send me your {kind}.", "What is your {kind}?")  # fmt: skip
_CALLBACK = ("We can call you back.", "I can offer you a callback.", "Shall we call you back later?")
_ANYTHING = ("Is there anything else I can do?", "Can I help you with anything else?", "Do you have further questions?")
_PAGES = ("Please open the {page} page.", "You can do this on the {page} page.", "Have a look at the {page} page.")
_LIMIT = ("Above {limit} euros a manager has to agree.", "A manager decides on refunds above {limit} euros.", "More than {limit} euros is a matter for a manager.")  # fmt: skip
_VAGUE = {
    "fact_when": ("It takes as long as it takes.", "It depends on many things.", "That will not take long."),
    "fact_fee": ("It is not expensive.", "That depends on many things.", "You will see it on the bill."),
    "fact_hours": ("We are open on most days.", "Just try again later.", "Somebody is there most of the time."),
}
_BAD: dict[str, tuple[str, ...]] = {
    "never_apologise": _APOLOGY,
    "never_ask_secret": ("Could you please tell me your {secret} for verification?", "Please send me the last four digits of your {secret}.", "I need your {secret} first."),
    "no_prices": ("That will be about {number} euros.", "It costs {number} euros.", "We charge {number} euros for this."),
    "no_promise": ("It will be done by {day}.", "I promise that it will be solved soon.", "I guarantee that it works by {day}."),
    "no_competitor": ("{competitor} would not do better.", "Customers of {competitor} wait longer.", "This also happens at {competitor}."),
    "no_discount": ("I can offer you a discount.", "You will get a voucher from us.", "I will give you a discount on the next bill."),
    "no_opinion": ("Personally I would not worry.", "In my opinion it is not that bad.", "I think you are right about this."),
    "no_internal": ("I can see it in {system}.", "I have entered it in {system}.", "{system} shows no error."),
    "no_blame": ("You must have made an error.", "This was your own fault.", "You should have told us earlier."),
    "no_calm_down": ("Please calm down.", "Please be patient.", "Try to relax a little."),
    "no_phone": ("You can call us on {phone}.", "The number is {phone}.", "Please dial {phone}."),
    "no_website": ("Please look at our website.", "You will find it online.", "The website tells you more."),
}  # fmt: skip
_WORD_SENTENCES = {
    "problem": ("That is a known problem.", "I see the problem."),
    "unfortunately": ("Unfortunately this happens.", "That is unfortunately so."),
    "policy": ("That is our policy.", "Our policy says so."),
    "honestly": ("Honestly this happens a lot.", "I can honestly say so."),
    "cheap": ("That is a cheap way to do it.", "It was cheap after all."),
    "obviously": ("Obviously this went wrong.", "That is obviously not right."),
}
_SUBJECTS = ("You could try a soup tonight.", "I would wait and see.", "The new comedy is nice.", "Everybody says it will be close.")  # fmt: skip


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
    elif key in _COURTESIES:
        slot, texts = _COURTESIES[key]
        sentence = rng.choice(texts).format(issue=setting.issue, company=setting.company, kind=setting.reference_kind)
        plan.put(slot, sentence, True)
    elif key == "never_apologise":
        plan.slots["apology"] = []
    elif key in _VAGUE:
        plan.put("core", _fact(rule, plan, values, rng), True)
    elif key == "fact_page":
        plan.page = values["page"]
    elif key == "number_steps":
        plan.numbered = True
    elif key == "refund_limit":
        plan.put("detail", rng.choice(_LIMIT).format(**values), True)
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


_COURTESIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "thank_contact": ("thanks", _THANKS),
    "name_company": ("company", _COMPANY),
    "apologise_upset": ("apology", _APOLOGY),
    "acknowledge": ("acknowledge", _ACKNOWLEDGE),
    "reassure": ("reassure", _REASSURE),
    "ask_reference": ("request", _ASK),
    "offer_callback": ("offer", _CALLBACK[:2]),
    "anything_else": ("more", _ANYTHING),
}


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
    elif key in _COURTESIES:
        plan.slots[_COURTESIES[key][0]] = []
    elif key in _VAGUE:
        numbers = {name: _other(rng, lambda: str(rng.randint(2, 98)), value) for name, value in values.items() if value.isdigit()}  # fmt: skip
        plan.put("core", _fact(rule, plan, numbers, rng) if wrong else rng.choice(_VAGUE[key]), True)
    elif key == "fact_page":
        plan.page = _other(rng, lambda: page_name(rng), values["page"]) if wrong else None
    elif key == "number_steps":
        plan.numbered = False
    elif key == "refund_limit":
        limit = _other(rng, lambda: str(rng.randint(3, 19) * 10), values["limit"])
        plan.put("detail", rng.choice(_LIMIT).format(limit=limit) if wrong else rng.choice(FILLERS))
    elif key == "team":
        if wrong:
            team = _other(rng, lambda: rng.choice(pools.TEAMS), values["team"])
            plan.put("core", f"I will pass you to the {team} team.", True)
    elif key == "stay_on_topic":
        plan.put("core", rng.choice(_SUBJECTS), True)
    elif key == "repeat_reference":
        digits = _other(rng, lambda: f"{rng.randint(1000, 9999)}", setting.reference[2:])
        plan.put("core", _confirm(setting.reference_kind, setting.reference[:2] + digits, rng) if wrong else rng.choice(CORE["give_reference"]), True)  # fmt: skip
    elif key == "never_ask_again":
        plan.put("request", rng.choice(_ASK).format(kind=setting.reference_kind), True)
    elif key in _BAD or key == "banned_word":
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
        return rng.choice(_WORD_SENTENCES[rule.values["word"]])
    return rng.choice(_BAD[key]).format(
        number=rng.randint(11, 98),
        day=rng.choice(pools.WEEKDAYS),
        phone=f"{rng.randint(200, 999)} {rng.randint(1000, 9999)}",
        **rule.values,
    )


def render(plan: Plan, rng: random.Random) -> str | None:
    """Write the plan out; None when what its kept guardrails need does not fit a kept sentence limit."""
    if plan.situation.act == "how" and (plan.numbered or plan.page):
        plan.put("core", _instructions(plan, rng), True)
    if plan.must_contract and not any(long in text for text in plan.sentences() for long, _ in CONTRACTIONS):
        plan.add("detail", FILLERS[0])
    missing = plan.questions - sum("?" in text and text in plan.needed for text in plan.sentences())
    for question in rng.sample(QUESTIONS, max(missing, 0)):
        plan.add("offer", question)
    if plan.overlong is not None:
        spare = [filler for filler in FILLERS if filler not in plan.sentences()]
        rng.shuffle(spare)
        while len(plan.sentences()) <= plan.overlong and spare:
            plan.add("detail", spare.pop())
    if plan.limit is not None and not _shorten(plan, plan.limit, rng):
        return None
    text = " ".join(plan.sentences())
    if plan.contracted:
        for long, short in CONTRACTIONS:
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
    return rng.choice(_PAGES).format(page=plan.page)


def _shorten(plan: Plan, limit: int, rng: random.Random) -> bool:
    spare = [(slot, text) for slot in SLOTS for text in plan.slots[slot] if text not in plan.needed]
    rng.shuffle(spare)
    while len(plan.sentences()) > limit and spare:
        slot, text = spare.pop()
        plan.slots[slot].remove(text)
    return len(plan.sentences()) <= limit
