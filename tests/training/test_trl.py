"""The tree engine against TRL's own trainers: same model, same data, same batches."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from guardalign.config.sections import Lora
from guardalign.errors import GuardalignError
from guardalign.files import write_text
from guardalign.launch.accelerate import accelerate_config, run_training
from guardalign.training import TrainingConfig, train
from tests.launch.test_launch import launch_all
from tests.training.test_training import distance, metrics, quiet
from tiny import make_examples, save_checkpoint

EXAMPLES = make_examples(40, 1)[:40]  # one point a conversation, so that KTO's neighbours have different prompts
KTO_SEED = 0  # an order in which no reply follows the other reply to its prompt, which TRL would take as mismatched
METHODS = ("dpo", "ipo_mean", "hinge", "kto", "sft")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "base")


def config(base: Path, output: Path, method: str, **settings) -> TrainingConfig:
    given = {
        "arm": "arm",
        "learning_rate": 2e-3,
        "batch_size": 4,
        "epochs": 2,
        "batching": "pair",
        "seed": 3,
        "cache": output.parent / "reference",
        "options": {"average": "token"} if method == "sft" else {},
        **settings,
    }
    return TrainingConfig(model=str(base), output=output, method=method, **given)


@pytest.mark.parametrize("method", METHODS)
def test_twenty_steps_end_where_trls_end(base, tmp_path, method):
    """The warm-up is no whole number of steps: transformers would round it up."""
    special = {"epochs": 1, "batch_size": 2, "seed": KTO_SEED} if method == "kto" else {}
    special["warmup_ratio"] = 0.06
    ours = train(config(base, tmp_path / "tree", method, **special), EXAMPLES, quiet)
    theirs = train(config(base, tmp_path / "trl", method, engine="trl", **special), EXAMPLES, quiet)
    assert ours.steps == theirs.steps == 20
    for a, b in zip(metrics(tmp_path / "tree"), metrics(tmp_path / "trl"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3, abs=2e-4), a["step"]
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=5e-3), a["step"]
        assert a["learning_rate"] == pytest.approx(b["learning_rate"])
    first, last = load_file(base / "model.safetensors"), load_file(tmp_path / "tree" / "model.safetensors")
    moved = max(float((first[name] - last[name]).abs().max()) for name in first)
    assert moved > 0.01
    assert distance(tmp_path / "tree", tmp_path / "trl") < 0.02 * moved


def test_two_processes_that_share_the_weights_end_where_one_ends(base, tmp_path):
    """TRL's processes read the reference's log-probs from one place, and what is saved is whole."""
    arms = [config(base, tmp_path / "two" / m, m, engine="trl", arm=m, epochs=1) for m in ("ipo_mean", "sft")]
    results = launch_all(arms, EXAMPLES, "fsdp2_cpu2")
    assert [result.world_size for result in results] == [2, 2]
    for arm in arms:
        train(arm.model_copy(update={"output": tmp_path / arm.arm}), EXAMPLES, quiet)
        assert distance(arm.output, tmp_path / arm.arm) < 2e-6


# accelerate knows DeepSpeed on GPUs alone; DeepSpeed itself trains on a CPU, over gloo.
ZERO_ON_CPU = """
import os
if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" and "LOCAL_RANK" in os.environ:
    import accelerate.state as state
    state.PartialState._prepare_backend = lambda self, cpu, *rest: ("gloo", state.DistributedType.MULTI_CPU)
"""


@pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
def test_zero_3_shares_the_weights_out_and_saves_them_whole(tmp_path, monkeypatch):
    write_text(tmp_path / "site" / "sitecustomize.py", ZERO_ON_CPU)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    settings = yaml.safe_load(accelerate_config("zero3").read_text()) | {"num_processes": 2, "mixed_precision": "no"}
    write_text(tmp_path / "zero.yaml", yaml.safe_dump(settings))
    # ZeRO leaves small weights in all processes.
    wide = save_checkpoint(tmp_path / "base", hidden_size=512, intermediate_size=1024)
    one = config(wide, tmp_path / "one", "ipo_mean", engine="trl", epochs=1, learning_rate=1e-4)
    two = one.model_copy(update={"output": tmp_path / "two"})
    train(one, EXAMPLES, quiet)
    assert run_training(two, EXAMPLES, str(tmp_path / "zero.yaml"), quiet).world_size == 2
    assert distance(tmp_path / "one", tmp_path / "two") < 2e-6
    with pytest.raises(GuardalignError, match="DeepSpeed"):
        run_training(one.model_copy(update={"engine": "tree"}), EXAMPLES, str(tmp_path / "zero.yaml"), quiet)


def test_an_interrupted_trl_run_resumes(base, tmp_path):
    settings = config(base, tmp_path / "arm", "dpo", engine="trl", save_steps=5)

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, EXAMPLES, lambda line: stop(line) if "step 20/" in line else None)
    result = train(settings, EXAMPLES, quiet)
    assert result.resumed_step >= 15
    train(settings.model_copy(update={"output": tmp_path / "whole"}), EXAMPLES, quiet)
    assert distance(tmp_path / "arm", tmp_path / "whole") < 1e-6


def test_what_trl_does_not_have_is_refused(base, tmp_path):
    with pytest.raises(GuardalignError, match="TRL has no rpo"):
        train(config(base, tmp_path / "a", "rpo", engine="trl"), EXAMPLES, quiet)
    with pytest.raises(GuardalignError, match="average"):
        train(config(base, tmp_path / "b", "sft", engine="trl", options={}), EXAMPLES, quiet)
    with pytest.raises(GuardalignError, match="4 replies or pairs are not a multiple of 1"):
        train(config(base, tmp_path / "c", "dpo", engine="trl", trl_micro_batch_size=3), EXAMPLES, quiet)


def test_trl_trains_adapters_and_keeps_conversation_order(base, tmp_path):
    settings = {"lora": Lora(rank=4), "batching": "conversation", "epochs": 1}
    train(config(base, tmp_path / "tree", "dpo", **settings), EXAMPLES, quiet)
    train(config(base, tmp_path / "trl", "dpo", engine="trl", **settings), EXAMPLES, quiet)
    assert (tmp_path / "trl" / "adapter_model.safetensors").exists()
    torch.testing.assert_close(
        [row["loss"] for row in metrics(tmp_path / "tree")],
        [row["loss"] for row in metrics(tmp_path / "trl")],
        rtol=1e-3,
        atol=1e-4,
    )
