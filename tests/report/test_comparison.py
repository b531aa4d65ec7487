"""A small form of the comparison: one task, every method, one seed, from the model that ships with the project."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from matplotlib.collections import PathCollection

from alpaca_annotations import anchors, difficulty
from guardalign.config.params import Params
from guardalign.data.conversations import Reply
from guardalign.data.examples import Example
from guardalign.data.tasks import load_instructions
from guardalign.errors import InputError, ParameterError
from guardalign.files import RunFolder, write_text
from guardalign.generation.replies import load_policy
from guardalign.models.encoding import encode_prompt
from guardalign.models.loading import dropped, model_fingerprint
from guardalign.report import alpaca_eval, comparison, dynamics, figures
from guardalign.report.comparison import SFT
from guardalign.stats import alpaca
from guardalign.study.archive import pack, unpack
from guardalign.study.distance import distances
from guardalign.study.jobs import Job, jobs_of, run_jobs
from guardalign.study.run import Study
from guardalign.world.twins import TWINS
from series import ROOT, environment
from small_comparison import BATCH, TASK, TEST, TRAIN, small
from tiny import make_model, save_checkpoint

PARAMS = ROOT / "params"
AT_START = {
    "dpo": math.log(2), "ipo_sum": 25.0, "ipo_mean": 25.0, "kto": 0.5, "kto_tanh": 1.0, "kto_pair": 0.5,
    "rpo": math.log(2), "kto_doubled": 1.0, "hinge": 1.0,
}  # fmt: skip


def jobs_here(settings: Params, run: RunFolder) -> dict[str, Job]:
    return {job.arm: job for job in jobs_of(Study(settings, run, TASK))}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Params, RunFolder, pd.DataFrame]:
    root = tmp_path_factory.mktemp("comparison")
    settings, run = small(root), RunFolder(root)
    command = [sys.executable, "-m", "guardalign.workflow.cli", "comparison", str(root / "params.yaml")]
    process = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return settings, run, pd.read_csv(run.tables("identical_methods.csv")).set_index("arm")


def metrics(run: RunFolder, arm: str) -> pd.DataFrame:
    return pd.read_json(RunFolder(run.root / TASK).model(arm) / "metrics.jsonl", lines=True)


def test_tanh_and_doubled_beta_are_the_same_loss(done):
    settings, run, _ = done
    tanh, doubled = metrics(run, "kto_tanh"), metrics(run, "kto_doubled")
    assert len(tanh) == len(doubled) > 3
    assert dynamics.same_loss(dynamics.curves(run, settings.study))["difference"].max() < 1e-4


def test_every_method_starts_at_the_same_model_and_takes_the_same_steps(done):
    settings, run, table = done
    arms = [name for name, arm in settings.study.arms.items() if arm.start == SFT and name != "rlhf"]
    assert {int(table.loc[name, "steps"]) for name in arms} == {TRAIN // BATCH}
    for name in set(arms) & set(AT_START):
        assert metrics(run, name)["loss"][0] == pytest.approx(AT_START[name], abs=2e-3)


def test_weights_stay_where_other_arms_start_alone(done):
    settings, run, _ = done
    kept = {job.arm for job in jobs_here(settings, run).values() if list(job.model.rglob("*.safetensors"))}
    assert kept == {SFT}


def test_preference_methods_widen_held_out_margins_and_write_text(done):
    _, _, table = done
    methods = table.drop(index=["sft", "sft_longer", "ppo_offline", "ppo_later", "slic", "rlhf"])
    assert (methods["gain_low"] > 0).all(), methods["gain_low"]
    assert (table["repetition"] < 0.4).all(), table["repetition"]


def test_win_rates_are_those_of_the_judges_scores(done):
    settings, run, table = done
    task = TWINS[TASK]
    asked = task.splits({"train": TRAIN, "validation": 16, "test": TEST}, 0)["test"]
    replies = jobs_here(settings, run)["dpo"].replies
    scores = [task.read(each.prompt, reply.text).score for each, reply in zip(asked, replies, strict=True)]
    preferred = [task.read(each.prompt, each.chosen.strip()).score for each in asked]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(scores, preferred, strict=True)]
    assert table.loc["dpo", "win"] == pytest.approx(sum(wins) / TEST)
    assert table.loc["dpo", "win_rate"] == pytest.approx(100 * sum(wins) / TEST)
    pairs = pd.read_csv(run.tables("identical_pairs.csv"))
    assert len(pairs) == len(table) * (len(table) - 1) / 2


def test_a_whole_tasks_files_in_alpaca_evals_format_give_the_same_figures(done):
    """Outputs and the judge's annotations of every arm, read back from disk as AlpacaEval's own are."""
    _, run, table = done
    folder = run.root / "alpaca_eval" / "identical" / TASK
    baseline = load_instructions(str(folder / "reference_outputs.json"))
    by_arm = {path.parents[1].name: alpaca.read_annotations(path) for path in folder.glob("*/seed-1/annotations.json")}
    assert set(by_arm) == set(table.index)
    wins = pd.DataFrame(
        {arm: pd.Series({each.instruction: each.win for each in judged}) for arm, judged in by_arm.items()}
    )
    odds = alpaca.estimated_difficulty(wins)
    for arm, judged in by_arm.items():
        outputs = load_instructions(str(folder / arm / "seed-1" / "model_outputs.json"))
        assert [each.output_2 for each in judged] == [each.output for each in outputs]
        assert [each.output_1 for each in judged] == [each.output for each in baseline]
        assert {each.generator for each in outputs} == {arm} and len(judged) == TEST
        raw, hardness = alpaca.win_rate(judged), [float(odds[each.instruction]) for each in judged]
        assert raw.win_rate == pytest.approx(100 * table.loc[arm, "win"])
        assert raw.win_rate == pytest.approx(table.loc[arm, "win_rate"])
        assert raw.standard_error == pytest.approx(table.loc[arm, "standard_error"])
        controlled = alpaca.length_controlled(judged, hardness).win_rate
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
    path = run.root / "alpaca_eval" / "instructions" / "identical" / f"{TASK}-dpo" / "annotations.json"
    outputs = [{"instruction": row["instruction"], "output": row["output_2"]} for row in rows]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    path.with_name("model_outputs.json").write_text(json.dumps(outputs), encoding="utf-8")
    source = {"kind": "twin", "instructions": str(tmp_path / "asked.json"), "anchors": str(tmp_path / "gamed.csv")}
    table = alpaca_eval.leaderboard(small(tmp_path, sources={TASK: source}), run)
    assert table[["task", "protocol", "arm"]].to_numpy().tolist() == [[TASK, "identical", "dpo"]]
    assert table.loc[0, "win_rate"] == 50
    judged = alpaca.read_annotations(path)
    again = alpaca.length_controlled(judged, difficulty(12), anchors(12))
    assert table.loc[0, "length_controlled_winrate"] == pytest.approx(again.win_rate)
    assert alpaca_eval.leaderboard(settings, run).empty
    other = json.dumps([*outputs[1:], outputs[0] | {"output": "an answer of another training"}])
    path.with_name("model_outputs.json").write_text(other, encoding="utf-8")
    assert alpaca_eval.leaderboard(small(tmp_path, sources={TASK: source}), run).empty, "judged before that training"


def test_the_online_arm_is_in_the_table_with_its_cost(done):
    settings, run, table = done
    row = table.loc["rlhf"]
    assert row["replies_drawn"] == 2 * 4 * 2
    assert row["policy_passes"] == pytest.approx(16 / TRAIN) and row["reward_passes"] == pytest.approx(2 + 16 / TRAIN)
    assert row["reward_accuracy"] > 0.5 and row["memory_gib"] > 0.1
    kept = jobs_here(settings, run)["rlhf"].known()
    assert kept.seconds == pytest.approx(kept.facts["reward_seconds"] + kept.facts["policy_seconds"])
    assert kept.seconds == pytest.approx(row["seconds"])


def test_curves_are_not_read_from_metrics_that_were_cut(tmp_path):
    run = RunFolder(tmp_path)
    path = run.root / TASK / "models" / "dpo" / "metrics.jsonl"
    write_text(path, '{"step": 1, "loss": 0.5}\n')
    write_text(path.with_name("training.json"), '{"metrics": "of two steps"}')
    with pytest.raises(InputError, match=r"metrics\.jsonl is damaged"):
        dynamics.curves(run, small(tmp_path).study)


def test_margins_without_a_reference_are_lent_by_an_arm_with_the_same_start_and_pairs(tmp_path):
    run, plan = RunFolder(tmp_path), small(tmp_path).study
    arms = {"from_base": plan.arms["dpo"].model_copy(update={"name": "from_base", "start": "base"}), **plan.arms}
    for arm, reference in (("from_base", -50.0), ("dpo", -30.0), ("slic", None)):
        row = {"step": 1, "loss": 1.0, "logps_chosen": -20.0, "logps_rejected": -25.0}
        if reference:
            row |= {"reward_chosen": 0.1 * (-20 - reference), "reward_rejected": 0.1 * (-25 - reference)}
        write_text(run.root / TASK / "models" / arm / "metrics.jsonl", json.dumps(row) + "\n")
    curves = dynamics.curves(run, plan.model_copy(update={"arms": arms})).set_index("arm")
    assert curves.loc["slic", "reward_chosen"] == pytest.approx(0.1 * (-20 + 30)), "that of dpo, which starts from sft"
    alone = dynamics.curves(run, plan.model_copy(update={"arms": {k: v for k, v in arms.items() if k != "dpo"}}))
    assert alone.set_index("arm")["margin"].isna()["slic"]


def test_curves_have_margins_entropy_and_distance_for_every_method(done):
    settings, run, _ = done
    steps = dynamics.curves(run, settings.study)
    pairwise = steps[steps["arm"].isin(["dpo", "ipo_sum", "slic", "kto_pair", "rpo"])]
    assert pairwise[["margin", "grad_norm", "entropy", "kl"]].notna().all(axis=None)
    first = pairwise[pairwise["step"] == 1]
    assert first["margin"].abs().max() < 5e-3 and first["entropy"].nunique() == 1
    slic, dpo = (steps[steps["arm"] == arm].set_index("step") for arm in ("slic", "dpo"))
    expected = 0.1 * (slic["logps_chosen"] - slic["logps_rejected"] - dpo["logps_chosen"] + dpo["logps_rejected"])
    assert slic["margin"].to_numpy() == pytest.approx((expected + dpo["margin"]).to_numpy(), abs=1e-3)
    assert (steps.groupby("arm")["critic_loss"].count() > 0).loc[["ppo_offline", "ppo_later", "dpo"]].tolist() == [
        True, True, False,
    ]  # fmt: skip
    table = dynamics.table_2(steps).set_index("arm")
    assert table.loc["dpo", "margin last"] > table.loc["dpo", "margin first"]
    assert table.loc["ppo_offline", "paper"].startswith("unstable") and table.loc["rpo", "paper"] == "not in the paper"


def test_figures_show_the_tables_numbers(done, tmp_path):
    settings, run, _ = done
    summary, steps = pd.read_csv(run.tables("identical_methods.csv")), dynamics.curves(run, settings.study)
    tuned = summary[summary["arm"].isin(["sft", "dpo", "kto"])]
    drawn = {
        "win": figures.tasks(summary, "win", 0.5, "beats the preferred reply", tuned),
        "gain": figures.tasks(summary[summary["arm"] != SFT], "lead", 0.0, "gain"),
        "curves": figures.dynamics(steps, dynamics.OBSERVED),
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
        figures.save(figure, summary, tmp_path / name)
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_what_is_done_is_not_done_again_and_what_changes_is(done):
    settings, run, _ = done
    lines: list[str] = []
    jobs = list(jobs_here(settings, run).values())
    before = run_jobs(jobs, log=lines.append)
    assert lines == []
    jobs_here(settings, run)["slic"].outcome.unlink()
    again = run_jobs(jobs, log=lines.append)
    assert [each for each in again if each.arm != "slic"] == [each for each in before if each.arm != "slic"]
    assert [line.split(":")[0] for line in lines] == [f"1/1 {TASK}/seed-1/slic"]
    arms = settings.study.arms | {"dpo": settings.study.arms["dpo"].model_copy(update={"beta": 0.2})}
    changed = settings.model_copy(update={"study": settings.study.model_copy(update={"arms": arms})})
    unknown = [name for name, job in jobs_here(changed, run).items() if job.known() is None]
    assert unknown == ["dpo", "sft_longer"]  # the latter takes as many steps


def test_a_clone_resumes_from_packed_results_and_trains_only_what_it_must(done, tmp_path):
    settings, run, _ = done
    other = RunFolder(tmp_path / "clone")
    other.root.mkdir()
    shutil.move(pack(run), other.root)
    assert unpack(other)
    jobs = jobs_here(settings, other)
    lines: list[str] = []
    run_jobs(list(jobs.values()), log=lines.append)
    assert lines == [] and not any(job.has_weights for job in jobs.values())
    jobs["slic"].outcome.unlink()
    run_jobs(list(jobs.values()), log=lines.append)
    assert [line.split("/")[-1].split(":")[0] for line in lines] == [SFT, "slic"]  # SLiC starts from SFT's weights
    packed = dropped(jobs["dpo"].model)
    assert packed and model_fingerprint(jobs["dpo"].study.weights_of("dpo")) == packed  # the same weights again


def gained(arm: str, low: float, **measured: float) -> dict[str, object]:
    row = {"accuracy": 0.7, "gain": 0.6, "gain_low": 0.55, "gain_high": 0.65, "kl": 0.02}
    return {"task": "t", "arm": arm, "lead": low + 0.02, "lead_low": low, "lead_high": low + 0.04} | row | measured


def test_what_was_not_raised_has_its_reason():
    rows = [
        gained(SFT, 0.0),
        gained("dpo", 0.01),
        gained("ipo_sum", -0.01),
        gained("slic", -0.01, gain=0.5, gain_low=0.4, gain_high=0.6),
        gained("ppo_offline", -0.2, gain=0.2, gain_low=0.1, gain_high=0.3),
        gained("kto", -0.01, kl=3.0),
    ]
    table = comparison.gains(pd.DataFrame(rows)).set_index("arm")
    assert table["raised"].tolist() == [True, False, False, False, False]
    assert table.loc["dpo", "why"] == "" and table["why"].nunique() == 5
    assert "shrink" in table.loc["ppo_offline", "why"] and "far" in table.loc["kto", "why"]
    full = comparison.gains(pd.DataFrame([gained(SFT, 0.0, accuracy=0.99), gained("dpo", -0.01)]))
    assert "already" in full.loc[0, "why"]


def test_passes_count_what_a_method_reads():
    arms = Params.load(PARAMS / "comparison.yaml").study.arms
    counted = {name: list(comparison.passes(arm).values()) for name, arm in arms.items()}
    assert counted["dpo"] == [2, 2] and counted["slic"] == [2, 0] and counted["kto"] == [4, 4]
    assert counted["sft_longer"] == [1, 0] and counted["rlhf"] == []


def test_distinct_n_by_hand():
    assert comparison.distinct(["a b a", "a b"], 1) == pytest.approx(2 / 5)
    assert comparison.distinct(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert math.isnan(comparison.distinct(["one"], 2))


def test_tasks_without_a_source_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="hh"):
        small(tmp_path, study={"tasks": [TASK, "hh"]})
    with pytest.raises(ParameterError, match="tasks"):
        comparison.carry_out(Params.load(PARAMS / "embedded.yaml"), RunFolder(tmp_path))
    alone = {"arms": {"dpo": {"method": "dpo", "learning_rate": 1e-4}}, "tuning": None}
    with pytest.raises(ParameterError, match="start from it"):
        comparison.carry_out(small(tmp_path, study=alone), RunFolder(tmp_path))


def test_distance_and_entropy_are_those_of_each_reply_by_itself(tmp_path):
    """Rows of all lengths in one batch, an empty finished reply among them, against one row and one token at a time."""
    folder = save_checkpoint(tmp_path / "base")
    policy, start = load_policy(folder), make_model(seed=3).requires_grad_(False)
    texts = [("order parcel", "hello late", True), ("please", "", True), ("refund " * 9, "sorry invoice", False)]
    examples = [Example(id=p, conversation_id=p, prompt=p, chosen=" a") for p, _, _ in texts]
    replies = [Reply(pair_id=p, conversation_id=p, arm="a", text=t, finished=end) for p, t, end in texts]
    for (prompt, text, end), found in zip(texts, distances(policy, start, examples, replies), strict=True):
        asked = encode_prompt(policy.tokenizer, prompt).tolist()
        reply = policy.tokenizer(f" {text}", add_special_tokens=False)["input_ids"] if text else []
        kl, entropy = [], []
        for at in range(len(reply) + end):
            ids = torch.tensor([asked + reply[:at]])
            own, other = (each(input_ids=ids).logits[0, -1].log_softmax(-1) for each in (policy.model, start))
            kl.append(float(torch.nn.functional.kl_div(other, own, log_target=True, reduction="sum")))
            entropy.append(float(torch.distributions.Categorical(logits=own).entropy()))
        assert found.kl == pytest.approx(sum(kl) / len(kl), rel=1e-4)
        assert found.entropy == pytest.approx(sum(entropy) / len(entropy), rel=1e-4)
