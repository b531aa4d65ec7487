"""Weights sharded across processes (FSDP2 on gloo): results match one process, and an interrupted run resumes."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from guardalign.config.sections import Lora
from guardalign.errors import GuardalignError, Preempted
from guardalign.files import write_text
from guardalign.launch.accelerate import accelerate_config, run_training
from guardalign.models.loading import load_frozen
from guardalign.training import TrainingConfig, train
from guardalign.training.checkpoints import latest, saved
from guardalign.training.sharding import check
from tests.launch.test_launch import EXAMPLES, as_soon_as, config, launch_all, other
from tests.training.test_training import distance, metrics, quiet
from tiny import save_checkpoint

KIND = "fsdp2_cpu2"
ARMS: dict[str, dict] = {
    "sft": {"method": "sft"},
    "ipo_mean": {"method": "ipo_mean", "row_tokens": 300},
    "kto": {"method": "kto", "row_tokens": 300},
    "ppo_offline": {"method": "ppo_offline"},
    "checkpointed": {"method": "dpo", "gradient_checkpointing": True},
    "adapter": {"method": "dpo", "lora": Lora(rank=2, alpha=4)},
    "qwen3": {"method": "ipo_sum"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder / "other", seed=1)
    save_checkpoint(folder / "qwen3", family="qwen3")
    return save_checkpoint(folder / "base")


def arm(base: Path, folder: Path, name: str) -> TrainingConfig:
    settings = ARMS[name]
    start = base.parent / "qwen3" if name == "qwen3" else base
    reference = str(start) if name in ("qwen3", "adapter") else other(base)
    return config(start, folder / name, **settings, arm=name, reference=reference, cache=folder / "cache")


@pytest.fixture(scope="module")
def sharded(base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    results = launch_all([arm(base, folder, name) for name in ARMS], EXAMPLES, KIND)
    assert [result.world_size for result in results] == [2] * len(ARMS)
    return folder


@pytest.mark.parametrize("name", ARMS)
def test_sharded_training_ends_at_the_weights_of_one_process(base, sharded, tmp_path, name):
    one = arm(base, tmp_path, name)
    train(one, EXAMPLES, quiet)
    assert distance(tmp_path / name, sharded / name) < 2e-5
    for a, b in zip(metrics(one.output), metrics(sharded / name), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4, abs=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3, abs=1e-5)


def test_a_value_head_is_saved_whole(base, sharded, tmp_path):
    head = load_file(sharded / "ppo_offline" / "value_head" / "model.safetensors")
    assert head["weight"].shape == (1, load_frozen(str(base)).config.hidden_size) and head["weight"].abs().sum() > 0


def test_what_is_saved_loads_in_plain_transformers(base, sharded):
    model = load_frozen(str(sharded / "sft"))
    assert set(load_file(sharded / "sft" / "model.safetensors")) == set(load_file(base / "model.safetensors"))
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_an_interrupted_run_resumes_with_more_processes_and_with_one(base, tmp_path):
    settings = {"epochs": 12, "learning_rate": 3e-4, "reference": other(base), "cache": tmp_path / "cache"}
    cut = config(base, tmp_path / "cut", "kto", save_steps=2, **settings)
    folder = cut.output / "checkpoints"
    with as_soon_as(lambda: saved(folder), lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(Preempted):
        run_training(cut, EXAMPLES, KIND, quiet)
    assert 1 <= len(saved(folder)) <= 2 and not list(folder.glob(".*.part"))
    shutil.copytree(cut.output, tmp_path / "alone")
    three = tmp_path / "three.yaml"
    write_text(three, accelerate_config(KIND).read_text().replace("num_processes: 2", "num_processes: 3"))
    done = len(metrics(cut.output))
    results = [
        run_training(cut, EXAMPLES, str(three), quiet),
        train(cut.model_copy(update={"output": tmp_path / "alone"}), EXAMPLES, quiet),
    ]
    assert [result.resumed_step for result in results] == [done, done]
    assert results[0].world_size == 3 and 0 < done < results[0].steps
    train(config(base, tmp_path / "whole", "kto", **settings), EXAMPLES, quiet)
    for name in ("cut", "alone"):
        assert distance(tmp_path / name, tmp_path / "whole") < 2e-5, name


def test_a_full_disk_is_named_and_the_checkpoint_before_it_left(base, tmp_path, disk):
    settings = {"save_steps": 1, "reference": other(base), "cache": tmp_path / "cache", "epochs": 2}
    size = 3 * (base / "model.safetensors").stat().st_size  # weights and Adam's two moments of each
    full = config(base, disk(int(2.7 * size)) / "arm", **settings)
    with pytest.raises(GuardalignError, match="The disk is full: ") as raised:
        run_training(full, EXAMPLES, KIND, quiet)
    named = re.search(r"step-(\d+)\.pt could not be written", str(raised.value))
    assert named and int(named[1]) > 1
    folder = full.output / "checkpoints"
    found = latest(folder, quiet)
    assert found is not None and found["step"] == int(named[1]) - 1 and not list(folder.glob(".*.part"))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"precision": "nf4", "lora": Lora(rank=2, alpha=4)}, "precision nf4 cannot be sharded"),
        ({"optimizer": "paged_adamw_8bit"}, "optimizer paged_adamw_8bit cannot be sharded"),
    ],
)
def test_what_cannot_be_sharded_is_refused(base, tmp_path, settings, message):
    with pytest.raises(GuardalignError, match=message):
        check(config(base, tmp_path / "arm", **settings))
