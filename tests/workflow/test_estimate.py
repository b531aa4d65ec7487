"""What is estimated before a run: its counts, its refusals, and how it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import LlamaConfig

import series
from guardalign.config.params import Params
from guardalign.workflow import estimate
from guardalign.workflow.estimate import GIB, Data, Machine, judging
from tiny import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
LARGE = Machine(1024 * GIB, 4096 * GIB, 8)


@pytest.fixture
def settings(tmp_path):
    """The smallest series' parameters, with changes to sections."""
    base = save_checkpoint(tmp_path / "base")

    def make(**sections) -> Params:
        return Params.checked(series.parameters(tmp_path / "run", base, **sections))

    return make


@pytest.fixture
def care(tmp_path):
    """The estimate of the care study on two cores; of its model only the published configuration is there."""
    LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True,
    ).save_pretrained(tmp_path / "SmolLM2-135M")  # fmt: skip
    given = Params.load(ROOT / "params" / "care.yaml")
    model = given.model.model_copy(update={"name": str(tmp_path / "SmolLM2-135M")})
    arms = {name: given.study.arms[name] for name in ("M_1SFT", "M_2SFT", "M_1SFT_ipo", "M_1SFT_kto")}

    def make(**study) -> estimate.Estimate:
        changed = {"model": model, "study": given.study.model_copy(update={"arms": arms, "seeds": (1, 2, 3)} | study)}
        return estimate.estimate(given.model_copy(update=changed), Machine(16 * GIB, 64 * GIB, 2))

    return make


def test_the_care_study_needs_what_was_measured(care):
    """Distinct tokens of 400 pairs; seconds of a training on a core of a Zen 4, of a reply on two; GiB of a process."""
    found = care()
    tokens = [each.tokens for each in found.work[:4]]
    assert tokens == pytest.approx([66_967, 66_967, 83_932, 83_932], rel=0.15)
    hours = (3 * (458 + 391 + 551 + 551) / 2 + 12 * 559 * 0.2) / 3600
    assert hours / 1.5 < found.hours < hours * 1.5
    assert found.process / GIB == pytest.approx(5.5, rel=0.2)


def test_a_comparison_counts_each_tasks_own_pairs():
    """15 arms, three seeds and three tasks; two cores took 35 minutes, with tuning."""
    found = estimate.estimate(Params.load(ROOT / "params" / "comparison.yaml"), Machine(16 * GIB, 64 * GIB, 2))
    assert len(found.work) == 15 * 3 * 3 and found.work[0].steps == 3 * 160 / 16
    assert 20 / 60 < found.hours < 1


def test_dropped_weights_and_unsaved_steps_take_no_disk(care):
    model = 4 * care().shape.parameters
    assert care().disk["models"] / model == 4 + 2 * 1 + 2  # the first seed's, later seeds' M_1SFT, two at work
    assert care(keep=True).disk["models"] / model == 12
    assert care(seeds=()).disk["models"] / model == 1 + 2
    assert care().disk["checkpoints"] == 0  # 50 steps, and the first checkpoint would be after 50


def test_arms_side_by_side_multiply_memory(care, tmp_path):
    found = care()
    estimate.check(found, Machine(2.1 * found.process, 64 * GIB, 2), tmp_path)
    with pytest.raises(estimate.TooSmall, match="memory"):
        estimate.check(found, Machine(1.9 * found.process, 64 * GIB, 2), tmp_path)
    assert care(workers=1).hours == found.hours == care(workers=4).hours


def test_the_judges_calls_and_price(settings):
    judge = {"kind": "llm", "model": "gpt-4o"}
    given, read = settings(judge=judge), Data({"test": 10, "feedback": 5}, 500, 50, 700, 5, "")
    calls, dollars = judging(given, read)
    methods = len(given.study.part("methods"))
    assert calls == 2 * ((len(given.study.contrasts) + methods + 1) * 10 + 10 + 5)
    assert dollars == pytest.approx(calls * (1500 * 2.5 + 460 * 10) / 1e6, rel=1e-3)
    assert judging(settings(judge=judge | {"orders": "first"}), read)[0] == calls / 2
    assert judging(settings(judge=judge | {"model": "nobody-knows"}), read)[1] is None
    assert judging(settings(), read)[0] == 0


def test_what_is_short_is_named(settings, tmp_path):
    found = estimate.estimate(settings(), LARGE)
    estimate.check(found, LARGE, tmp_path)
    with pytest.raises(estimate.TooSmall, match="row_tokens"):
        estimate.check(found, Machine(GIB / 10, LARGE.disk, 2), tmp_path)
    with pytest.raises(estimate.TooSmall, match="disk"):
        estimate.check(found, Machine(LARGE.memory, 10.0, 2), tmp_path)


def test_what_a_run_has_made_already_is_not_wanted_again(settings, tmp_path):
    found = estimate.estimate(settings(), LARGE)
    need = sum(found.disk.values())
    (tmp_path / "there").write_bytes(bytes(int(need)))
    estimate.check(found, Machine(LARGE.memory, 100.0, 2), tmp_path)


def test_a_kind_that_wants_more_gpus_than_there_are_is_refused(settings, tmp_path):
    parameters = settings(launch={"kind": "ddp"})
    with pytest.raises(estimate.TooSmall, match="needs 4 GPUs"):
        estimate.check(estimate.estimate(parameters, LARGE), LARGE, tmp_path)
    two = Machine.of("A100", 4)
    found = estimate.estimate(parameters, two)
    estimate.check(found, two, tmp_path)
    assert found.processes == 4
    sharded = estimate.estimate(settings(launch={"kind": "fsdp2"}), two)
    assert sharded.memory["optimiser"] == found.memory["optimiser"] / 4


@pytest.mark.parametrize(
    "name, tflops",
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA L40S", 362),
        ("NVIDIA A10G", 125),
        ("something new", None),
    ],
)
def test_gpus_go_by_the_longest_name_that_fits(name, tflops):
    assert Machine(1.0, 1.0, 1, ((name, GIB),)).tflops == tflops


def test_the_command_prints_every_need_and_refuses(settings, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(settings(launch={"kind": "ddp"}).sections()))
    command = [sys.executable, "-m", "guardalign.workflow.cli", "estimate", str(path)]
    process = subprocess.run(command, capture_output=True, text=True, env=series.environment(), timeout=300)
    rows = [line[:8].strip() for line in process.stdout.splitlines()]
    assert rows == ["model", "data", "memory", "disk", "time", "judge"]
    if torch.cuda.device_count() < 4:
        assert (
            process.returncode == 1
            and "This machine is too small" in process.stderr
            and "Traceback" not in process.stderr
        )


@pytest.mark.skipif(torch.cuda.device_count() >= 4, reason="four GPUs are enough for what this asks for")
def test_a_series_stops_before_it_starts_where_the_machine_is_too_small(settings, tmp_path):
    content = settings(launch={"kind": "ddp"}).sections()
    code, output = series.run(series.write_parameters(tmp_path / "own.yaml", content), checked=True)
    assert code == 1 and "This machine is too small" in output and "Traceback" not in output
    assert not list((tmp_path / "run").rglob("*.ipynb"))
