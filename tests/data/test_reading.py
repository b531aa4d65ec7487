"""Bad input: every kind is either put right and counted, refused with its reason, or an error that names the line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from guardalign.data.reading import prompts, read
from guardalign.errors import InputError
from guardalign.judging.rules.catalogue import read_guardrail

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data"
HELLO = {"role": "user", "text": "Hello"}
ANSWER = {"role": "agent", "text": "How can I help?"}


def conversation(**changes):
    return {"id": "c1", "turns": [HELLO, ANSWER], "guardrails": ["Be polite."]} | changes


def pair(**changes):
    return {
        "id": "c1.1",
        "turns": [HELLO],
        "chosen": "Hello, Anna.",
        "rejected": "What?",
        "guardrails": ["Greet."],
    } | changes


@pytest.fixture
def written(tmp_path):
    def write(*rows, newline="\n", encoding="utf-8"):
        path = tmp_path / "rows.jsonl"
        lines = [row if isinstance(row, str | bytes) else json.dumps(row) for row in rows]
        parts = [line if isinstance(line, bytes) else line.encode(encoding) for line in lines]
        path.write_bytes(newline.encode().join([*parts, b""]))
        return path

    return write


def reasons(reading):
    return [refused.reason for refused in reading.refused]


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "line, reason",
    [
        ('{"id": "c2", "turns": [', "not valid JSON"),
        ("[1, 2]", "not a JSON object"),
        (json.dumps(conversation(turns=[HELLO | {"text": "Grüße"}]), ensure_ascii=False).encode("latin-1"), "UTF-8"),
        ('{"id": ' + "1" * 5_000 + "}", "not valid JSON"),
        (f'{{"id": {DEEP}', "not valid JSON"),
        (json.dumps(conversation(id="\ud83d")), "`id`"),
        (json.dumps(conversation(id="a\0b")), "`id`"),
        (json.dumps(conversation(id=float("nan"))), "`id`"),
        (json.dumps(conversation(id=True)), "`id`"),
        (json.dumps(pair(conversation_id="\udc00")), "`conversation_id`"),
        (json.dumps(pair(broken=[True])), "`broken`"),
        (json.dumps(pair(broken=[1.0])), "`broken`"),
        (json.dumps(conversation(guardrails={"1" * 5_000: ""})), "guardrail 1 is empty"),
        ('{"id": "c2", "id": "c3"}', "key `id`"),
        ('{"id": "c2", "turns": [{"role": "user", "text": "a", "text": "b"}]}', "key `text`"),
    ],
)
def test_a_bad_row_is_refused_by_its_line_and_blocks_no_other(written, line, reason):
    reading = read(written(conversation(), line, conversation(id="c9", **{"\ud83d": 1})))
    assert [row.id for row in reading.conversations] == ["c1", "c9"]
    [refused] = reading.refused
    assert refused.line == 2 and reason in refused.reason
    refused.model_dump_json()


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="null byte"):
        read(tmp_path / "a\0b.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(InputError, match="no usable row"):
        read(tmp_path / "empty.jsonl")


def test_unknown_roles_are_refused_unless_ignored(written):
    tool = conversation(id="c2", turns=[HELLO, {"role": "tool_call", "text": "{}"}, ANSWER])
    reading = read(written(conversation(), tool))
    assert reasons(reading) == [
        reason for reason in reasons(reading) if "turn 2 has the unknown role 'tool_call'" in reason
    ]
    assert [row.id for row in reading.conversations] == ["c1"]
    assert reading.refused[0].line == 2 and json.loads(reading.refused[0].row) == tool

    reading = read(written(conversation(), tool), ignore_roles=["tool_call"])
    assert len(reading.conversations) == 2 and not reading.refused
    assert reading.notes["turn of role `tool_call` left out"] == 1


def test_turns_of_one_role_in_a_row_are_joined_and_counted(written):
    turns = [HELLO, {"role": "user", "text": "Anyone?"}, ANSWER, ANSWER | {"tagged": True}]
    reading = read(written(conversation(turns=turns)))
    assert [turn.text for turn in reading.conversations[0].turns] == [
        "Hello\nAnyone?",
        "How can I help?\nHow can I help?",
    ]
    assert reading.conversations[0].turns[1].tagged
    assert reading.notes["turn joined to the one before (same role)"] == 2


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"turns": [HELLO, {"role": "agent", "text": " \n\t"}]}, "turn 2 is empty"),
        ({"turns": [HELLO, {"role": "agent"}]}, "turn 2 has no text"),
        ({"turns": [HELLO]}, "no agent turn"),
        ({"turns": []}, "`turns` or `messages` is not a list"),
        ({"turns": ["Hello", "Hi"]}, "turn 1 is not an object with role and text"),
        ({"guardrails": "Be polite."}, "`guardrails` is neither a list nor a dict"),
        ({"guardrails": ["Be polite.", ""]}, "guardrail 2 is empty"),
        ({"guardrails": {"1": None}}, "guardrail 1 has no text"),
        ({"id": ["c2"]}, "`id` is neither text nor a number"),
        ({"turns": [HELLO, {"role": "agent", "text": "\ud83d"}]}, "turn 2 holds half a character"),
    ],
)
def test_unusable_conversations_are_refused_with_their_reason(written, changes, reason):
    bad = json.dumps(conversation(id="c2") | changes)
    reading = read(written(conversation(), bad))
    assert len(reading.conversations) == 1 and len(reading.refused) == 1
    assert reading.refused[0].reason.startswith(reason)


def test_a_file_without_a_usable_row_says_why(written):
    with pytest.raises(InputError, match=r"no usable row; 1 refused: line 1: no agent turn"):
        read(written(conversation(turns=[HELLO])))


def test_rows_with_one_id_are_kept_and_numbered_unless_they_are_the_same(written):
    rows = [conversation(), conversation(guardrails=["Other."]), conversation(), conversation(guardrails=["Third."])]
    reading = read(written(*rows))
    assert [row.id for row in reading.conversations] == ["c1", "c1#2", "c1#3"]
    assert reading.notes["id of an earlier row, numbered"] == 2
    assert [(row.line, row.reason) for row in reading.refused] == [(3, "the row repeats line 1")]


def test_pairs_with_one_id_are_of_one_conversation(written):
    reading = read(written(*(pair(id="c1", rejected=text) for text in "abc")))
    assert [row.id for row in reading.pairs] == ["c1", "c1#2", "c1#3"]
    assert {row.conversation_id for row in reading.pairs} == {"c1"}


@pytest.mark.parametrize(
    "guardrails",
    [
        ["First.", "Second."],
        {"1": "First.", "2": "Second."},
        {"2": "Second.", "1": "First."},
        {"guardrails": {"1": "First.", "2": "Second."}},
        {"tone": "First.", "end": "Second."},
    ],
)
def test_guardrails_come_as_list_or_dict(written, guardrails):
    assert read(written(conversation(guardrails=guardrails))).conversations[0].guardrails == ("First.", "Second.")


def test_ten_guardrails_in_a_dict_stand_in_numeric_order(written):
    given = {str(number): f"Rule {number}." for number in (10, 9, 1, 2, 3, 4, 5, 6, 7, 8)}
    rows = read(written(conversation(guardrails=given))).conversations
    assert rows[0].guardrails == tuple(f"Rule {number}." for number in range(1, 11))


def test_long_texts_other_scripts_and_emoji_arrive_unchanged(written):
    long = "A sentence of a very long complaint. " * 5000
    texts = [
        long.strip(),
        "مرحبا كيف يمكنني مساعدتك؟",
        "请问有什么可以帮您？👩‍💻",
        "line\u2028separator",
        "Ärger\nzweite Zeile",
    ]
    turns = [{"role": ("user", "agent")[number % 2], "text": text} for number, text in enumerate(texts)]
    reading = read(written(conversation(turns=turns)))
    assert [turn.text for turn in reading.conversations[0].turns] == texts


def test_bom_crlf_and_blank_lines_change_nothing(written):
    plain = read(written(conversation(), conversation(id="c2")))
    odd = read(written(conversation(), "", conversation(id="c2"), newline="\r\n", encoding="utf-8-sig"))
    assert odd.conversations == plain.conversations
    inside = conversation(turns=[HELLO | {"text": "one\r\ntwo"}, ANSWER])
    assert read(written(inside)).conversations[0].turns[0].text == "one\ntwo"


def test_keys_that_are_not_used_are_reported_once_each(written):
    extra = {"source": "STAR", "task": "bank", "happy": True}
    reading = read(written(conversation(**extra), conversation(id="c2", **extra)))
    assert len(reading.conversations) == 2
    assert reading.notes == {"key `source` not used": 2, "key `task` not used": 2, "key `happy` not used": 2}


def test_messages_with_content_and_assistant_are_understood(written):
    row = {"id": 7, "messages": [{"role": "User", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    reading = read(written(row))
    assert reading.conversations[0].id == "7"
    assert [turn.role for turn in reading.conversations[0].turns] == ["user", "agent"]


def test_rows_without_id_are_named_after_their_content(written):
    nameless = {key: value for key, value in conversation().items() if key != "id"}
    first = read(written(nameless, conversation(id="c2"))).conversations[0].id
    moved = read(written(conversation(id="c2"), nameless)).conversations[1].id
    assert first == moved
    assert reasons(read(written(nameless, nameless))) == ["the row repeats line 1"]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"rejected": " Hello, Anna.\n"}, "chosen and rejected are the same reply"),
        ({"rejected": ""}, "`rejected` is empty"),
        ({"chosen": None}, "`chosen` has no text"),
        ({"turns": [HELLO, ANSWER]}, "the history does not end in a user's message"),
        ({"broken": [2]}, "`broken` is not a list of guardrail numbers from 1 to 1"),
    ],
)
def test_unusable_pairs_are_refused_with_their_reason(written, changes, reason):
    reading = read(written(pair(), pair(id="c1.3") | changes))
    assert len(reading.pairs) == 1 and reasons(reading) == [reason]


@pytest.mark.parametrize(
    "given, conversation_id",
    [
        ({"id": "star#943.15"}, "star#943"),
        ({"id": "star#943"}, "star#943"),
        ({"id": "v1.beta"}, "v1.beta"),
        ({"id": "a.1", "conversation_id": "b"}, "b"),
    ],
)
def test_the_conversation_of_a_pair(written, given, conversation_id):
    assert read(written(pair(**given))).pairs[0].conversation_id == conversation_id


def test_a_mixed_file_is_read_row_by_row(written):
    reading = read(written(conversation(), pair(), conversation(id="c2"), pair(id="c3.1")))
    assert [row.id for row in reading.conversations] == ["c1", "c2"]
    assert [row.id for row in reading.pairs] == ["c1.1", "c3.1"]


def message(role, content, **more):
    return {"role": role, "content": content} | more


ASKED = [message("system", "Be brief."), message("user", "Can I pay by card?")]


def test_openais_messages(written):
    messages = [
        message(
            "system",
            "You work for Acme. Rules:\n\n1. Never lie.\n   Not even once.\n2) Say:\n  - thanks\n\nBe kind.",
        ),
        message("developer", "No lists here."),
        message("user", [{"type": "text", "text": "Where is"}, {"type": "text", "text": "my parcel?"}]),
        message("assistant", None, tool_calls=[{"id": "t"}]),
        message("tool", "in transit", tool_call_id="t"),
        message("assistant", "On its way."),
    ]
    reading = read(written({"messages": messages}))
    [row] = reading.conversations
    assert row.guardrails == (
        "You work for Acme.", "Never lie.\nNot even once.", "Say:\n- thanks", "Be kind.", "No lists here."
    )  # fmt: skip
    assert [(turn.role, turn.text) for turn in row.turns] == [
        ("user", "Where is\nmy parcel?"),
        ("agent", "On its way."),
    ]
    assert reading.notes["tool call left out"] == reading.notes["turn of role `tool` left out"] == 1
    picture = [message("user", [{"type": "image_url", "image_url": {}}]), message("assistant", "A cat.")]
    assert "not only text" in reasons(read(written({"messages": messages}, {"messages": picture})))[0]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASKED, "chosen": [message("assistant", "Yes.")], "rejected": [message("assistant", "No.")]},
        {"chosen": [*ASKED, message("assistant", "Yes.")], "rejected": [*ASKED, message("assistant", "No.")]},
        {"prompt": ASKED[1]["content"], "guardrails": ["Be brief."], "chosen": "Yes.", "rejected": "No."},
        {
            "prompt": "Can I …",
            "chosen": [*ASKED, message("assistant", "Yes.")],
            "rejected": [*ASKED, message("bot", "No.")],
        },
    ],
    ids=["prompt apart", "prompt within", "texts", "prompt twice"],
)
def test_trls_preference_formats(written, row):
    [found] = read(written(row)).pairs
    assert (found.chosen, found.rejected, found.guardrails) == ("Yes.", "No.", ("Be brief.",))
    assert [(turn.role, turn.text) for turn in found.turns] == [("user", "Can I pay by card?")]


def test_a_reply_is_one_message_of_the_agent(written):
    more = [message("assistant", "Yes."), message("user", "Sure?"), message("assistant", "Yes.")]
    row = {"prompt": ASKED, "chosen": more, "rejected": [message("assistant", "No.")]}
    assert reasons(read(written(pair(), row))) == ["`chosen` is more than the agent's next message"]


def test_every_form_in_the_documentation_is_read(tmp_path):
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "all.jsonl").write_text("".join(blocks), encoding="utf-8")
    reading = read(tmp_path / "all.jsonl")
    assert (len(reading.conversations), len(reading.pairs), reading.refused) == (3, 4, [])
    assert [len(row.guardrails) for row in [*reading.conversations, *reading.pairs]] == [1, 3, 2, 2, 0, 1, 0]
    assert [row.conversation_id for row in reading.pairs[:2]] == ["c2", "c3"]
    assert not any("not used" in note for note in reading.notes)


@pytest.mark.skipif(not REAL.exists(), reason="the real rows are not here")
def test_real_rows_are_read_whole():
    care = REAL / "care"
    assert len(read(care / "cucom_ecommerce_200.jsonl").conversations) == 200
    assert len(read(care / "star_conversations_150.jsonl").conversations) == 150
    pairs = read(care / "star_pairs_600.jsonl")
    assert len(pairs.pairs) == 600 and not pairs.refused
    assert len({row.conversation_id for row in pairs.pairs}) == 440
    tau = read(care / "tau_airline_40.jsonl", ignore_roles=["tool_call", "tool_result"])
    assert len(tau.conversations) == 40 and tau.notes["turn of role `tool_call` left out"] == 254


def test_prompts_without_replies_are_read_as_prompts(written):
    system, ask = {"role": "system", "content": "Rules"}, {"role": "user", "content": "Say boat."}
    answer, more = {"role": "assistant", "content": "No."}, {"role": "user", "content": "Please."}
    rules = {"guardrails": ["Speak like a pirate."]}
    path = written(
        {"id": "a", "messages": [system, ask], "banlist": ["ship", "boat"], **rules},
        {"id": "a", "messages": [system, ask, answer, more, answer], **rules},
        {"messages": [{"role": "system", "content": "- One.\n- Two."}, ask], "chosen": "Aye.", "rejected": "Hm."},
        {"id": "c", "messages": [system, answer], **rules},
    )
    found = prompts(path)
    assert [row.line for row in found.refused] == [4] and not found.conversations
    first, second, third = found.pairs
    assert first.guardrails[0] == "Speak like a pirate." and read_guardrail(first.guardrails[1]).kind.key == "banlist"
    assert [len(each.turns) for each in found.pairs] == [1, 3, 1] and third.guardrails == ("One.", "Two.")
    assert (first.id, second.id) == ("a", "a#2") and first.conversation_id == second.conversation_id == "a"
    assert {(each.chosen, each.rejected, each.split) for each in found.pairs} == {("", "", "transfer")}
    assert "source.prompts" in read(path).refused[0].reason


@pytest.mark.skipif(not REAL.exists(), reason="the real rows are not here")
def test_all_rows_of_realguardrails_are_prompts():
    rows = [json.loads(line) for line in (REAL / "realguardrails" / "handwritten.jsonl").open(encoding="utf-8")]
    found = prompts(REAL / "realguardrails" / "handwritten.jsonl")
    assert len(found.pairs) == 237 and all("repeats line" in reason for reason in reasons(found))
    known = [rule for pair in found.pairs for rule in map(read_guardrail, pair.guardrails) if rule]
    assert [rule.kind.key for rule in known].count("banlist") == sum("banlist" in row for row in rows) - 1


@pytest.mark.skipif(not REAL.exists(), reason="the real rows are not here")
def test_realguardrails_rows_are_read_where_an_agent_replied():
    rows = [json.loads(line) for line in (REAL / "realguardrails" / "handwritten.jsonl").open(encoding="utf-8")]
    replied = [row for row in rows if any(message["role"] == "assistant" for message in row["messages"])]
    reading = read(REAL / "realguardrails" / "handwritten.jsonl")
    assert len(reading.conversations) == len(replied) == 53
    assert {reason[:13] for reason in reasons(reading)} == {"no agent turn"}
    assert [len(row.guardrails) for row in reading.conversations] == [
        len(row["guardrails"]) + ("banlist" in row) for row in replied
    ]
