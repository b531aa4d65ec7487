"""The plan: arms that cannot be run are refused, the others come after those they need."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from guardalign.config.params import Params
from guardalign.config.plan import NOTEBOOKS, Plan, narrowed
from guardalign.config.sections import Method
from guardalign.losses import METHODS

ROOT = Path(__file__).resolve().parents[2]
SFT = {"method": "sft", "learning_rate": 1e-3}
DPO = {"method": "dpo", "learning_rate": 1e-4}
OWN = {"splits": ["feedback"], "rejected": "bot"}


def plan(**arms: object) -> Plan:
    return Plan.model_validate({"arms": arms})


def test_every_method_of_the_parameters_is_a_loss_and_the_other_way_round():
    assert set(Method.__args__) == set(METHODS)


def test_arms_stand_after_those_they_start_from_and_learn_from():
    found = plan(
        late={**DPO, "start": "aligned", "reference": "bot"},
        aligned={**DPO, "start": "first", "pairs": OWN},
        bot=SFT,
        first={**SFT, "name": "ignored"},
        long={**SFT, "steps": ["first", "late"]},
    )
    order = found.order()
    assert sorted(order) == sorted(found.arms)
    for name in order:
        assert all(order.index(other) < order.index(name) for other in found.ancestors(name))
    assert set(found.ancestors("late")) == {"aligned", "first", "bot"}
    assert found.ancestors("long") == ()
    assert found.arms["first"].name == "first"


def test_a_reference_may_be_random_or_a_constant_and_is_then_no_arm_to_wait_for():
    found = plan(bot=SFT, a={**DPO, "start": "bot", "reference": "random"}, b={**DPO, "reference": "none"})
    assert found.ancestors("a") == ("bot",) and found.ancestors("b") == ()


def test_each_arm_has_the_stage_of_what_it_learns_from():
    found = plan(
        bot=SFT, more={**SFT, "start": "bot"}, plain=DPO, after={**SFT, "start": "plain"}, own={**DPO, "pairs": OWN},
        other={**DPO, "stage": "methods"},
    )  # fmt: skip
    assert {name: found.stage(name) for name in found.arms} == {
        "bot": "sft", "more": "sft", "plain": "flow1", "after": "flow1", "own": "flow2", "other": "methods",
    }  # fmt: skip
    assert [name for stage in NOTEBOOKS for name in found.part(stage)] == list(found.arms)


@pytest.mark.parametrize(
    "arms, word",
    [
        ({"a/b": SFT}, "a/b"),
        ({"base": SFT}, "base"),
        ({"a": {**SFT, "start": "b"}}, "start"),
        ({"a": {**SFT, "reference": "b"}}, "reference"),
        ({"a": {**SFT, "steps": ["b"]}}, "steps"),
        ({"none": SFT}, "none"),
        ({"a": {**SFT, "start": "random"}}, "start"),
        ({"a": {**SFT, "pairs": {"part": [3, 2]}}}, "part"),
        ({"a": {**SFT, "pairs": {"swapped": 1.1}}}, "swapped"),
        ({"a": {**SFT, "pairs": OWN}}, "rejected"),
        ({"bot": SFT, "a": {**SFT, "pairs": {**OWN, "prompts_of": "bot"}}}, "prompts_of"),
        ({"a": {**SFT, "start": "b"}, "b": {**SFT, "start": "a"}}, "depends on itself"),
        ({"a": {**SFT, "start": "a"}}, "depends on itself"),
        ({"a": {**SFT, "steps": ["b"]}, "b": {**SFT, "steps": ["a"]}}, "depends on itself"),
        ({"bot": SFT, "own": {**DPO, "pairs": OWN}, "late": {**DPO, "start": "own", "stage": "methods"}}, "late"),
    ],
)
def test_arms_that_cannot_be_run_are_refused_by_name(arms, word):
    with pytest.raises(ValidationError, match=word):
        plan(**arms)


@pytest.mark.parametrize(
    "more",
    [
        {"seeds": [1, 2, 1]},
        {"tasks": ["care", "care"]},
        {"contrasts": [{"arm_1": "a", "arm_2": "b"}, {"arm_1": "b", "arm_2": "a"}]},
        {"contrasts": [{"arm_1": "a", "arm_2": "a"}]},
        {"seeds": [1, 2], "arms": {"a": {**SFT, "seed": 3}}},
    ],
)
def test_seeds_tasks_and_contrasts_count_once(more):
    with pytest.raises(ValidationError, match=next(iter(more))):
        Plan.model_validate({"arms": {"a": SFT, "b": DPO}, **more})


def test_arms_that_match_each_others_steps_wait_for_what_decides_them():
    arms = {
        "own": {**DPO, "pairs": OWN}, "other": {**SFT, "steps": ["own"]}, "long": {**SFT, "steps": ["other"]},
        "late": {**SFT, "start": "long"},
    }  # fmt: skip
    found = plan(bot=SFT, **{name: arm | {"stage": "methods"} for name, arm in arms.items()})
    assert found.matched("long") == ("other", "own") and found.ancestors("long") == ("bot",)
    alone = narrowed({"arms": {name: each.model_dump(mode="json") for name, each in found.arms.items()}}, "methods")
    assert set(alone["arms"]) == set(found.arms)


def test_a_stage_is_given_its_arms_and_those_they_need_as_they_were_written():
    whole = yaml.safe_load((ROOT / "params" / "embedded.yaml").read_text(encoding="utf-8"))["study"]
    part = narrowed(whole, "flow2")
    assert list(part["arms"]) == ["N_1SFT", "N_1SFT_ipo", "N_1SFT_kto", "N_1SFT_data", "N_1SFT_sft"]
    assert "contrasts" not in part and part["arms"]["N_1SFT"] is whole["arms"]["N_1SFT"]


@pytest.mark.parametrize("name", ["embedded", "laptop", "paper", "single_gpu", "star_pairs"])
def test_the_profiles_name_their_contrasts_beforehand_and_have_their_controls(name):
    study = Params.load(ROOT / "params" / f"{name}.yaml").study
    named = {(each.arm_1, each.arm_2) for each in study.contrasts if each.named}
    assert named == {
        ("M_1SFT", "M_1SFT_ipo"), ("M_2SFT", "M_1SFT_ipo"), ("M_2SFT", "M_1SFT_kto"), ("N_1SFT_data", "N_1SFT_ipo"),
    }  # fmt: skip
    own, control = study.arms["N_1SFT_ipo"], study.arms["N_1SFT_data"]
    assert control.pairs.judged == own.pairs.judged and control.pairs.rejected == "data"
    assert control.model_dump(exclude={"pairs"}) == own.model_dump(exclude={"pairs"})


def test_a_plan_may_be_another_files(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("study: {arms: {a: {method: sft, learning_rate: 1e-4}}}")
    assert Plan.model_validate(str(path)).arms["a"].learning_rate == 1e-4
    path.write_text(f"study: {path}")
    with pytest.raises(ValidationError):
        Plan.model_validate(str(path))
