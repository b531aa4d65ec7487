"""The profiles fit the hardware they name, by the calculator."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig, MistralConfig

from guardalign.config.params import Params
from guardalign.workflow import estimate
from guardalign.workflow.estimate import GIB, Machine
from series import ROOT, environment

PROFILES = ROOT / "params"
CONFIGS = {
    "laptop": LlamaConfig(
        vocab_size=49152, hidden_size=960, intermediate_size=2560, num_hidden_layers=32, num_attention_heads=15,
        num_key_value_heads=5, head_dim=64, tie_word_embeddings=True,
    ),
    "single_gpu": MistralConfig(vocab_size=32768, sliding_window=None, tie_word_embeddings=False),
    "paper": MistralConfig(vocab_size=32768, sliding_window=None, tie_word_embeddings=False),
}  # fmt: skip
"""The models' published configurations: nothing is fetched here."""


def estimated(profile: str, folder: Path, machine: Machine, kind: str | None = None, **model) -> estimate.Estimate:
    CONFIGS[profile].save_pretrained(folder)
    settings = Params.load(PROFILES / f"{profile}.yaml")
    if kind:
        settings = settings.model_copy(update={"launch": settings.launch.model_copy(update={"kind": kind})})
    changed = settings.model.model_copy(update={"name": str(folder), **model})
    found = estimate.estimate(settings.model_copy(update={"model": changed}), machine)
    estimate.check(found, machine, folder / "run")
    return found


@pytest.mark.parametrize(
    "profile, machine, gib",
    [
        ("laptop", Machine(8 * GIB, 64 * GIB, 4), 1.9),
        ("single_gpu", Machine.of("RTX 4090", 1), 17.7),
        ("paper", Machine.of("A100", 4), 31),
    ],
)
def test_a_profile_fits_the_hardware_it_names(tmp_path, profile, machine, gib):
    found = estimated(profile, tmp_path, machine)
    tensors = max(sum(found.memory.values()), found.writing)
    assert tensors / GIB == pytest.approx(gib, rel=0.1)
    assert found.shape.adapter > 0


def test_a_profile_is_refused_by_hardware_that_is_too_small(tmp_path):
    with pytest.raises(estimate.TooSmall, match="each GPU"):
        estimated("single_gpu", tmp_path, Machine.of("T4", 1))
    with pytest.raises(estimate.TooSmall, match="needs 4 GPUs"):
        estimated("paper", tmp_path, Machine.of("A100", 2))


def test_all_weights_of_a_7b_model_fit_80_gib_where_they_are_shared_out(tmp_path):
    with pytest.raises(estimate.TooSmall, match="each GPU"):
        estimated("paper", tmp_path, Machine.of("A100", 4), "ddp", lora=None)
    assert estimated("paper", tmp_path, Machine.of("A100", 4), lora=None).shape.adapter == 0


def test_the_benchmark_of_the_profiles_can_be_rehearsed_without_a_gpu(tmp_path):
    """4-bit weights and adapters through estimate, `accelerate launch`, twenty steps (here two) and writing."""
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), "--machine", "rehearsal", "--small"]
    command += ["--steps", "2", "--profiles", "single_gpu", "--results", str(tmp_path)]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "scale-rehearsal.json").read_text())["profiles"]["single_gpu"]
    # IPO before anything is learnt: (0 - 1 / 2β)², β = 0.1
    assert result["training"]["loss"] == pytest.approx([25.0, 25.0], abs=0.1) and result["training"]["processes"] == 1
    assert result["training"]["peak_gib"] > 0 and result["writing"]["replies"] == 32
