"""The profiles fit the hardware they name, by the calculator, and say so at their top."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaConfig, MistralConfig

from guardalign import estimate
from guardalign.estimate.machine import GIB, Machine
from guardalign.params import Params

PROFILES = Path(__file__).resolve().parents[1] / "params"
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
    assert found.peak / GIB == pytest.approx(gib, rel=0.05)
    assert found.shape.adapter > 0


def test_a_profile_is_refused_by_hardware_that_is_too_small(tmp_path):
    with pytest.raises(estimate.TooSmall, match="each GPU"):
        estimated("single_gpu", tmp_path, Machine.of("T4", 1))
    with pytest.raises(estimate.TooSmall, match="wants 4 GPUs on this machine, which has 2"):
        estimated("paper", tmp_path, Machine.of("A100", 2))


def test_all_weights_of_a_7b_model_fit_80_gib_where_they_are_shared_out(tmp_path):
    with pytest.raises(estimate.TooSmall, match="each GPU"):
        estimated("paper", tmp_path, Machine.of("A100", 4), "ddp", lora=None)
    assert estimated("paper", tmp_path, Machine.of("A100", 4), lora=None).shape.adapter == 0


@pytest.mark.parametrize("profile", CONFIGS)
def test_a_profile_says_what_it_needs_and_comments_its_keys(profile):
    lines = (PROFILES / f"{profile}.yaml").read_text().splitlines()
    head = lines[: next(at for at, line in enumerate(lines) if not line.startswith("#"))]
    assert any(line.startswith("# Needs ") and "GiB" in line for line in head)
    assert max(map(len, lines)) <= 125
