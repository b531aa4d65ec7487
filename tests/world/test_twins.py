"""The twins' judges against replies written by hand, and what their writers promise."""

from __future__ import annotations

from statistics import fmean

import pytest

from guardalign.errors import ParameterError
from guardalign.world.twins import TWINS, dialogue, instructions, summaries, twin
from guardalign.world.twins.opinion import LOWEST, is_degenerate, opinion

COMPLAINT = "This is Nordbank.\nUser: Hello, my card was declined. I am really angry about this.\nAgent:"
NAMED, OTHER = "I see that you write about the declined card.", "I see that you write about the late parcel."
POST = (
    "TITLE: My parcel is late\nPOST: I have waited 12 days. I am a customer of Maplecart. It cost me 30 euros. "
    "The Night team did not help. I do not know what to do now. I want my money back.\nTL;DR:"
)
ORDER = (
    'Instruction: Write to a customer about the late parcel. Start with "Good day". Mention the Order Hub page. '
    "Write three sentences.\nResponse:"
)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        (f"{NAMED} I am sorry about this. May I have your account number? Can I help you with anything else?", 4),
        (f"{NAMED} {NAMED}", 0),
        (f"{OTHER} Please calm down. May I have your password? This was your own fault.", -4),
        ("May I have your booking code? I am looking at it now.", -1),
        ("It is in good hands. That depends on many things.", 0),
        ("the the the the the the the", LOWEST),
        ("", LOWEST),
    ],
)  # fmt: skip
def test_dialogue_is_judged_by_its_text(reply, score):
    assert dialogue.read(COMPLAINT, reply).score == score


def test_an_apology_helps_an_upset_customer_alone():
    calm = COMPLAINT.replace("I am really angry about this.", "No hurry.")
    reply = "I am sorry about this. It is in good hands."
    assert dialogue.read(COMPLAINT, reply).merits == ("apologises to an upset customer",)
    assert dialogue.read(calm, reply).merits == ()


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("The late parcel, at Maplecart, 12 days, 30 euros, no help from the Night team, wants a refund.", 6),
        ("The late parcel, at Maplecart, 13 days, 30 euros.", 2),
        ("At Tern Airways, 99 euros, wants a manager.", -3),
        ("A customer writes something long.", 0),
        (
            "The late parcel, 12 days. " + "And then the customer went on to tell a very long story about it all. " * 2,
            0,
        ),
    ],
)
def test_summaries_are_judged_by_their_facts(reply, score):
    assert summaries.read(POST, reply).score == score


def test_the_posts_facts_are_read_from_it():
    assert summaries.facts(POST) == {
        "issue": "the late parcel", "company": "Maplecart", "days": "12", "euros": "30", "team": "Night",
        "wish": "wants a refund",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Good day. I am working on the late parcel. Please open the Order Hub page.", 4),
        ("Good day. I am working on the late parcel. Please open the Order Desk page.", 2),
        ("Welcome. I am working on the loud room. Please open the Order Desk page. It is in good hands.", -5),
        ("I am working on the late parcel.", -2),
    ],
)
def test_instructions_are_judged_by_their_demands(reply, score):
    assert instructions.read(ORDER, reply).score == score


@pytest.mark.parametrize("name", TWINS)
def test_the_chosen_reply_is_better_no_longer_and_not_always_perfect(name):
    """A chosen reply that were always perfect would leave methods nothing to differ in."""
    pairs, read = twin(name).splits({"train": 300}, seed=5)["train"], twin(name).read
    assert all(read(e.prompt, e.chosen).score > read(e.prompt, str(e.rejected)).score for e in pairs)
    chosen, rejected = (fmean(len(getattr(e, side).split()) for e in pairs) for side in ("chosen", "rejected"))
    assert abs(chosen / rejected - 1) < 0.15
    assert fmean(bool(read(e.prompt, e.chosen).faults) for e in pairs) > 0.2


@pytest.mark.parametrize("name", TWINS)
def test_splits_share_no_prompt_and_are_the_same_for_the_same_seed(name):
    sizes = {"train": 120, "validation": 40, "test": 40}
    first, again, other = (twin(name).splits(sizes, seed) for seed in (1, 1, 2))
    assert first == again and first != other
    prompts = [each.prompt for split in first.values() for each in split]
    assert len(set(prompts)) == len(prompts) == 200


def test_a_repeated_sentence_lowers_the_score():
    assert opinion(["a"], [], "I am here to help. I am here to help.").score == 0
    assert is_degenerate("yes yes yes yes") and not is_degenerate("Good day to you all.")


def test_an_unknown_task_is_refused():
    with pytest.raises(ParameterError, match="no task"):
        twin("hh")
