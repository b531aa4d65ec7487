"""Notebooks 10 to 14, tiny: their own parameter files with small numbers, through the command that makes them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml

from guardalign.config.notebooks import failure
from guardalign.files import RunFolder, write_rows
from guardalign.report.results import recorded
from series import ROOT, run, save_base, write_parameters

CONVERSATIONS = {
    "10_data": {"train": 6, "feedback": 6, "test": 2},
    "11_reference": {"train": 2, "feedback": 1, "test": 2},
    "12_rounds": {"train": 1, "feedback": 5, "test": 2},
    "13_side_effects": {"train": 2, "feedback": 1, "test": 2},
    "14_transfer": {"train": 2, "feedback": 1, "test": 3, "transfer": 2},
}
DIALOGUE = "\n\nHuman: What is {}?\n\nAssistant: {}"
PROMPT = {"messages": [{"role": "user", "content": "Hello?"}], "guardrails": ["Be brief."], "banlist": ["zebra"]}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module", params=CONVERSATIONS)
def answered(request, tmp_path_factory, base):
    """A notebook's name, the folder of its run, and the plan that it made."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    content = yaml.safe_load((ROOT / "params" / "questions" / f"{name}.yaml").read_text(encoding="utf-8"))
    content["run"], content["model"] = str(folder / "run"), {"name": str(base), "max_length": 2048}
    content["source"]["conversations"] = CONVERSATIONS[name]
    content["generation"] = {"max_new_tokens": 6, "batch_size": 32}
    content["study"] |= {"seeds": [1] if name in ("10_data", "12_rounds") else [1, 2], "workers": 1}
    if name == "13_side_effects":
        rows = [{"chosen": DIALOGUE.format(n, "A number."), "rejected": DIALOGUE.format(n, "No.")} for n in range(3)]
        write_rows(folder / "hh.jsonl", rows)
        content["side_effects"] = {
            "count": 4,
            "helpful": str(folder / "hh.jsonl"),
            "harmless": str(folder / "hh.jsonl"),
        }
    if name == "14_transfer":
        content["source"] |= {"kinds": {"train": 8, "feedback": 8}, "prompts": str(folder / "prompts.jsonl")}
        write_rows(folder / "prompts.jsonl", [PROMPT | {"id": str(n)} for n in range(2)])
    code, output = run(write_parameters(folder / f"{name}.yaml", content), "--target", f"tables/{name}.csv")
    assert code == 0, output
    made = RunFolder(folder / "run")
    plan = recorded({name: made.facts[name]})
    assert plan is not None
    return name, made, plan


def test_a_questions_notebook_runs_its_arms_and_answers(answered):
    name, made, plan = answered
    assert failure(made.notebooks / f"{name}.ipynb") is None
    table = pd.read_csv(made.tables(f"{name}.csv"))
    value, low, high = ("less", "less_low", "less_high") if name == "14_transfer" else ("value", "low", "high")
    known = table.dropna(subset=[low, high])  # one conversation has no interval
    assert len(known) and ((known[low] <= known[value]) & (known[value] <= known[high])).all()
    assert list(made.figures("x.png").parent.glob("*.png"))
    assert 2 <= len(plan.named) <= 4


def test_every_arm_is_compared_and_lines_differ_in_what_they_are_named_after(answered):
    name, _, plan = answered
    met = {arm for each in plan.contrasts for arm in (each.arm_1, each.arm_2)}
    assert met - {"base"} == set(plan.arms)
    arms = plan.arms
    if name == "10_data":
        assert {arm.pairs.swapped for arm in arms.values()} == {0, 0.1, 0.2, 0.4}
        sizes = sorted({arm.pairs.count for key, arm in arms.items() if key.startswith("ipo_epoch")})
        assert len(sizes) == 5 and sizes[-1] // sizes[0] >= 16
        assert len({arm.steps for key, arm in arms.items() if "steps" in key}) == 1
    elif name == "11_reference":
        own = {arms[f"kto_{which}"].reference for which in ("start", "aligned", "base", "random", "none")}
        assert own == {"sft", "kto_start", "base", "random", "none"}
        assert len({arm.start for key, arm in arms.items() if key != "sft"}) == 1
    elif name == "12_rounds":
        fresh = [arms[f"ipo_moved_fresh_{k}"] for k in range(2, 6)]
        assert [arm.pairs.part for arm in fresh] == [(k, 5) for k in range(2, 6)]
        assert all(arm.start == arm.pairs.rejected for arm in fresh)
        assert {arms[f"ipo_fixed_same_{k}"].reference for k in range(2, 6)} == {"sft"}
        assert arms["sft_same_4"].steps == ("ipo_moved_same_4",)
    elif name == "13_side_effects":
        rates = {key: arms[key].learning_rate for key in ("sft_low", "sft_high", "ipo_low", "ipo_high")}
        assert rates["sft_low"] == rates["ipo_low"] < rates["sft_high"] == rates["ipo_high"]
    else:
        assert plan.named[0] == ("base", "sft") and {arms[two].start for _, two in plan.named[1:]} == {"sft"}


def test_what_the_last_two_find_is_in_their_tables(answered):
    name, made, _ = answered
    table = pd.read_csv(made.tables(f"{name}.csv"))
    if name == "13_side_effects":
        assert set(table["measure"]) == {"helpful", "harmless", "pretraining", "answers"}
        assert len(table) == 3 * 4 and set(table["conversations"]) > {3}
    elif name == "14_transfer":
        assert set(table["part"]) == {"wording", "kind", "transfer"} and len(table) == 3 * 3
        assert set(table["answer"]) <= {"rules", "text", "both", "open", "none"}
        assert (table["less"] - (table["known"] - table["there"])).abs().max() < 1e-9
        replies = (made.root / "prompts" / "sft.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["pair_id"] for line in replies] == ["0", "1"]
