"""What is run again and what is not: damaged results, dropped weights, arms and measures that are wanted now."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch

from guardalign.config.sections import ServerArm
from guardalign.data.conversations import Reply
from guardalign.errors import GuardalignError, InputError, StageFailed
from guardalign.files import RunFolder
from guardalign.judging.choice import chosen_judge
from guardalign.models.encoding import encode
from guardalign.models.loading import RECORD, drop_weights, dropped, load_tokenizer
from guardalign.processes import alone_in
from guardalign.study.jobs import Job, jobs_of, run_jobs
from guardalign.study.run import Study
from guardalign.workflow.cli import main
from series import write_parameters
from small_comparison import TASK, small
from tiny_study import IPO, SFT, finished_study, study_in, with_pairs

original = pytest.fixture(scope="module")(finished_study)


def test_a_damaged_example_or_outcome_is_made_again(original):
    sequences = encode(load_tokenizer(original.model_of(SFT)), ["Hi."], ["A reply."], 64)
    before = original.logps(SFT, sequences)
    path = original.folder().root / "samples" / f"{SFT}.logps.json"
    for damaged in (path.read_text().replace("-", "", 1), path.read_text()[:-9]):
        path.write_text(damaged)
        assert all(map(torch.equal, before, original.logps(SFT, sequences)))
    job = jobs_of(original, [SFT])[0]
    known, text = job.known(), job.outcome.read_text()
    job.outcome.write_text(text.replace('"steps":', '"steps":1', 1))
    assert job.known() is None
    assert run_jobs([job], log=lambda _: None)[0].steps == known.steps and job.known()


def test_a_notebooks_example_needs_no_weights_a_second_time(original):
    prompts, replies = ["Hi."] * 2, ["A reply.", "Another reply."]
    sequences = encode(load_tokenizer(original.model_of(SFT)), prompts, replies, 64)
    before = original.logps(SFT, sequences)
    drop_weights(original.folder().model(SFT))
    again = original.logps(SFT, sequences)
    assert len(again) == 2 and all(map(torch.equal, before, again)) and dropped(original.folder().model(SFT))


def test_an_arm_whose_training_record_is_gone_is_trained_again(original):
    jobs = jobs_of(original, [IPO])
    (job,) = (each for each in jobs if each.name.endswith(f"seed-1/{IPO}"))
    record = job.model / RECORD
    before = record.read_text()
    record.unlink()  # as when training a dropped arm again is interrupted
    assert job.known() is None
    run_jobs(jobs, log=lambda _: None)
    assert job.known() and json.loads(record.read_text())["weights"] == json.loads(before)["weights"]


def test_missing_replies_or_scores_are_computed_again(original):
    for name in ("replies", "scores"):
        (job,) = (each for each in jobs_of(original, [IPO]) if each.name.endswith(f"seed-1/{IPO}"))
        path = original.folder().root / name / f"{IPO}.jsonl"
        before = path.read_bytes()
        path.unlink()
        assert job.known() is None
        run_jobs([job], log=lambda _: None)
        assert path.read_bytes() == before and job.known()


def test_a_seed_that_comes_first_now_is_scored(original):
    """Its weights were dropped, and only the first seed's arms are scored then: they are trained again."""
    other = study_in(original.run.root, original.settings.model.name, [2, 1])
    table = other.held_out([IPO], other.rows("test"))
    assert list(table["arm"]) == [IPO] and (other.folder(2).root / "scores" / f"{IPO}.jsonl").exists()


def test_the_arms_of_a_single_seed_can_be_sampled_and_scored_once_they_have_answered(original, tmp_path):
    named = [{"arm_1": SFT, "arm_2": IPO, "named": True}]
    study = with_pairs(study_in(tmp_path, original.settings.model.name, [1], samples=2, contrasts=named))
    run_jobs(jobs_of(study), log=lambda _: None)
    test = study.rows("test")
    study.all_answers(["base", SFT, IPO], test)
    judge = chosen_judge(study.settings.judge, tmp_path / "llm")
    assert set(study.sampled(judge, test)["arm_2"]) == {IPO}
    study = study_in(tmp_path, original.settings.model.name, [1])
    study.all_answers(["base", SFT, IPO], test)
    assert dropped(study.folder().model(IPO))
    (tmp_path / "scores" / f"{IPO}.jsonl").unlink()
    assert len(study.held_out([SFT, IPO], test)) == 2


@pytest.mark.parametrize("served", [True, False])
def test_the_base_models_greedy_replies_are_every_seeds(original, monkeypatch, served):
    def answer(section, pairs, arm, store, output):
        return [Reply(pair_id=each.id, conversation_id=each.id, arm=arm, text="Hi.") for each in pairs]

    monkeypatch.setattr("guardalign.study.run.hosted_replies", answer)
    replies = {"base": ServerArm(model="bot")} if served else {}
    generation = original.settings.generation.model_copy(update={"replies": replies})
    study = replace(original, settings=original.settings.model_copy(update={"generation": generation}))
    test = study.rows("test")
    found = study.all_answers(["base"], test)
    assert len(found) == 2 * len(test) and found[: len(test)] == found[len(test) :]


def test_an_arm_answers_the_instructions_that_are_asked_now(original, tmp_path):
    path, sizes = tmp_path / "asked.json", {"train": 8, "validation": 4, "test": 4}
    sizes["sources"] = {TASK: {"kind": "twin", "instructions": str(path)}}
    settings = small(tmp_path / "run", **sizes)
    model = settings.model.model_copy(update={"name": original.settings.model.name, "precision": "fp32"})
    study = Study(settings.model_copy(update={"model": model}), RunFolder(tmp_path / "run"), TASK)
    for words in ("one", "another"):
        asked = {"dataset": "d", "instruction": f"Say {words}.", "output": "one", "generator": "base"}
        path.write_text(json.dumps([asked]))
        (job,) = jobs_of(study, ["sft"])
        assert job.known() is None
        run_jobs([job], log=lambda _: None)
        assert job.known() and len(job.instructed) == 1


def test_a_pair_too_long_for_a_row_is_named_by_the_arm_that_reads_it(original, tmp_path):
    study = with_pairs(study_in(tmp_path, original.settings.model.name, [1]), rejected="No. " * 400)
    training = study.settings.training.model_copy(update={"row_tokens": 600})
    study = replace(study, settings=study.settings.model_copy(update={"training": training}))
    sft, ipo = jobs_of(study, measured=False)
    run_jobs([sft], log=lambda _: None)
    with pytest.raises(InputError, match=f"{IPO}: .* distinct tokens do not fit"):
        run_jobs([ipo], log=lambda _: None)


class Killed(Job):
    def run(self, log=print):
        os._exit(9)


def test_a_killed_worker_is_no_traceback(original):
    jobs = [Killed(original, name, 3) for name in (SFT, "other")]
    plan = original.plan.model_copy(update={"arms": original.plan.arms | {"other": original.plan.arms[SFT]}})
    study = replace(original, settings=original.settings.model_copy(update={"study": plan}))
    with pytest.raises(StageFailed, match=r"study\.workers"):
        run_jobs([replace(job, study=study) for job in jobs], workers=2)


def test_a_folder_in_use_is_not_touched(original, tmp_path, capsys):
    content = original.settings.sections()
    params = write_parameters(tmp_path / "own.yaml", content)
    with alone_in(original.run.root), pytest.raises(GuardalignError, match="Another run"), alone_in(original.run.root):
        pass
    with alone_in(original.run.root):
        assert main(["study", str(params)]) == 1
    assert "Another run is working in" in capsys.readouterr().err
