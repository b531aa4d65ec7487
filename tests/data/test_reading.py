"""Bad input: every kind is either put right and counted, refused with its reason, or an error that names the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guardalign.data.reading import holds_pairs, read_conversations, read_pairs
from guardalign.errors import InputError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "care"
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
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_bytes((newline.join(lines) + newline).encode(encoding))
        return path

    return write


def reasons(reading):
    return [refused.reason for refused in reading.refused]


def test_malformed_json_names_file_and_line(written):
    path = written(conversation(), '{"id": "c2", "turns": [')
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2 is no JSON"):
        read_conversations(path)


def test_a_line_that_is_no_object_names_file_and_line(written):
    with pytest.raises(InputError, match=r"line 1 is no JSON object"):
        read_conversations(written("[1, 2]"))


def test_other_encodings_are_named(written):
    path = written(conversation(turns=[HELLO | {"text": "Grüße"}, ANSWER]), encoding="latin-1")
    with pytest.raises(InputError, match=r"line 1 is no UTF-8 text"):
        read_conversations(path)


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_conversations(tmp_path / "absent.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(InputError, match="no usable row"):
        read_conversations(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match="no rows"):
        holds_pairs(tmp_path / "empty.jsonl")


def test_unknown_roles_are_refused_unless_ignored(written):
    tool = conversation(id="c2", turns=[HELLO, {"role": "tool_call", "text": "{}"}, ANSWER])
    reading = read_conversations(written(conversation(), tool))
    assert reasons(reading) == [
        reason for reason in reasons(reading) if "turn 2 has the unknown role 'tool_call'" in reason
    ]
    assert [row.id for row in reading.rows] == ["c1"]
    assert reading.refused[0].line == 2 and json.loads(reading.refused[0].row) == tool

    reading = read_conversations(written(conversation(), tool), ignore_roles=["tool_call"])
    assert len(reading.rows) == 2 and not reading.refused
    assert reading.notes["turn of role `tool_call` left out"] == 1


def test_turns_of_one_role_in_a_row_are_joined_and_counted(written):
    turns = [HELLO, {"role": "user", "text": "Anyone?"}, ANSWER, ANSWER | {"tagged": True}]
    reading = read_conversations(written(conversation(turns=turns)))
    assert [turn.text for turn in reading.rows[0].turns] == ["Hello\nAnyone?", "How can I help?\nHow can I help?"]
    assert reading.rows[0].turns[1].tagged
    assert reading.notes["turn joined to the one before (same role)"] == 2


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"turns": [HELLO, {"role": "agent", "text": " \n\t"}]}, "turn 2 is empty"),
        ({"turns": [HELLO, {"role": "agent"}]}, "turn 2 has no text"),
        ({"turns": [HELLO]}, "no agent turn"),
        ({"turns": []}, "`turns` is no list of messages"),
        ({"turns": ["Hello", "Hi"]}, "turn 1 is no object with role and text"),
        ({"guardrails": "Be polite."}, "`guardrails` is neither a list nor a dict"),
        ({"guardrails": ["Be polite.", ""]}, "guardrail 2 is empty"),
        ({"guardrails": {"1": None}}, "guardrail 1 has no text"),
        ({"id": ["c2"]}, "`id` is neither text nor a number"),
        ({"turns": [HELLO, {"role": "agent", "text": "\ud83d"}]}, "turn 2 holds half a character"),
    ],
)
def test_unusable_conversations_are_refused_with_their_reason(written, changes, reason):
    bad = json.dumps(conversation(id="c2") | changes)
    reading = read_conversations(written(conversation(), bad))
    assert len(reading.rows) == 1 and len(reading.refused) == 1
    assert reading.refused[0].reason.startswith(reason)


def test_a_file_without_a_usable_row_says_why(written):
    with pytest.raises(InputError, match=r"no usable row; 1 refused: line 1: no agent turn"):
        read_conversations(written(conversation(turns=[HELLO])))


def test_duplicate_ids_keep_the_first_row(written):
    reading = read_conversations(written(conversation(), conversation(guardrails=["Other."])))
    assert [row.guardrails for row in reading.rows] == [("Be polite.",)]
    assert reasons(reading) == ["the id is already that of line 1"]


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
    assert read_conversations(written(conversation(guardrails=guardrails))).rows[0].guardrails == ("First.", "Second.")


def test_ten_guardrails_in_a_dict_stand_in_numeric_order(written):
    given = {str(number): f"Rule {number}." for number in (10, 9, 1, 2, 3, 4, 5, 6, 7, 8)}
    rows = read_conversations(written(conversation(guardrails=given))).rows
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
    reading = read_conversations(written(conversation(turns=turns)))
    assert [turn.text for turn in reading.rows[0].turns] == texts


def test_bom_crlf_and_blank_lines_change_nothing(written):
    plain = read_conversations(written(conversation(), conversation(id="c2")))
    odd = read_conversations(written(conversation(), "", conversation(id="c2"), newline="\r\n", encoding="utf-8-sig"))
    assert odd.rows == plain.rows
    inside = conversation(turns=[HELLO | {"text": "one\r\ntwo"}, ANSWER])
    assert read_conversations(written(inside)).rows[0].turns[0].text == "one\ntwo"


def test_keys_that_are_not_used_are_reported_once_each(written):
    extra = {"source": "STAR", "task": "bank", "happy": True}
    reading = read_conversations(written(conversation(**extra), conversation(id="c2", **extra)))
    assert len(reading.rows) == 2
    assert reading.notes == {"key `source` not used": 2, "key `task` not used": 2, "key `happy` not used": 2}


def test_messages_with_content_and_assistant_are_understood(written):
    row = {"id": 7, "messages": [{"role": "User", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    reading = read_conversations(written(row))
    assert reading.rows[0].id == "7"
    assert [turn.role for turn in reading.rows[0].turns] == ["user", "agent"]


def test_rows_without_id_are_named_after_their_content(written):
    nameless = {key: value for key, value in conversation().items() if key != "id"}
    first = read_conversations(written(nameless, conversation(id="c2"))).rows[0].id
    moved = read_conversations(written(conversation(id="c2"), nameless)).rows[1].id
    assert first == moved
    assert reasons(read_conversations(written(nameless, nameless))) == ["the id is already that of line 1"]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"rejected": " Hello, Anna.\n"}, "chosen and rejected are the same reply"),
        ({"rejected": ""}, "`rejected` is empty"),
        ({"chosen": None}, "`chosen` has no text"),
        ({"turns": [HELLO, ANSWER]}, "the history does not end in a user's message"),
        ({"broken": [2]}, "`broken` is no list of guardrail numbers from 1 to 1"),
    ],
)
def test_unusable_pairs_are_refused_with_their_reason(written, changes, reason):
    reading = read_pairs(written(pair(), pair(id="c1.3") | changes))
    assert len(reading.rows) == 1 and reasons(reading) == [reason]


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
    assert read_pairs(written(pair(**given))).rows[0].conversation_id == conversation_id


def test_pairs_are_told_from_conversations(written):
    assert holds_pairs(written(pair()))
    assert not holds_pairs(written(conversation()))
    assert reasons(read_conversations(written(conversation(), pair()))) == ["a preference pair among conversations"]


@pytest.mark.skipif(not REAL.exists(), reason="the real rows are not here")
def test_real_rows_are_read_whole():
    assert len(read_conversations(REAL / "cucom_ecommerce_200.jsonl").rows) == 200
    assert len(read_conversations(REAL / "star_conversations_150.jsonl").rows) == 150
    pairs = read_pairs(REAL / "star_pairs_600.jsonl")
    assert len(pairs.rows) == 600 and not pairs.refused
    assert len({row.conversation_id for row in pairs.rows}) == 440
    tau = read_conversations(REAL / "tau_airline_40.jsonl", ignore_roles=["tool_call", "tool_result"])
    assert len(tau.rows) == 40 and tau.notes["turn of role `tool_call` left out"] == 254
