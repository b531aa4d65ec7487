"""A small form of the comparison: one task, every method, one seed, from the model that ships with the project."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from alpaca_annotations import anchors, difficulty
from guardalign.config.params import Params
from guardalign.data.tasks import load_instructions
from guardalign.errors import ParameterError
from guardalign.files import RunFolder, read_rows
from guardalign.models.loading import load_frozen
from guardalign.report import figures
from guardalign.report.comparison import findings, results, showing
from guardalign.stats import alpaca
from guardalign.study.comparison import answers, dynamics, protocol, tables, tuning
from guardalign.study.comparison.jobs import RLHF, SFT, identical_jobs, tuning_jobs, with_beta
from guardalign.study.comparison.protocol import Place
from guardalign.world.twins import TWINS
from series import ROOT, environment
from tiny import make_model, save_checkpoint

PARAMS = Path(__file__).resolve().parents[2] / "params"
TASK = "instructions"
TRAIN, TEST, BATCH = 32, 16, 8
AT_START = {
    "dpo": math.log(2), "ipo_sum": 25.0, "ipo_mean": 25.0, "kto": 0.5, "kto_tanh": 1.0, "kto_pair": 0.5,
    "rpo": math.log(2), "kto_doubled": 1.0, "hinge": 1.0,
}  # fmt: skip


def small(root: Path, **changes: object) -> Params:
    content = yaml.safe_load((PARAMS / "comparison.yaml").read_text(encoding="utf-8"))
    content["run"] = str(root)
    content["training"]["batch_size"] = BATCH
    content["tasks"] |= {
        "sources": {TASK: {"kind": "twin"}}, "seeds": [1], "sft_epochs": 2, "workers": 1, "tuning": None,
        "train": TRAIN, "validation": 16, "test": TEST,
        "rlhf": {"reward_learning_rate": 2e-4, "learning_rate": 5e-5, "steps": 2, "prompts": 4, "generations": 2},
    } | changes  # fmt: skip
    path = root / "params.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return Params.load(path)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Params, RunFolder, pd.DataFrame]:
    root = tmp_path_factory.mktemp("comparison")
    settings, run = small(root), RunFolder(root)
    command = [sys.executable, "-m", "guardalign.workflow.cli", "comparison", str(root / "params.yaml")]
    said = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
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
    jobs = [job for job in identical_jobs(protocol.section(settings), TASK, 1) if job.arm != RLHF]
    assert {int(table.loc[job.arm, "steps"]) for job in jobs} == {TRAIN // BATCH}
    for job in jobs:
        if job.arm in AT_START:
            assert metrics(run, job.arm, job.protocol)["loss"][0] == pytest.approx(AT_START[job.arm], abs=2e-3)


def test_preference_methods_widen_held_out_margins_and_write_text(done):
    _, _, table = done
    methods = table.drop(index=["sft", "sft_longer", "ppo_offline", "ppo_later", "slic", "rlhf"])
    assert (methods["margin_gain_low"] > 0).all(), methods["margin_gain_low"]
    assert (table["repetition"] < 0.4).all(), table["repetition"]


def test_win_rates_are_those_of_the_judges_scores(done):
    settings, run, table = done
    task = TWINS[TASK]
    asked = task.splits({"train": TRAIN, "validation": 16, "test": TEST}, 0)["test"]
    job = next(each for each in identical_jobs(protocol.section(settings), TASK, 1) if each.arm == "dpo")
    own = [
        task.read(each.prompt, said.text).score
        for each, said in zip(asked, protocol.answers_in(run, job, {"test": asked}), strict=True)
    ]
    preferred = [task.read(each.prompt, each.chosen.strip()).score for each in asked]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(own, preferred, strict=True)]
    assert table.loc["dpo", "win"] == pytest.approx(sum(wins) / TEST)
    assert table.loc["dpo", "win_rate"] == pytest.approx(100 * sum(wins) / TEST)
    pairs = pd.read_csv(run.tables("identical_pairs.csv"))
    assert len(pairs) == len(table) * (len(table) - 1) / 2


def test_a_whole_tasks_files_in_alpaca_evals_format_give_the_same_figures(done):
    """Outputs and the judge's annotations of every arm, read back from disk as AlpacaEval's own are."""
    _, run, table = done
    folder = run.root / "alpaca_eval" / "identical" / TASK
    baseline = load_instructions(str(folder / "reference_outputs.json"))
    found = {path.parents[1].name: alpaca.read_annotations(path) for path in folder.glob("*/seed-1/annotations.json")}
    assert set(found) == set(table.index)
    wins = pd.DataFrame({arm: pd.Series({each.instruction: each.win for each in own}) for arm, own in found.items()})
    odds = alpaca.estimated_difficulty(wins)
    for arm, own in found.items():
        said = load_instructions(str(folder / arm / "seed-1" / "model_outputs.json"))
        assert [each.output_2 for each in own] == [each.output for each in said]
        assert [each.output_1 for each in own] == [each.output for each in baseline]
        assert {each.generator for each in said} == {arm} and len(own) == TEST
        raw, hardness = alpaca.win_rate(own), [float(odds[each.instruction]) for each in own]
        assert raw.win_rate == pytest.approx(100 * table.loc[arm, "win"])
        assert raw.win_rate == pytest.approx(table.loc[arm, "win_rate"])
        assert raw.standard_error == pytest.approx(table.loc[arm, "standard_error"])
        controlled = alpaca.length_controlled(own, hardness).win_rate
        assert controlled == pytest.approx(table.loc[arm, "length_controlled"])


def test_annotations_of_another_judge_are_read_back_too(done, tmp_path):
    settings, run, _ = done
    asked = [{"dataset": "d", "instruction": f"Say {i}.", "output": "one", "generator": "base"} for i in range(12)]
    (tmp_path / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    anchors(12).to_csv(tmp_path / "gamed.csv", index=False)
    rows = [
        {"instruction": each["instruction"], "output_1": "one", "generator_1": "base", "output_2": "two " * (i % 4 + 1),
         "generator_2": f"{TASK}-dpo", "preference": 1 + i % 2}
        for i, each in enumerate(asked)
    ]  # fmt: skip
    place = run.root / "alpaca_eval" / "instructions" / "identical" / f"{TASK}-dpo" / "annotations.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(rows), encoding="utf-8")
    told = {"kind": "twin", "instructions": str(tmp_path / "asked.json"), "anchors": str(tmp_path / "gamed.csv")}
    table = results.instructions(small(tmp_path, sources={TASK: told}), run)
    assert table[["task", "protocol", "arm"]].to_numpy().tolist() == [[TASK, "identical", "dpo"]]
    assert table.loc[0, "win_rate"] == 50
    own = alpaca.read_annotations(place)
    again = alpaca.length_controlled(own, difficulty(12), anchors(12))
    assert table.loc[0, "length_controlled_winrate"] == pytest.approx(again.win_rate)
    assert results.instructions(settings, run).empty


def test_the_online_arm_stands_beside_the_others_with_its_cost(done):
    settings, run, table = done
    row = table.loc[RLHF]
    assert row["replies_drawn"] == 2 * 4 * 2
    assert row["policy_passes"] == pytest.approx(16 / TRAIN) and row["reward_passes"] == pytest.approx(2 + 16 / TRAIN)
    assert row["reward_accuracy"] > 0.5 and row["memory_gib"] > 0.1
    job = next(each for each in identical_jobs(protocol.section(settings), TASK, 1) if each.arm == RLHF)
    (kept,) = read_rows(Place(run, job).outcome, protocol.Outcome)
    assert kept.seconds == pytest.approx(kept.facts["reward_seconds"] + kept.facts["policy_seconds"])
    assert kept.seconds == pytest.approx(row["seconds"])
    assert not Place(run, job).model.exists()


def test_curves_have_margins_entropy_and_distance_for_every_method(done):
    _, run, _ = done
    steps = dynamics.curves(run)
    pairwise = steps[steps["arm"].isin(["dpo", "ipo_sum", "slic", "kto_pair", "rpo"])]
    assert pairwise[["margin", "grad_norm", "entropy", "kl"]].notna().all(axis=None)
    first = pairwise[pairwise["step"] == 1]
    assert first["margin"].abs().max() < 5e-3 and first["entropy"].nunique() == 1
    slic, dpo = (steps[steps["arm"] == arm].set_index("step") for arm in ("slic", "dpo"))
    own = 0.1 * (slic["logps_chosen"] - slic["logps_rejected"] - dpo["logps_chosen"] + dpo["logps_rejected"])
    assert slic["margin"].to_numpy() == pytest.approx((own + dpo["margin"]).to_numpy(), abs=1e-3)
    assert (steps.groupby("arm")["critic_loss"].count() > 0).loc[["ppo_offline", "ppo_later", "dpo"]].tolist() == [
        True, True, False,
    ]  # fmt: skip
    table = dynamics.table_2(steps).set_index("arm")
    assert table.loc["dpo", "margin last"] > table.loc["dpo", "margin first"]
    assert table.loc["ppo_offline", "paper"].startswith("unstable") and table.loc["rpo", "paper"] == "not in the paper"


def test_figures_show_the_tables_numbers(done, tmp_path):
    _, run, _ = done
    summary, steps = pd.read_csv(run.tables("identical_methods.csv")), dynamics.curves(run)
    tuned = summary[summary["arm"].isin(["sft", "dpo", "kto"])]
    drawn = {
        "win": figures.tasks(summary, "win", 0.5, "beats the preferred reply", tuned),
        "gain": figures.tasks(summary[summary["arm"] != SFT], "accuracy_gain", 0.0, "gain"),
        "curves": figures.dynamics(steps, dynamics.OBSERVED),
        "same": figures.equal_losses(dynamics.same_loss(steps)),
        "cost": figures.task_costs(summary[summary["arm"] != SFT]),
    }
    marked = [each for each in drawn["win"].axes[0].collections if isinstance(each, PathCollection)]
    shown = [(x, face[3] > 0) for each in marked
             for (x, _), face in zip(each.get_offsets(), each.get_facecolors(), strict=True)]  # fmt: skip
    assert sorted(x for x, filled in shown if filled) == pytest.approx(sorted(summary["win"]))
    assert sorted(x for x, filled in shown if not filled) == pytest.approx(sorted(tuned["win"]))
    seconds = summary[summary["arm"] != SFT].groupby("arm")["seconds"].mean().sort_values()
    assert [bar.get_width() for bar in drawn["cost"].axes[0].patches] == pytest.approx(seconds.to_list())
    assert len(drawn["curves"].axes) == 7 * 4
    for name, figure in drawn.items():
        png, _, _ = figures.save(figure, summary, tmp_path / name)
        assert png.stat().st_size > 5000


def test_the_tuned_protocol_takes_each_methods_best_candidate(done):
    """On the real base at a small size: the SFT models are those that lie there."""
    _, run, _ = done
    budget = {"rates": [1e-4, 1e-6], "betas": [0.1], "pairs": 48}
    settings = small(run.root, methods={"dpo": {}, "ipo_sum": {}}, controls={}, tuning=budget)
    said: list[str] = []
    tried, tuned = tuning.run_tuned(settings, run, said.append)
    assert len(said) == 4 + 2 and len(tried) == 4
    assert tried["win"].between(0, 1).all() and set(tried["prompts"]) == {16}
    best = tried.sort_values(["win", "learning_rate"], ascending=[False, True]).groupby("arm").first()
    for outcome in tuned:
        assert outcome.job.protocol == "tuned" and outcome.steps == TRAIN // BATCH
        assert outcome.job.learning_rate == best.loc[outcome.job.arm, "learning_rate"]
    assert dynamics.curves(run)["protocol"].value_counts()["tuned"] == 2 * (TRAIN // BATCH)
    assert (run.root / "models" / TASK / "seed-1" / "identical" / SFT / "training.json").exists()


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


def gained(arm: str, low: float, **measured: float) -> dict[str, object]:
    row = {"accuracy": 0.7, "margin_gain": 0.6, "margin_gain_low": 0.55, "margin_gain_high": 0.65, "kl": 0.02}
    gain = {"accuracy_gain": low + 0.02, "accuracy_gain_low": low, "accuracy_gain_high": low + 0.04}
    return {"task": "t", "arm": arm, "repetition": 0.01} | row | gain | measured


def test_what_was_not_raised_is_said_with_its_reason():
    rows = [
        gained(SFT, 0.0, accuracy=0.7),
        gained("dpo", 0.01),
        gained("ipo_sum", -0.01),
        gained("slic", -0.01, margin_gain=0.5, margin_gain_low=0.4, margin_gain_high=0.6),
        gained("ppo_offline", -0.2, margin_gain=0.2, margin_gain_low=0.1, margin_gain_high=0.3),
        gained("kto", -0.01, kl=3.0, repetition=0.6),
    ]
    table = findings.gains(pd.DataFrame(rows))
    assert table.set_index("arm")["raised"].to_dict() == {
        "dpo": True, "ipo_sum": False, "slic": False, "ppo_offline": False, "kto": False,
    }  # fmt: skip
    said = findings.sentences(table).splitlines()
    assert said[0].startswith("* **t**: 1 of 5 arms raise")
    assert [line.split(": ")[1].split(" ")[0] for line in said[1:]] == ["the", "hardly", "pushes", "went"]
    assert "not IPO (+1.0\u00a0[−1.0,\u00a0+3.0] points)" in said[1]
    full = findings.gains(pd.DataFrame([gained(SFT, 0.0, accuracy=0.99), gained("dpo", -0.01)]))
    assert full.loc[0, "why"].startswith("nothing to gain")
    assert findings.degeneration(pd.DataFrame(rows)).startswith("Degenerate text: KTO (logistic) (t)")
    assert findings.degeneration(pd.DataFrame(rows[:4])).startswith("No arm ends in degenerate text: at most 1%")


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
    with pytest.raises(ParameterError, match="there is no SFT model of 2"):
        small(tmp_path, tuning={"rates": [1e-4], "betas": [0.1], "pairs": 16, "seeds": [1, 2]})
    with pytest.raises(ParameterError, match="arm mine is no method's name"):
        small(tmp_path, methods={"mine": {}})
    with pytest.raises(ParameterError, match="sft is the name of an arm"):
        small(tmp_path, methods={SFT: {}})


def test_a_comparison_of_which_only_tables_were_kept_is_shown_without_its_curves(done, tmp_path):
    _, run, _ = done
    shutil.copytree(run.root / "tables", tmp_path / "tables")
    shown = showing.parts(RunFolder(tmp_path))
    assert any(isinstance(each, Figure) for each in shown["accuracy"])
    assert not any(isinstance(each, Figure) for each in shown["dynamics"] + shown["same_loss"])


def test_distance_and_entropy_are_those_of_each_reply_by_itself(tmp_path):
    """Rows of all lengths in one batch, an empty finished reply among them, against one row and one token at a time."""
    folder = save_checkpoint(tmp_path / "base")
    model, start = load_frozen(str(folder)), make_model(seed=3).requires_grad_(False)
    rows = [([5, 6, 7, 8], [9, 10, 11, 12, 13]), ([7, 9], [4]), ([8] * 9, [5, 6, 5, 6])]
    for (prompt, reply), found in zip(rows, answers._batch_distances(model, start, rows), strict=True):
        kl, entropy = [], []
        for at in range(len(reply)):
            ids = torch.tensor([prompt + reply[:at]])
            own, other = (each(input_ids=ids).logits[0, -1].log_softmax(-1) for each in (model, start))
            kl.append(float(torch.nn.functional.kl_div(other, own, log_target=True, reduction="sum")))
            entropy.append(float(torch.distributions.Categorical(logits=own).entropy()))
        assert found.kl == pytest.approx(sum(kl) / len(kl), rel=1e-4)
        assert found.entropy == pytest.approx(sum(entropy) / len(entropy), rel=1e-4)
