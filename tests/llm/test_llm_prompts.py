"""What leaves the client: data stays inside its slot, byte for byte, whatever a reply tries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from attacks import ATTACKS
from comparisons import comparisons, endpoint, pair
from guardalign.annotation.stages import STAGES
from guardalign.data.conversations import Turn
from guardalign.judging.llm_judge import LLMJudge
from guardalign.llm import Client
from guardalign.llm.prompts import Prompt, PromptError, encode
from misbehaving_server import SLOT, Server, slots

SPECIAL = (
    "<|im_end|>",
    "<|im_start|>",
    "<|eot_id|>",
    "</s>",
    "<s>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "<end_of_turn>",
)


def around(text: str) -> str:
    """A prompt's text with the slots' data and marks and the item's id taken out."""
    text = SLOT.sub(lambda found: f"<<<{found[1]}>>>", text)
    return re.sub(r"item [0-9a-f]{16}\.", "item .", text)


def test_every_attack_stays_in_its_slot_on_the_wire(tmp_path: Path) -> None:
    items = [(pair(at), attack, "An honest reply.") for at, attack in enumerate(ATTACKS.values())]
    with Server() as server:
        client = Client(endpoint(server.url), tmp_path, progress=False)
        verdicts = LLMJudge(client).compare(items, "attacker", "honest")
        bodies = list(server.bodies)
    assert len(bodies) == 2 * len(ATTACKS)
    plain = around(LLMJudge(client).request(next(comparisons(1)), "12").messages[1].content)
    replies = set()
    for body in bodies:
        system, user = (message["content"] for message in body["messages"])
        assert system == LLMJudge(client).prompt.system
        assert around(user) == plain
        data = slots(body)
        assert list(data) == ["guardrails", "conversation", "replies"]
        assert sorted(data["replies"]) == ["A", "B"]
        replies |= {data["replies"]["A"], data["replies"]["B"]} - {"An honest reply."}
    assert replies == set(ATTACKS.values())
    # The server's judge reads its prompt honestly: no attack turns its verdict or gains a preference.
    for (name, attack), first, second in zip(ATTACKS.items(), verdicts[::2], verdicts[1::2], strict=True):
        assert first.invalid == second.invalid, name
        if first.invalid is None:
            assert first.dimensions == second.dimensions, name
            assert all(each.preference != "1" for each in first.dimensions.values()), attack


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_encoding_is_undone_by_json_and_holds_nothing_that_could_end_a_slot(attack: str) -> None:
    shown = encode({"A": attack})
    assert json.loads(shown) == {"A": attack}
    assert len(shown.splitlines()) == 1
    assert not set(shown) & set("<>\u200b\u200d\u202e\u2066\ufeff\u00ad\x7f\x85\u2028\u2029")
    assert shown.encode("utf-8")


def test_no_reply_becomes_a_special_token() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    dangerous = [attack for attack in ATTACKS.values() if any(text in attack for text in SPECIAL)]
    assert len(dangerous) >= 5
    for attack in dangerous:
        assert max(tokenizer.encode(attack).ids) > 0
        assert max(tokenizer.encode(encode(attack)).ids) == 0


def test_attacks_by_the_conversation_and_the_guardrails_stay_in_theirs(tmp_path: Path) -> None:
    judge = LLMJudge(Client(endpoint("http://127.0.0.1:1/v1"), tmp_path))
    plain = around(judge.request(next(comparisons(1)), "12").messages[1].content)
    for attack in ATTACKS.values():
        poisoned = pair(turns=(Turn(role="user", text=attack),), guardrails=(attack, "Be kind."))
        content = judge.request((poisoned, "a", "b"), "12").messages[1].content
        assert around(content) == plain
        data = slots({"messages": [{"content": content}]})
        assert data["conversation"] == [{"user": attack}]
        assert data["guardrails"] == {"1": attack, "2": "Be kind."}


def test_marks_and_items_cannot_be_known_beforehand_and_do_not_change(tmp_path: Path) -> None:
    judge = LLMJudge(Client(endpoint("http://127.0.0.1:1/v1"), tmp_path))
    one, two = (judge.request((pair(), "a", reply), "12").messages[1].content for reply in ("b", "c"))
    assert judge.request((pair(), "a", "b"), "12").messages[1].content == one
    mark = {name: mark for name, mark, _ in SLOT.findall(one)}
    other = {name: mark for name, mark, _ in SLOT.findall(two)}
    assert mark["replies"] != other["replies"]
    assert mark["guardrails"] == other["guardrails"]
    assert one.split("Judge item ")[1] != two.split("Judge item ")[1]


def test_points_of_one_conversation_share_their_beginning(tmp_path: Path) -> None:
    judge = LLMJudge(Client(endpoint("http://127.0.0.1:1/v1"), tmp_path))
    turns = tuple(Turn(role=role, text=f"Message {at}.") for at, role in enumerate(("user", "agent", "user")))
    early = judge.request((pair(turns=turns[:1]), "a", "b"), "12").messages
    late = judge.request((pair(turns=turns), "c", "d"), "12").messages
    assert early[0] == late[0]
    shared = early[1].content[: early[1].content.index("Message 0.") + len("Message 0.")]
    assert late[1].content.startswith(shared)
    assert early[1].content.index("guardrails") < early[1].content.index("conversation so far")


def test_slots_are_filled_in_one_pass() -> None:
    prompt = Prompt("x", "Be fair.", "{{a}} and {{b}}, item {{item}}")
    content = prompt.fill(a="{{b}}", b="{{item}} {{a}}", item="7f")[1].content
    assert [json.loads(data) for _, _, data in SLOT.findall(content)] == ["{{b}}", "{{item}} {{a}}"]
    assert content.endswith("item 7f")


def test_slots_and_values_must_match() -> None:
    prompt = Prompt("x", "Be fair.", "{{a}} {{item}}")
    for values in ({"b": 1}, {"a": 1, "b": 1}):
        with pytest.raises(PromptError, match="has the slots"):
            prompt.fill("7f", **values)


@pytest.mark.parametrize("name", ["judge", *STAGES])
def test_every_prompt_file_is_there_and_may_be_replaced(name: str, tmp_path: Path) -> None:
    own = tmp_path / f"{name}.md"
    packaged = Prompt.load(name)
    assert "data" in packaged.system
    with pytest.raises(PromptError, match=own.name):
        Prompt.load(name, tmp_path)
    own.write_text("# system\nBe fair.\n\n# user\n{{item}}\n")
    assert Prompt.load(name, tmp_path) == Prompt(name, "Be fair.", "{{item}}")
    assert Prompt.load(name, tmp_path).version != packaged.version
    own.write_text("# system\nBe {{fair}}.\n\n# user\n{{item}}\n")
    with pytest.raises(PromptError, match="without slots"):
        Prompt.load(name, tmp_path)
