"""A small form of the comparison: one task, every method, one seed, from the model that ships with the project."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import yaml

from guardalign import alpaca
from guardalign.comparison import protocol, results, tables, tuning
from guardalign.comparison.jobs import SFT, identical_jobs, tuning_jobs, with_beta
from guardalign.comparison.protocol import Place
from guardalign.errors import ParameterError
from guardalign.files import RunFolder, read_rows
from guardalign.params import Params
from guardalign.world.twins import TWINS

PARAMS = Path(__file__).resolve().parents[1] / "params"
TASK = "instructions"
AT_START = {
    "dpo": math.log(2), "ipo_sum": 25.0, "ipo_mean": 25.0, "kto": 0.5, "kto_tanh": 1.0, "kto_pair": 0.5,
    "rpo": math.log(2), "kto_doubled": 1.0, "hinge": 1.0,
}  # fmt: skip


def small(root: Path, **changes: object) -> Params:
    content = yaml.safe_load((PARAMS / "comparison.yaml").read_text(encoding="utf-8"))
    content["run"] = str(root)
    content["report"] = {"replicates": 200}
    content["tasks"] |= {
        "sources": {TASK: {"kind": "twin"}}, "seeds": [1], "train": 96, "validation": 16, "test": 32, "sft_epochs": 2,
        "workers": 1, "tuning": None, "rlhf": None,
    } | changes  # fmt: skip
    path = root / "params.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return Params.load(path)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Params, RunFolder, pd.DataFrame]:
    root = tmp_path_factory.mktemp("comparison")
    settings, run = small(root), RunFolder(root)
    results.carry_out(settings, run)
    return settings, run, pd.read_csv(run.tables("identical_methods.csv")).set_index("arm")


def metrics(run: RunFolder, arm: str, kind: str = "identical") -> pd.DataFrame:
    return pd.read_json(run.root / "metrics" / TASK / "seed-1" / kind / f"{arm}.jsonl", lines=True)


def test_tanh_and_doubled_beta_are_the_same_loss(done):
    _, run, _ = done
    tanh, doubled = metrics(run, "kto_tanh"), metrics(run, "kto_doubled", "control")
    assert len(tanh) == len(doubled) > 3
    assert (tanh["loss"] - doubled["loss"]).abs().max() < 1e-4


def test_every_method_starts_at_the_same_model_and_takes_the_same_steps(done):
    settings, run, table = done
    jobs = identical_jobs(protocol.section(settings), TASK, 1)
    assert {int(table.loc[job.arm, "steps"]) for job in jobs} == {6}
    for job in jobs:
        if job.arm in AT_START:
            assert metrics(run, job.arm, job.protocol)["loss"][0] == pytest.approx(AT_START[job.arm], abs=2e-3)


def test_preference_methods_widen_held_out_margins_and_write_text(done):
    _, _, table = done
    methods = table.drop(index=["sft", "sft_longer", "ppo_offline", "ppo_later", "slic"])
    assert (methods["margin_gain_low"] > 0.5).all(), methods["margin_gain_low"]
    assert (table["repetition"] < 0.4).all(), table["repetition"]


def test_win_rates_are_those_of_the_judges_scores(done):
    settings, run, table = done
    task = TWINS[TASK]
    asked = task.splits({"train": 96, "validation": 16, "test": 32}, 0)["test"]
    job = next(each for each in identical_jobs(protocol.section(settings), TASK, 1) if each.arm == "dpo")
    own = [
        task.read(each.prompt, said.text).score
        for each, said in zip(asked, protocol.answers_in(run, job, {"test": asked}), strict=True)
    ]
    preferred = [task.read(each.prompt, each.chosen.strip()).score for each in asked]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(own, preferred, strict=True)]
    assert table.loc["dpo", "win"] == pytest.approx(sum(wins) / 32)
    assert table.loc["dpo", "win_rate"] == pytest.approx(100 * sum(wins) / 32)
    pairs = pd.read_csv(run.tables("identical_pairs.csv"))
    assert len(pairs) == len(table) * (len(table) - 1) / 2


def test_alpaca_evals_files_give_the_same_win_rate(done):
    _, run, table = done
    folder = run.root / "alpaca_eval" / "identical" / TASK / "dpo"
    found = alpaca.read_annotations(folder / "annotations.json")
    assert alpaca.win_rate(found).win_rate == pytest.approx(table.loc["dpo", "win_rate"])
    assert len(found) == 32 and (folder / "model_outputs.json").exists()


def test_what_is_done_is_not_done_again(done):
    settings, run, _ = done
    said: list[str] = []
    again = protocol.run_identical(settings, run, said.append)
    assert said == []
    place = Place(run, next(each.job for each in again if each.job.arm == "slic"))
    before = read_rows(place.outcome, protocol.Outcome)[0]
    place.outcome.unlink()
    protocol.run_identical(settings, run, said.append)
    assert [line.split(":")[0] for line in said] == [f"1/1 {TASK}/seed-1/identical/slic"]
    assert read_rows(place.outcome, protocol.Outcome)[0].mark == before.mark


def test_the_budget_is_the_same_for_every_method(tmp_path):
    settings = small(tmp_path, tuning={"rates": [1e-4, 1e-5], "betas": [0.05, 0.1, 0.5], "pairs": 16})
    tasks = protocol.section(settings)
    jobs = tuning_jobs(tasks, TASK)
    assert {name: sum(job.arm.startswith(f"{name}_lr") for job in jobs) for name in tasks.methods} == dict.fromkeys(
        tasks.methods, 6
    )
    assert {job.split for job in jobs} == {"validation"} and {job.pairs for job in jobs} == {16}
    slic = next(job for job in jobs if job.method == "slic" and job.beta == 0.5)
    assert slic.options == {"slic_delta": 5.0}
    assert with_beta(next(job for job in jobs if job.method == "dpo"), 0.3).options == {}


def test_the_best_candidate_is_chosen_and_ties_stay_near_the_start():
    rows = [
        ("t", "dpo", 1e-4, 0.1, 0.6),
        ("t", "dpo", 1e-5, 0.1, 0.7),
        ("t", "dpo", 1e-5, 0.5, 0.7),
        ("t", "kto", 1e-4, 0.1, 0.2),
    ]
    chosen = tuning.choose(pd.DataFrame(rows, columns=["task", "arm", "learning_rate", "beta", "win"]))
    assert chosen[["arm", "learning_rate", "beta"]].to_numpy().tolist() == [["dpo", 1e-5, 0.5], ["kto", 1e-4, 0.1]]


def test_passes_count_what_a_method_reads():
    settings = Params.load(PARAMS / "comparison.yaml")
    passes = {job.arm: job.passes for job in identical_jobs(protocol.section(settings), "dialogue", 1)}
    assert passes["dpo"] == {"policy": 2, "reference": 2}
    assert passes["slic"] == {"policy": 2, "reference": 0}
    assert passes["kto"] == {"policy": 4, "reference": 4}
    assert passes["sft_longer"] == {"policy": 1, "reference": 0}


def test_distinct_n_by_hand():
    assert tables.distinct(["a b a", "a b"], 1) == pytest.approx(2 / 5)
    assert tables.distinct(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert math.isnan(tables.distinct(["one"], 2))


def test_a_file_without_tasks_and_an_arm_without_method_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="needs a `tasks` section"):
        protocol.section(Params.load(PARAMS / "embedded.yaml"))
    with pytest.raises(ParameterError, match="arm mine is no method's name"):
        small(tmp_path, methods={"mine": {}})
    with pytest.raises(ParameterError, match="sft is the name of an arm"):
        small(tmp_path, methods={SFT: {}})
