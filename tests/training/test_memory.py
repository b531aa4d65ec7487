"""What a training step takes: counts against real models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface

from guardalign.config.sections import Lora
from guardalign.models.loading import load_model
from guardalign.training.config import TrainingConfig
from guardalign.training.memory import KEPT, STATE_BYTES, Row, shape_of, training_memory
from guardalign.training.trainer import _optimizer
from tiny import FAMILIES, save_checkpoint


def test_a_shape_is_counted_without_the_weights(tmp_path):
    folder = save_checkpoint(tmp_path / "model")
    real = load_model(str(folder))
    (folder / "model.safetensors").unlink()
    shape = shape_of(str(folder))
    assert shape.parameters == sum(weight.numel() for weight in real.parameters())
    assert shape.inner == sum(weight.numel() for name, weight in real.named_parameters() if "proj" in name)
    assert (shape.layers, shape.hidden, shape.keys, shape.adapter) == (2, 32, 16, 0)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], r".*\.mlp\.(up|down)_proj"])
@pytest.mark.parametrize("family", ["mistral", "llama"])
def test_adapters_are_counted_as_peft_makes_them(tmp_path, targets, family):
    folder = save_checkpoint(tmp_path / "model", family=family)
    model = load_model(str(folder), lora=Lora(rank=4, target_modules=targets))
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


def kept(folder: Path, precision: str, lora: Lora | None, tokens: int) -> int:
    """Bytes that live after a forward pass, weights aside: what autograd keeps."""
    AttentionInterface.register(
        "kept", lambda module, q, k, v, mask, **_: (_Kept.apply(q.to(v.dtype), k.to(v.dtype), v).transpose(1, 2), None)
    )
    model = load_model(str(folder), precision, lora).train()
    (model.get_base_model() if lora else model).set_attn_implementation("kept")
    weights = {weight.untyped_storage().data_ptr() for weight in [*model.parameters(), *model.buffers()]}
    living = _Living()
    with living, torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32"):
        output = model(
            input_ids=torch.ones(1, tokens, dtype=torch.long), logits_to_keep=torch.arange(1), use_cache=False
        )
        total = living.bytes(weights)
    assert output.logits.requires_grad
    return total


@pytest.mark.parametrize("precision, lora", [("fp32", None), ("bf16", None), *((each, Lora(rank=4)) for each in KEPT)])
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "qwen3"])
def test_a_layers_activations_are_about_what_autograd_keeps(tmp_path, family, precision, lora):
    widths = {"hidden_size": 64, "intermediate_size": 192}
    folders = [save_checkpoint(tmp_path / str(n), family=family, num_hidden_layers=n, **widths) for n in (1, 2)]
    [one, two], [three, four] = [[kept(folder, precision, lora, n) for n in (16, 48)] for folder in folders]
    counted = ((four - three) - (two - one)) / 32
    assert KEPT[precision] * (2 * 64 + 192) == pytest.approx(counted, rel=0.15)


@pytest.mark.parametrize("optimizer", STATE_BYTES)
def test_optimiser_states_take_the_estimated_memory(optimizer, tmp_path):
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
def test_quantised_weights_take_the_estimated_memory(tmp_path, precision):
    folder = save_checkpoint(tmp_path / "model", hidden_size=128, intermediate_size=256)
    model = load_model(str(folder), precision, Lora(rank=4))
    size = sum(weight.nbytes for weight in model.parameters())
    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            size += state.absmax.nbytes + state.state2.absmax.nbytes
    shape = shape_of(str(folder), Lora(rank=4))
    assert shape.weight_bytes(precision) == pytest.approx(size, rel=0.02)
    assert size < 0.6 * shape.weight_bytes("fp32")


def test_a_step_of_known_sizes_by_hand(tmp_path):
    shape = shape_of(str(save_checkpoint(tmp_path / "model")))
    memory = training_memory(shape, Row(tokens=1, predicted=1, accumulates=True), "fp32", "adamw", False)
    known = tuple(memory[name] for name in ("weights", "gradients", "optimiser"))
    assert known == tuple(n * shape.parameters for n in (4, 4, 8))
    sharded = training_memory(shape, Row(1, 1, accumulates=True), "fp32", "adamw", False, shards=4)
    assert sharded["optimiser"] == memory["optimiser"] / 4 and sharded["weights"] < memory["weights"] * 1.5
    plain, checkpointed = (training_memory(shape, Row(5000, 100), "fp32", "adamw", c) for c in (False, True))
    assert checkpointed["activations"] < plain["activations"]
