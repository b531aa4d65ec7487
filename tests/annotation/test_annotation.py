"""Real conversations become points: every product of the model is checked, and what is lost is counted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from comparisons import IMPATIENT, endpoint
from guardalign.annotation.datacard import Annotated
from guardalign.annotation.masking import mask
from guardalign.annotation.stages import Annotator
from guardalign.config.sections import Annotation
from guardalign.data.construction import Rejection
from guardalign.data.conversations import Conversation, Turn
from guardalign.llm import Client
from misbehaving_server import SLOT, Server, slots, sometimes

RULES = (
    "The agent must greet the customer at the start.",
    "The agent must never promise a delivery date.",
    "The agent should offer further help.",
)


def conversation(number: int, **changes: object) -> Conversation:
    turns = (
        Turn(role="user", text=f"Hello, where is order {number}?"),
        Turn(role="agent", text=f"Hello and thank you for your patience, I am looking up order {number} right now."),
        Turn(role="user", text="And when will it come?"),
        Turn(role="agent", text="I cannot say a date yet, but may I help you with anything else meanwhile?"),
        Turn(role="user", text="No."),
        Turn(role="agent", text="Hm."),
    )
    return Conversation(id=f"c.{number}", turns=turns, **changes)  # type: ignore[arg-type]


def item_of(body: dict[str, Any]) -> str:
    return re.findall(r"item ([0-9a-f]{16})", SLOT.sub("", body["messages"][-1]["content"]))[0]


def stage_of(body: dict[str, Any]) -> str:
    system = body["messages"][0]["content"]
    cues = {
        "guardrails": "write down the rules",
        "tagging": "Find the agent's messages",
        "rejection": "make training data",
        "confirmation": "check replies",
    }
    return next(stage for stage, cue in cues.items() if cue in system)


def annotator(body: dict[str, Any]) -> str:
    """A model that does all four stages well."""
    return json.dumps({"item": item_of(body)} | ANSWERS[stage_of(body)](slots(body)))


def tagging(data: dict[str, Any]) -> dict[str, Any]:
    def followed(text: str) -> list[dict[str, Any]]:
        found = [(1, "Hello"), (2, "cannot say a date"), (3, "anything else")]
        return [{"number": number, "quote": quote} for number, quote in found if quote in text]

    texts = [(turn["turn"], followed(turn["agent"])) for turn in data["conversation"] if "agent" in turn]
    return {"turns": [{"turn": turn, "follows": follows} for turn, follows in texts if follows]}


def rejection(data: dict[str, Any]) -> dict[str, Any]:
    number = data["follows"][0]
    length = len(data["reply"].split())
    words = ["Certainly,", "it", "arrives", "on", "Monday", f"(rule-{number})"] + ["indeed"] * length
    return {"reply": " ".join(words[:length]), "breaks": [number], "how": "It promises."}


def confirmation(data: dict[str, Any]) -> dict[str, Any]:
    broken = re.findall(r"rule-(\d)", data["reply"])
    return {
        "guardrails": [
            {"number": int(number), "broken": number in broken, "quote": "on Monday" if number in broken else ""}
            for number in data["guardrails"]
        ]
    }


ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "guardrails": lambda data: {"guardrails": list(RULES)},
    "tagging": tagging,
    "rejection": rejection,
    "confirmation": confirmation,
}


def with_change(stage: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], str]:
    def answer(body: dict[str, Any]) -> str:
        content = json.loads(annotator(body))
        if stage_of(body) == stage:
            change(content)
        return json.dumps(content)

    return answer


def annotate(server: Server, store: Path, conversations: list[Conversation], **settings: Any) -> Annotated:
    there = endpoint(server.url, asks=1, **(IMPATIENT if server.silence < 5 else {}))
    client = Client(there, store, progress=False)
    return Annotator(client, Annotation(**(there.model_dump() | settings))).annotate(conversations)


def test_conversations_become_points(tmp_path: Path) -> None:
    with Server(annotator) as server:
        made = annotate(server, tmp_path, [conversation(1), conversation(2)])
        assert server.calls == 2 + 2 + 4 + 4
        again = annotate(server, tmp_path, [conversation(1), conversation(2)])
        assert server.calls == 12
        assert again.pairs == made.pairs
    assert [pair.id for pair in made.pairs] == ["c.1.1", "c.1.3", "c.2.1", "c.2.3"]
    first = made.pairs[0]
    assert first.guardrails == RULES
    assert first.chosen == conversation(1).turns[1].text
    assert first.rejected.startswith("Certainly, it arrives on Monday (rule-1)")
    assert first.broken == (1,)
    assert first.turns == conversation(1).turns[:1]
    assert len(first.rejected.split()) == len(first.chosen.split())
    assert [turn.tagged for turn in made.conversations[0].turns] == [False, True, False, True, False, False]


def test_the_data_card_counts_yields_lengths_and_cost(tmp_path: Path) -> None:
    with Server(annotator) as server:
        made = annotate(server, tmp_path, [conversation(1), conversation(2)])
        tokens, cost = server.tokens, made.client.ledger.known.cost
    assert made.yields == {
        "conversations": (2, 2),
        "with guardrails": (2, 2),
        "tagged messages": (4, 6),
        "rejected replies": (4, 4),
        "confirmed": (4, 4),
        "points": (4, 4),
    }
    assert len(made.examples) == 3
    words = sum(len(pair.chosen.split()) for pair in made.pairs) / 4
    page = made.markdown()
    assert "| tagged messages | 4 | 6 | 67% |" in page and "| points | 4 | 4 | 100% |" in page
    assert "- 2.0 points a conversation (paper A: 9.6), 3.0 guardrails" in page
    assert f"- {words:.1f} words in chosen, {words:.1f} in rejected replies;" in page
    assert "the rejected one is longer in 50%\n" in page
    assert cost > 0 and f"12 calls, {tokens} tokens; all runs: ${cost:.2f}" in page
    assert "rejection@" in page


def test_given_guardrails_and_tags_are_kept(tmp_path: Path) -> None:
    tagged = tuple(turn.model_copy(update={"tagged": at == 3}) for at, turn in enumerate(conversation(1).turns))
    annotated = conversation(1, guardrails=RULES[:2]).model_copy(update={"turns": tagged})

    def answer(body: dict[str, Any]) -> str:
        if stage_of(body) == "rejection":
            content = {
                "reply": "It comes on Monday (rule-2) I am sure of that, dear customer.",
                "breaks": [2],
                "how": "",
            }
            return json.dumps({"item": item_of(body)} | content)
        return annotator(body)

    with Server(answer) as server:
        made = annotate(server, tmp_path, [annotated])
        assert [stage_of(body) for body in server.bodies] == ["rejection", "confirmation"]
        assert [(pair.id, pair.guardrails) for pair in made.pairs] == [("c.1.3", RULES[:2])]
        made = annotate(server, tmp_path, [conversation(5), annotated], guardrails=RULES)
        assert [each.guardrails for each in made.conversations] == [RULES, RULES[:2]]
        assert "guardrails" not in [stage_of(body) for body in server.bodies]


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "too few guardrails": ("guardrails", lambda answer: answer["guardrails"].pop(), "guardrails: wrong number"),
    "too many guardrails": (
        "guardrails",
        lambda answer: answer["guardrails"].extend(f"The agent must do thing {at}." for at in range(10)),
        "guardrails: wrong number",
    ),
    "no sentence": ("guardrails", lambda answer: answer["guardrails"].append("Kindness"), "guardrails: wrong form"),
    "a page": ("guardrails", lambda answer: answer["guardrails"].append("The agent " * 99), "guardrails: wrong form"),
    "twice": ("guardrails", lambda answer: answer["guardrails"].append(RULES[0].upper()), "guardrails: wrong form"),
    "a turn that is not there": ("tagging", lambda answer: answer["turns"][0].update(turn=17), "tagging: wrong turn"),
    "the customer's turn": ("tagging", lambda answer: answer["turns"][0].update(turn=2), "tagging: wrong turn"),
    "a turn twice": ("tagging", lambda answer: answer["turns"].append(answer["turns"][0]), "tagging: wrong turn"),
    "words of another turn": (
        "tagging",
        lambda answer: answer["turns"][0]["follows"][0].update(quote="cannot say a date"),
        "tagging: wrong quote",
    ),
    "a guardrail that is not there": (
        "tagging",
        lambda answer: answer["turns"][0]["follows"][0].update(number=4),
        "tagging: wrong guardrails",
    ),
    "follows nothing": ("tagging", lambda answer: answer["turns"][0].update(follows=[]), "tagging: wrong guardrails"),
    "much longer": ("rejection", lambda answer: answer.update(reply=answer["reply"] * 2), "rejection: wrong length"),
    "much shorter": ("rejection", lambda answer: answer.update(reply="No."), "rejection: wrong length"),
    "empty": ("rejection", lambda answer: answer.update(reply=" \n"), "rejection: same reply"),
    "breaks nothing": ("rejection", lambda answer: answer.update(breaks=[]), "rejection: wrong guardrails"),
    "breaks what is not there": ("rejection", lambda answer: answer.update(breaks=[4]), "rejection: wrong guardrails"),
    "names another guardrail": ("rejection", lambda answer: answer.update(breaks=[3]), "confirmation: not confirmed"),
    "confirms nothing": (
        "confirmation",
        lambda answer: [each.update(broken=False) for each in answer["guardrails"]],
        "confirmation: not confirmed",
    ),
    "confirms with invented words": (
        "confirmation",
        lambda answer: [each.update(broken=True, quote="on Sunday") for each in answer["guardrails"]],
        "confirmation: wrong quote",
    ),
    "confirms half": ("confirmation", lambda answer: answer["guardrails"].pop(), "confirmation: wrong guardrails"),
    "another item": ("confirmation", lambda answer: answer.update(item="0" * 16), "confirmation: wrong item"),
}


@pytest.mark.parametrize(("stage", "change", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_what_fails_a_check_is_left_out_and_counted(
    tmp_path: Path, stage: str, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    with Server(with_change(stage, change)) as server:
        made = annotate(server, tmp_path, [conversation(1)])
    assert made.pairs == []
    assert set(made.dropped) == {reason}
    with Server(annotator, port=server.port) as honest:
        again = annotate(honest, tmp_path, [conversation(1)])
        # An unusable answer is asked for again; "this breaks nothing" is an answer, and stays.
        assert len(again.pairs) == (0 if reason.endswith("not confirmed") else 2)
        assert [stage_of(body) for body in honest.bodies[:1]] == ([] if not again.pairs else [stage])


def test_the_chosen_reply_in_other_letters_is_the_chosen_reply(tmp_path: Path) -> None:
    chosen = conversation(1).turns[1].text
    with Server(with_change("rejection", lambda answer: answer.update(reply=f"  {chosen.upper()}"))) as server:
        made = annotate(server, tmp_path, [conversation(1)])
    assert "rejection: same reply" in made.dropped


def test_a_range_of_guardrails_that_no_answer_can_meet_is_refused() -> None:
    with pytest.raises(ValidationError, match="fewest_guardrails"):
        Annotation(model="x", fewest_guardrails=15)


def test_the_confirming_call_does_not_know_what_was_broken(tmp_path: Path) -> None:
    with Server(annotator) as server:
        annotate(server, tmp_path, [conversation(1)])
        (first, *_) = [body for body in server.bodies if stage_of(body) == "confirmation"]
    assert set(slots(first)) == {"guardrails", "conversation", "reply"}
    assert slots(first)["reply"].startswith("Certainly")


def test_annotation_continues_under_faults_and_counts_what_is_lost(tmp_path: Path) -> None:
    conversations = [conversation(number) for number in range(15)]
    with Server(annotator, schedule=sometimes(0.25, seed=2), silence=4.9) as server:
        first = annotate(server, tmp_path, conversations)
        lost = sum(first.dropped.values())
        assert 0 < len(first.pairs) < 30
        assert lost > 0
    with Server(annotator, port=server.port) as server:
        assert len(annotate(server, tmp_path, conversations).pairs) == 30


def test_every_prompt_can_be_shown_filled_in(tmp_path: Path) -> None:
    annotates = Annotator(Client(endpoint("http://127.0.0.1:1/v1"), tmp_path), Annotation(model="x"))
    shown = annotates.requests(conversation(1, guardrails=RULES), 3, Rejection("It comes on Monday.", (2,)))
    assert list(shown) == ["guardrails", "tagging", "rejection", "confirmation"]
    assert "between 3 and 12 guardrails" in shown["guardrails"].messages[1].content
    assert "between 10 and 22 words" in shown["rejection"].messages[1].content
    assert all("{{" not in message.content for request in shown.values() for message in request.messages)


def test_personal_data_is_masked_before_anything_is_sent(tmp_path: Path) -> None:
    private = conversation(1).model_copy(
        update={
            "turns": (
                Turn(role="user", text="I am ann.lee+x@mail.example.com, call +44 20 7946 0958 or (212) 555-0187."),
                Turn(role="agent", text="Hello, may I write to ann.lee+x@mail.example.com and b@c.org, anything else?"),
                Turn(
                    role="user", text="Card 4111 1111 1111 1111, account DE89 3704 0044 0532 0130 00, SSN 123-45-6789."
                ),
                Turn(role="agent", text="Hello again, order 4111 1111 1111 1112 of 2024-05-01 costs 1,250.00, @ann_l."),
            )
        }
    )
    with Server(annotator) as server:
        made = annotate(server, tmp_path, [private], mask=True)
        sent = json.dumps(server.bodies)
    for secret in ("ann.lee", "7946", "555-0187", "4111 1111 1111 1111", "DE89", "123-45-6789", "ann_l"):
        assert secret not in sent
        assert secret not in made.pairs[0].model_dump_json()
    texts = [turn.text for turn in made.conversations[0].turns]
    assert texts[0] == "I am [email 1], call [phone 1] or [phone 2]."
    assert texts[1].startswith("Hello, may I write to [email 1] and [email 2]")
    assert texts[2] == "Card [card 1], account [account 1], SSN [social security number 1]."
    assert "order 4111 1111 1111 1112 of 2024-05-01 costs 1,250.00, [handle 1]" in texts[3]
    assert made.masked["email"] == 2
    assert not any("ann.lee" in path.read_text() for path in tmp_path.rglob("*.json*"))


def test_ordinary_numbers_are_not_masked() -> None:
    plain = "Order 20240501 of 12.05.2024 at 10:30 costs 99.90 for 3 items, page 12, section 4.2.1, 24/7."
    same, counts = mask(Conversation(id="c", turns=(Turn(role="user", text=plain),)))
    assert same.turns[0].text == plain
    assert not counts
    for number in range(10):  # one of ten has a card's check digit
        moment = f"17000000000{number:02d} 2024112601431{number} 2024-11-26 01-43-1{number} 26.11.2024 01.4{number}"
        software = (
            f"build 10.0.{number}.17, v2.4.1.{number}, Firmware: 12.34.56{number:02d}, 1.2.3.4.{number}, 999.1.1.2"
        )
        for text in (moment, software, f"The version is 3.4.5.{number}", f"Version number: 3.4.5.{number}"):
            same, counts = mask(Conversation(id="c", turns=(Turn(role="user", text=text),)))
            assert (same.turns[0].text, counts) == (text, {})


@pytest.mark.parametrize(
    "text, kind",
    [
        ("10.0.0.1", "address"), ("at 192.168.255.17.", "address"), ("01.23.45.67.89", "phone"),
        ("06-12-34-56-78", "phone"), ("+49 30 1234567", "phone"), ("+44 (0)20 79460958", "phone"),
        ("6502530000", "phone"), ("5555 5555 5555 4444", "card"), ("378282246310005", "card"),
        ("2223003122003222", "card"), ("6011111111111117", "card"),
    ],
)  # fmt: skip
def test_numbers_of_persons_are_masked(text: str, kind: str) -> None:
    assert mask(Conversation(id="c", turns=(Turn(role="user", text=f"It is {text}"),)))[1] == {kind: 1}
