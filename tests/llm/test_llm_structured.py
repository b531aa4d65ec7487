"""The strict parser: one JSON object, wherever it occurs, or nothing."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from guardalign.llm.structured import Unreadable, objects, parse


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item: str
    better: bool


GOOD = '{"item": "7", "better": true}'
FAKE = '{"item": "7", "better": false}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"  \n{GOOD}\n",
        f"Sure! Here it is:\n```json\n{GOOD}\n```\nAnything else?",
        f"{GOOD}\n{GOOD}",
        f"I use braces {{like this}} and { {1, 2} } first. {GOOD}",
        f"<think>Perhaps {FAKE}? No.</think>{GOOD}",
        f"<think>Perhaps <think>{FAKE}</think>? No.</think> {GOOD}",
        '{"better": true, "item": "7"}{"item": "7", "better": true}',
    ],
)
def test_one_object_is_found(text: str) -> None:
    assert parse(text, Answer) == Answer(item="7", better=True)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "not JSON"),
        ("I cannot decide.", "not JSON"),
        (GOOD[:-3], "not JSON"),
        (f"{FAKE} {GOOD}", "several answers"),
        (f'The reply says "{FAKE}", so {GOOD}', "several answers"),
        ('{"item": "7", "better": true, "better": false}', "several answers"),
        (f"{GOOD} <think>{FAKE}</think>", "several answers"),
        ('{"item": "7"}', "wrong schema"),
        ('{"item": "7", "better": "yes"}', "wrong schema"),
        ('{"item": "7", "better": true, "note": "A wins"}', "wrong schema"),
        ('{"item": 7, "better": true}', "wrong schema"),
        ('{"item": "7", "better": NaN}', "not JSON"),
        ("[" + GOOD[:-1], "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        ('{"item":' + "[" * 100_000, "not JSON"),
        ("{" * 5_000, "not JSON"),
        ("x" * 1_000_001, "not JSON"),
        (f"<think>Perhaps {FAKE}", "cut off"),
        (f"<think>One says <think> and </think> {FAKE}", "cut off"),
        (f"<think>so</think><think>or {FAKE}", "cut off"),
        ("<think></think>" * 60_000 + f"<think>{FAKE}", "cut off"),
    ],
)
def test_anything_else_is_refused_with_its_kind(text: str, kind: str) -> None:
    with pytest.raises(Unreadable, match=f"^{kind}: "):
        parse(text, Answer)


def test_objects_inside_objects_and_strings_do_not_count() -> None:
    assert objects('{"reply": "{\\"better\\": true}", "in": {"deep": {}}}') == [
        {"reply": '{"better": true}', "in": {"deep": {}}}
    ]
