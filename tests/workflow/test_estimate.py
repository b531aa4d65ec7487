"""The calculator: its counts against real models, its refusals, and what it says of the profiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface

import series
from guardalign.config.params import Params
from guardalign.config.sections import Lora
from guardalign.models.loading import LoraSettings, load_model
from guardalign.training.config import TrainingConfig
from guardalign.training.trainer import _optimizer
from guardalign.workflow import estimate
from guardalign.workflow.estimate import (
    GIB,
    KEPT_BY_ADAPTERS,
    STATE_BYTES,
    Data,
    Machine,
    Row,
    data_of,
    judging,
    shape_of,
    table,
    token_bytes,
    training_memory,
    weight_bytes,
    works,
)
from guardalign.world import BASE_MODEL
from tiny import FAMILIES, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
LARGE = Machine(1024 * GIB, 4096 * GIB, 8)


def test_a_shape_is_counted_without_the_weights(tmp_path):
    folder = save_checkpoint(tmp_path / "model")
    real = load_model(str(folder))
    (folder / "model.safetensors").unlink()
    shape = shape_of(str(folder))
    assert shape.parameters == sum(weight.numel() for weight in real.parameters())
    assert shape.inner == sum(weight.numel() for name, weight in real.named_parameters() if "proj" in name)
    assert (shape.layers, shape.hidden, shape.queries, shape.keys, shape.adapter) == (2, 32, 32, 16, 0)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], r".*\.mlp\.(up|down)_proj"])
@pytest.mark.parametrize("family", ["mistral", "llama"])
def test_adapters_are_counted_as_peft_makes_them(tmp_path, targets, family):
    folder = save_checkpoint(tmp_path / "model", family=family)
    model = load_model(str(folder), lora=LoraSettings(rank=4, target_modules=targets))
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert shape_of(str(folder), Lora(rank=4, target_modules=targets)).adapter == trained > 0


class _Kept(torch.autograd.Function):
    """Attention that keeps queries, keys, values and output alone."""

    @staticmethod
    def forward(ctx, query, key, value):
        output = torch.zeros_like(query)
        ctx.save_for_backward(query, key, value, output)
        return output


class _Living(TorchDispatchMode):
    """Knows the storage of every tensor that is made."""

    def __init__(self):
        super().__init__()
        self.made = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, torch.Tensor):
                storage = each.untyped_storage()
                self.made[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        return made

    def bytes(self, weights):
        return sum(size for key, (ref, size) in self.made.items() if not ref.expired() and key not in weights)


def kept(folder: Path, precision: str, lora: LoraSettings | None, tokens: int) -> int:
    """Bytes that live after a forward pass, weights aside: what autograd keeps."""
    AttentionInterface.register(
        "kept", lambda module, q, k, v, mask, **_: (_Kept.apply(q.to(v.dtype), k.to(v.dtype), v).transpose(1, 2), None)
    )
    model = load_model(str(folder), precision, lora).train()
    (model.get_base_model() if lora else model).set_attn_implementation("kept")
    weights = {weight.untyped_storage().data_ptr() for weight in [*model.parameters(), *model.buffers()]}
    living = _Living()
    with living, torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32"):
        said = model(input_ids=torch.ones(1, tokens, dtype=torch.long), logits_to_keep=torch.arange(1), use_cache=False)
        total = living.bytes(weights)
    assert said.logits.requires_grad
    return total


@pytest.mark.parametrize(
    "precision, lora",
    [("fp32", None), ("bf16", None), *((precision, LoraSettings(rank=4)) for precision in KEPT_BY_ADAPTERS)],
)
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "qwen3"])
def test_a_layers_activations_are_what_autograd_keeps(tmp_path, family, precision, lora):
    widths = {"hidden_size": 64, "intermediate_size": 192, "head_dim": 32}
    folders = [save_checkpoint(tmp_path / str(n), family=family, num_hidden_layers=n, **widths) for n in (1, 2)]
    [one, two], [three, four] = [[kept(folder, precision, lora, n) for n in (16, 48)] for folder in folders]
    counted = ((four - three) - (two - one)) / 32
    shape = shape_of(str(folders[1]), Lora(rank=4) if lora else None)
    assert token_bytes(shape, precision) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("optimizer", STATE_BYTES)
def test_optimiser_states_take_what_they_are_said_to(optimizer, tmp_path):
    weight = torch.nn.Parameter(torch.ones(512, 256))
    config = TrainingConfig(
        arm="arm", model="m", output=tmp_path, method="sft", learning_rate=1e-3, optimizer=optimizer
    )
    stepper = _optimizer(config, [weight])
    weight.grad = torch.ones_like(weight)
    stepper.step()
    states = [value for value in stepper.state[weight].values() if isinstance(value, torch.Tensor) and value.dim()]
    tables = 2 * 256 * 4 if "8bit" in optimizer else 0  # bitsandbytes' tables of 256 values, the same for all weights
    counted = sum(value.nbytes for value in states) - tables
    assert counted == pytest.approx(STATE_BYTES[optimizer] * weight.numel(), rel=0.01)


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_quantised_weights_take_what_they_are_said_to(tmp_path, precision):
    folder = save_checkpoint(tmp_path / "model", hidden_size=128, intermediate_size=256)
    model = load_model(str(folder), precision, LoraSettings(rank=4))
    size = sum(weight.nbytes for weight in model.parameters())
    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            size += state.absmax.nbytes + state.state2.absmax.nbytes
    shape = shape_of(str(folder), Lora(rank=4))
    assert weight_bytes(shape, precision) == pytest.approx(size, rel=0.02)
    assert size < 0.6 * weight_bytes(shape, "fp32")


def test_a_step_of_known_sizes_by_hand(tmp_path):
    shape = shape_of(str(save_checkpoint(tmp_path / "model")))
    memory = training_memory(shape, Row(tokens=1, predicted=1, accumulates=True), "fp32", "adamw", False)
    known = tuple(memory[name] for name in ("weights", "gradients", "optimiser"))
    assert known == tuple(n * shape.parameters for n in (4, 4, 8))
    sharded = training_memory(shape, Row(1, 1, accumulates=True), "fp32", "adamw", False, shards=4)
    assert sharded["optimiser"] == memory["optimiser"] / 4 and sharded["weights"] < memory["weights"] * 1.5
    plain, checkpointed = (training_memory(shape, Row(5000, 100), "fp32", "adamw", c) for c in (False, True))
    assert checkpointed["activations"] < plain["activations"]


@pytest.fixture
def settings(tmp_path):
    """The smallest series' parameters, with changes to sections."""
    base = save_checkpoint(tmp_path / "base")

    def make(**sections) -> Params:
        return Params.checked(series.parameters(tmp_path / "run", base, **sections))

    return make


