"""Readings: the sample is blind and balanced, and what readers say is counted against the rules, kind by kind."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from guardalign.data import care
from guardalign.data.conversations import Reply
from guardalign.errors import InputError
from guardalign.files import write_rows
from guardalign.judging.rules.judge import assess
from guardalign.report import read, readings
from guardalign.workflow.cli import main

ARMS = ("M_1SFT", "M_1SFT_ipo")
PAIRS = [point.pair("test") for point in care.points("test")[:120]]


def data_replies(arm, text):
    return [
        Reply(pair_id=pair.id, conversation_id=pair.conversation_id, arm=arm, text=getattr(pair, text))
        for pair in PAIRS
    ]


@pytest.fixture
def run(tmp_path):
    write_rows(tmp_path / "data" / "pairs.jsonl", PAIRS)
    for seed in (1, 2):
        for arm, text in zip(ARMS, ("chosen", "rejected"), strict=True):
            write_rows(tmp_path / f"seed-{seed}" / "replies" / f"{arm}.jsonl", data_replies(arm, text))
        (tmp_path / f"seed-{seed}" / "scores").mkdir()
    return tmp_path


def answered(sample, reader, choose):
    """A line per guardrail that has a status; ``choose(shown, number)`` gives it."""
    return [
        {"reply": each.reply, "reader": reader, "guardrail": number, "status": choose(each, number)}
        for each in sample
        for number, kind in enumerate(each.kinds, start=1)
        if kind
    ]


def test_the_command_draws_a_balanced_sample_that_shows_no_arm(run, capsys):
    assert main(["judge-sample", str(run), "--rules", "--items", "60", "--seed", "3"]) == 0
    sheet, key = (run / "readings" / name for name in ("sheet.md", "key.json"))
    assert str(sheet) in capsys.readouterr().out
    assert not any(arm in sheet.read_text() for arm in ARMS) and sheet.read_text().count("\n## r") == 60
    items = json.loads(key.read_text())
    assert Counter(item["arm"] for item in items) == dict.fromkeys(ARMS, 30)
    assert len({item["pair_id"] for item in items}) == 60 and {item["seed"] for item in items} == {1, 2}
    kinds = Counter(kind for item in items for kind in item["kinds"] if kind)
    every = Counter(kind for pair in PAIRS for kind in readings._kinds(pair) if kind)
    shares = [kinds[kind] / every[kind] for kind in every if every[kind] <= 8]
    assert sum(shares) / len(shares) > 0.6, "half of the prompts hold more than half of what is rare"
    assert main(["judge-sample", str(run), "--rules", "--items", "60", "--seed", "4"]) == 1, "readings would be lost"


def test_readers_meet_each_other_and_the_rules(run):
    sample = readings.draw(read(run).replies, PAIRS, 40, seed=1)
    folder = run / "readings"
    readings.export(sample, folder)
    status = {"complied": "kept", "broken": "broken", "not applicable": "not due"}

    def as_ruled(each, number):
        rule = assess(each.turns, each.guardrails, each.text).guardrails[number - 1]
        return "not due" if rule.reason == "not due" else status[rule.status]

    write_rows(folder / "a.jsonl", answered(sample, "A", as_ruled))
    write_rows(folder / "b.jsonl", answered(sample[:30], "B", lambda *_: "kept"))
    rows = readings.read(folder)
    table = readings.agreement(rows).set_index(["one", "two", "kind"])
    asked = sum(bool(kind) for each in sample for kind in each.kinds)
    assert table.loc[("A", "rules", "all kinds"), ["n", "kappa", "agreement"]].tolist() == [asked, 1, 1]
    assert table.loc[("A", "B", "all kinds"), "n"] < asked, "only what both read counts"
    assert table.loc[("B", "rules", "all kinds"), "kappa"] == pytest.approx(0)
    assert table.loc[("B", "rules", "all kinds"), "same_status"] < table.loc[("B", "rules", "all kinds"), "agreement"]
    assert table.loc[("B", "rules", "all kinds"), "broken_1"] == 0 < table.loc[("A", "rules", "all kinds"), "broken_2"]
    assert set(table.loc[("A", "rules")].index) == {"all kinds", *(kind for each in sample for kind in each.kinds)} - {
        ""
    }
    parted = rows[rows["A"] != rows["B"]].dropna(subset="B")
    assert (parted["rules"] == parted["A"]).all() and set(parted["asked"]) <= {
        text for each in sample for text in each.guardrails
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reply": "r099"}, "r099"),
        ({"guardrail": 40}, "guardrail 40"),
        ({"reader": "kind"}, "kind is the name of a column"),
        ({"status": "unsure"}, "line 1.*status"),
        (None, "twice"),
    ],
)
def test_wrong_readings_are_refused(run, change, message):
    sample = readings.draw(read(run).replies, PAIRS, 5)
    readings.export(sample, run / "readings")
    first, *rest = answered(sample, "A", lambda *_: "kept")
    write_rows(run / "readings" / "a.jsonl", [first | (change or {}), *rest, *([] if change else [first])])
    with pytest.raises(InputError, match=message):
        readings.read(run / "readings")


def test_without_readings_there_is_no_table(run):
    assert readings.agreement(readings.read(run / "readings")).empty
    with pytest.raises(InputError, match="fewer than 121"):
        readings.draw(read(run).replies, PAIRS, 121)
