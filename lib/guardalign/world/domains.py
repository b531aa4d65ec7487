"""The five lines of business of the embedded world: pure data, no behaviour.

Every string a reply can be checked against (pages, teams, systems, amounts) is drawn from pools that all domains
share, so that a model has to copy it from the prompt and cannot learn it by heart for a domain.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """A line of business. An issue is (what the customer says: "my ...", how an agent names it: "the ...")."""

    name: str
    companies: tuple[str, ...]
    reference: str
    issues: tuple[tuple[str, str], ...]
    tasks: tuple[str, ...]
    processes: tuple[str, ...]
    services: tuple[str, ...]


DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Domain(
            "bank",
            ("Nordbank", "Halden Savings", "Corvia Bank", "Meridian Credit"),
            "account number",
            (
                ("my card was declined", "the declined card"),
                ("my transfer has not arrived", "the missing transfer"),
                ("my statement shows a strange charge", "the strange charge"),
                ("my account is locked", "the locked account"),
                ("my card was stolen", "the stolen card"),
                ("my monthly fee went up", "the higher monthly fee"),
            ),
            ("change my address", "block a card", "download a statement", "set up a standing order"),
            ("a transfer", "a chargeback", "a new card"),
            ("a replacement card", "a foreign payment", "the premium account"),
        ),
        Domain(
            "airline",
            ("Skylark Air", "Boreal Wings", "Tern Airways", "Costa Jet"),
            "booking code",
            (
                ("my flight was cancelled", "the cancelled flight"),
                ("my bag did not arrive", "the missing bag"),
                ("my seat was changed", "the changed seat"),
                ("my name is wrong on the ticket", "the wrong name on the ticket"),
                ("my flight is delayed", "the delayed flight"),
                ("my upgrade is gone", "the lost upgrade"),
            ),
            ("check in", "add a bag", "choose a seat", "change the date of my flight"),
            ("a baggage claim", "a rebooking", "an upgrade"),
            ("an extra bag", "a seat with more room", "a change of date"),
        ),
        Domain(
            "telecom",
            ("Lumatel", "Pikewave", "Ostra Mobile", "Quillnet"),
            "contract number",
            (
                ("my internet is down", "the internet outage"),
                ("my bill is too high", "the high bill"),
                ("my phone has no signal", "the missing signal"),
                ("my contract was renewed without asking", "the renewed contract"),
                ("my router keeps restarting", "the restarting router"),
                ("my number was not moved", "the number that was not moved"),
            ),
            ("reset my router", "change my plan", "block a number", "see my usage"),
            ("a line repair", "a number transfer", "a new router"),
            ("a second line", "the roaming pack", "a new sim card"),
        ),
        Domain(
            "shop",
            ("Parcel and Pine", "Tidewater Goods", "Maplecart", "Brightbasket"),
            "order number",
            (
                ("my parcel is late", "the late parcel"),
                ("my order arrived broken", "the broken order"),
                ("my shoes are the wrong size", "the wrong size"),
                ("my voucher code does not work", "the voucher code"),
                ("my parcel went to a neighbour", "the parcel at your neighbour"),
                ("my order is missing an item", "the missing item"),
            ),
            ("return an item", "track a parcel", "change my order", "print a return label"),
            ("a return", "an exchange", "a delivery"),
            ("express delivery", "gift wrapping", "a second return"),
        ),
        Domain(
            "hotel",
            ("Harbour House", "Alder Lodge", "Grand Solstice", "Villa Ember"),
            "reservation number",
            (
                ("my room was not cleaned", "the room that was not cleaned"),
                ("my booking is for the wrong dates", "the wrong dates"),
                ("my heating does not work", "the cold room"),
                ("my deposit was charged twice", "the double deposit"),
                ("my key card stopped working", "the broken key card"),
                ("my room is too loud", "the loud room"),
            ),
            ("book a table", "order a taxi", "change my room", "extend my stay"),
            ("a deposit release", "a room change", "a late checkout"),
            ("an extra night", "the spa", "a parking place"),
        ),
    )
}
TRANSFER_DOMAIN = "hotel"

CUSTOMERS = (
    "Maria", "Jonas", "Amina", "Peter", "Lucia", "Tomas", "Hannah", "Omar", "Ingrid", "Pavel", "Chloe", "Samuel",
    "Yuki", "Nadia", "Bruno", "Freya", "Karim", "Elena", "Victor", "Rosa", "Felix", "Greta", "Ivan", "Leila",
)  # fmt: skip
PAGE_FIRST = (
    "Billing", "Account", "Service", "Travel", "Order", "Member", "Payment", "Contact", "Product", "Claims", "Delivery",
    "Booking", "Profile", "Support", "Device",
)  # fmt: skip
PAGE_SECOND = ("Center", "Overview", "Settings", "Desk", "Hub", "Portal", "Corner", "Guide", "Room", "Board")
TEAMS = (
    "Resolution", "Priority", "Customer Rights", "Second Line", "Complaints", "Specialist", "Escalation", "Senior Care",
    "Quality", "Mediation", "Night", "Regional",
)  # fmt: skip
SYSTEMS = ("Falcon", "Datalake", "Zenboard", "Opticore", "Casper", "Gridview", "Tracelog", "Mintdesk")
COMPETITORS = ("Velto", "Karsten", "Bluefin", "Ostrava Direct", "Nimbus", "Trident", "Sorrel", "Kite")
SECRETS = ("social security number", "password", "PIN", "full card number", "date of birth", "mother's maiden name")
BANNED_WORDS = ("problem", "unfortunately", "policy", "honestly", "cheap", "obviously")
START_PHRASES = (
    "Good day", "Hello there", "Welcome", "Greetings", "Warm greetings", "Good to hear from you", "Hi from the team",
    "Nice to meet you",
)  # fmt: skip
CLOSING_PHRASES = (
    "Have a lovely day", "All the best", "Take good care", "With kind regards", "Always at your service",
    "Talk to you soon", "Many greetings", "Stay well",
)  # fmt: skip
TITLES = ("dear customer", "dear guest", "valued client", "dear member", "esteemed customer", "dear friend")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