def test_tokens_are_those_the_engine_computes():
    """The embedded default's fine-tuning, by the engine's own plan."""
    found = Params.load(ROOT / "params" / "embedded.yaml")
    read = data_of(found)
    sft = dict(zip(found.study.order(), works(found, read), strict=True))["M_1SFT"]
    from guardalign.models.encoding import examples_of
    from guardalign.models.loading import load_tokenizer
    from guardalign.study.sources import load
    from guardalign.training.batches import encode_examples, plan
    from guardalign.tree.prefix_tree import tree_row

    pairs = [pair for pair in load(found.source).pairs if pair.split in ("train", "feedback")]
    assert read.count("train", "feedback") == len(pairs)
    config = TrainingConfig(
        arm="arm", model=str(BASE_MODEL), output=Path("x"), method="sft", learning_rate=1e-3, max_length=1024
    )
    batches = plan(encode_examples(load_tokenizer(str(BASE_MODEL)), examples_of(pairs), config), config)
    computed = sum(tree_row(batch.sequences).unique_tokens for batch in batches)
    assert sft.tokens == pytest.approx(computed, rel=0.15)


def test_the_judges_calls_and_price(settings):
    judge = {"kind": "llm", "model": "gpt-4o", "canaries": 0}
    given, read = settings(judge=judge), Data({"test": 10, "feedback": 5}, 500, 600, 700, 50, 5, "")
    asked = judging(given, read)
    methods = len(given.study.part("methods"))
    assert asked.calls == 2 * ((len(given.study.contrasts) + methods + 1) * 10 + 10 + 5)
    assert asked.dollars == pytest.approx(asked.calls * (1500 * 2.5 + 460 * 10) / 1e6, rel=1e-3)
    once = judging(settings(judge=judge | {"orders": "first"}), read)
    assert once.calls == asked.calls / 2
    assert judging(settings(judge=judge | {"model": "nobody-knows"}), read).dollars is None
    assert judging(settings(), read).calls == 0


def test_what_is_short_is_said_with_what_to_change(settings, tmp_path):
    found = estimate.estimate(settings(), LARGE)
    estimate.check(found, LARGE, tmp_path)
    with pytest.raises(estimate.TooSmall, match=r"memory: .* GiB wanted, 0\.1 there\. Lower training\.row_tokens"):
        estimate.check(found, Machine(GIB / 10, LARGE.disk, 2), tmp_path)
    with pytest.raises(estimate.TooSmall, match=r"disk: .* wanted, 0\.0 free"):
        estimate.check(found, Machine(LARGE.memory, 10.0, 2), tmp_path)


def test_what_a_run_has_made_already_is_not_wanted_again(settings, tmp_path):
    found = estimate.estimate(settings(), LARGE)
    need = sum(found.disk.values())
    (tmp_path / "there").write_bytes(bytes(int(need)))
    estimate.check(found, Machine(LARGE.memory, 100.0, 2), tmp_path)


def test_a_kind_that_wants_more_gpus_than_there_are_is_refused(settings, tmp_path):
    given = settings(launch={"kind": "ddp"})
    with pytest.raises(estimate.TooSmall, match=r"launch\.kind ddp wants 4 GPUs on this machine, which has 0"):
        estimate.check(estimate.estimate(given, LARGE), LARGE, tmp_path)
    two = Machine.of("A100", 4)
    found = estimate.estimate(given, two)
    estimate.check(found, two, tmp_path)
    assert found.everywhere == found.processes == 4
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


def test_the_command_prints_a_table_and_refuses(settings, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(settings(launch={"kind": "ddp"}).sections()))
    command = [sys.executable, "-m", "guardalign.workflow.cli", "estimate", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, env=series.environment(), timeout=300)
    assert "memory, training" in told.stdout and "weights" in told.stdout
    if torch.cuda.device_count() < 4:
        assert told.returncode == 1 and "This machine is too small" in told.stderr and "Traceback" not in told.stderr


def test_a_table_names_every_need(settings):
    lines = table(estimate.estimate(settings(), LARGE)).splitlines()
    assert [line[:18].strip() for line in lines] == [
        "model", "data", "processes", "memory, training", "memory, writing", "disk", "time", "judge",
    ]  # fmt: skip


@pytest.mark.skipif(torch.cuda.device_count() >= 4, reason="four GPUs are enough for what this asks for")
def test_a_series_stops_before_it_starts_where_the_machine_is_too_small(settings, tmp_path):
    content = settings(launch={"kind": "ddp"}).sections()
    code, told = series.run(series.write_parameters(tmp_path / "own.yaml", content), checked=True)
    assert code == 1 and "This machine is too small" in told and "Traceback" not in told
    assert not list((tmp_path / "run").rglob("*.ipynb"))
