"""What agents of the embedded world say, by occasion: pure data."""

from __future__ import annotations

from guardalign.world.situation import Act

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
THANKS = ("Thank you for getting in touch.", "Thanks for contacting us.", "Thank you for reaching out.", "Thanks for your message.")  # fmt: skip
COMPANY = ("This is {company}.", "You are talking to {company}.", "Here is {company}.")
ACKNOWLEDGE = ("I understand that this is about {issue}.", "I see that you write about {issue}.", "I understand how annoying {issue} is.")  # fmt: skip
REASSURE = ("I am here to help.", "I am happy to help.", "I will help you with this.")
APOLOGY = ("I am sorry about this.", "I apologise for the trouble.", "We regret what happened.", "Please accept my apologies.")  # fmt: skip
ASK = ("May I have your {kind}?", "Could you tell me your {kind}?", "Please send me your {kind}.", "What is your {kind}?")  # fmt: skip
CALLBACK = ("We can call you back.", "I can offer you a callback.", "Shall we call you back later?")
ANYTHING = ("Is there anything else I can do?", "Can I help you with anything else?", "Do you have further questions?")
PAGES = ("Please open the {page} page.", "You can do this on the {page} page.", "Have a look at the {page} page.")
LIMIT = ("Above {limit} euros a manager has to agree.", "A manager decides on refunds above {limit} euros.", "More than {limit} euros is a matter for a manager.")  # fmt: skip
VAGUE = {
    "fact_when": ("It takes as long as it takes.", "It depends on many things.", "That will not take long."),
    "fact_fee": ("It is not expensive.", "That depends on many things.", "You will see it on the bill."),
    "fact_hours": ("We are open on most days.", "Just try again later.", "Somebody is there most of the time."),
}
BAD: dict[str, tuple[str, ...]] = {
    "never_apologise": APOLOGY,
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
WORD_SENTENCES = {
    "problem": ("That is a known problem.", "I see the problem."),
    "unfortunately": ("Unfortunately this happens.", "That is unfortunately so."),
    "policy": ("That is our policy.", "Our policy says so."),
    "honestly": ("Honestly this happens a lot.", "I can honestly say so."),
    "cheap": ("That is a cheap way to do it.", "It was cheap after all."),
    "obviously": ("Obviously this went wrong.", "That is obviously not right."),
}
SUBJECTS = ("You could try a soup tonight.", "I would wait and see.", "The new comedy is nice.", "Everybody says it will be close.")  # fmt: skip
COURTESIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "thank_contact": ("thanks", THANKS),
    "name_company": ("company", COMPANY),
    "apologise_upset": ("apology", APOLOGY),
    "acknowledge": ("acknowledge", ACKNOWLEDGE),
    "reassure": ("reassure", REASSURE),
    "ask_reference": ("request", ASK),
    "offer_callback": ("offer", CALLBACK[:2]),
    "anything_else": ("more", ANYTHING),
}
