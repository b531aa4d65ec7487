"""The calculator's memory of a training step beside what torch's own MemTracker counts, at the widths of Mistral-7B.

    python benchmarks/memory.py [layers: 8]

The real model, scorer, autocast, adapters and optimiser take two steps with fake tensors, which have sizes and no
content: nothing is computed and no memory is needed, so billions of weights fit a laptop. MemTracker adds up what lives
at each moment; its peak is what ``torch.cuda.max_memory_allocated`` would say, fragmentation aside. Attention is a
stand-in that keeps what FlexAttention keeps. Sharding cannot be run this way and is not checked. Writes
``benchmarks/results/memory.json``.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import bitsandbytes
import numpy as np
import torch
from bitsandbytes.functional import QuantState
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.hooks import RemovableHandle
from transformers import AttentionInterface, MistralConfig, MistralForCausalLM

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from guardalign.config.sections import Lora  # noqa: E402
from guardalign.training.memory import Row, measured, training_memory  # noqa: E402
from guardalign.tree import scoring, tree_attention  # noqa: E402
from guardalign.tree.prefix_tree import TokenSequence, TreeRow, tree_row  # noqa: E402
from guardalign.tree.scoring import TreeScorer  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "memory.json"
SHAPE = {"vocab_size": 32768, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
         "num_key_value_heads": 8, "sliding_window": None}  # fmt: skip
PROMPT, REPLY, PAIRS = 1500, 60, 8
LORA = Lora(rank=16)
CASES: dict[str, dict[str, Any]] = {
    "full, fp32": {"precision": "fp32"},
    "full, bf16": {"precision": "bf16"},
    "full, bf16, checkpointing": {"precision": "bf16", "checkpointing": True},
    "full, bf16, checkpointing, rmsprop": {"precision": "bf16", "checkpointing": True, "optimizer": "rmsprop"},
    "full, bf16, accumulated": {"precision": "bf16", "accumulates": True},
    "LoRA, fp32": {"precision": "fp32", "lora": LORA},
    "LoRA, bf16": {"precision": "bf16", "lora": LORA},
    "LoRA, bf16, checkpointing": {"precision": "bf16", "lora": LORA, "checkpointing": True},
    "LoRA, nf4": {"precision": "nf4", "lora": LORA},
    "LoRA, nf4, checkpointing": {"precision": "nf4", "lora": LORA, "checkpointing": True},
}


class _Kept(torch.autograd.Function):
    """Keeps queries, keys, values, the output and a sum a head, as FlexAttention does."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:3], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(each) for each in ctx.saved_tensors[:3])


def _attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **_: Any) -> tuple[Tensor, None]:
    return _Kept.apply(query.to(value.dtype), key.to(value.dtype), value).transpose(1, 2), None


def _inputs(model: Any, row: TreeRow, *_: Any) -> dict[str, Any]:
    """``model_inputs`` without the mask, whose making looks at the values."""
    return {"input_ids": row.tokens[None], "position_ids": row.depth[None], "use_cache": False}


class _In4Bits(bitsandbytes.nn.Linear4bit):
    """bitsandbytes' layer around fake weights of its sizes: four bits each, doubly quantised scales.

    Its own weights are a kind of tensor that cannot be fake.
    """

    def __init__(self, layer: torch.nn.Linear) -> None:
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, None
        self.compute_dtype, self.compute_type_is_set = torch.bfloat16, True
        self.support_avx512bf16_for_cpu = False
        size = layer.weight.numel()
        scales = QuantState(
            absmax=torch.empty(size // 64 // 256), code=torch.empty(256), blocksize=256, dtype=torch.float32
        )
        self.quant_state = QuantState(
            absmax=torch.empty(size // 64, dtype=torch.uint8), shape=layer.weight.shape, code=torch.empty(16),
            blocksize=64, quant_type="nf4", dtype=torch.bfloat16, offset=torch.zeros(()), state2=scales,
        )  # fmt: skip
        self.weight = torch.nn.Parameter(torch.empty(size // 2, 1, dtype=torch.uint8), requires_grad=False)
        vars(self.weight).update(quant_state=self.quant_state, quant_type="nf4", compress_statistics=True)


def in_4_bits(model: Any) -> Any:
    """The model with the decoder's linear layers in four bits, all frozen, as ``models.loading`` has them."""
    for parent in list(model.model.layers.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, torch.nn.Linear):
                setattr(parent, name, _In4Bits(layer))
    model.is_loaded_in_4bit = True
    return model.requires_grad_(False)


def peak(layers: int, case: dict[str, Any]) -> tuple[float, float]:
    """Bytes at the peak of two steps: counted, and by the calculator."""
    prompts = np.arange(PROMPT)
    replies = [np.full(REPLY, number) for number in range(2 * PAIRS)]
    row = tree_row([TokenSequence(np.concatenate([prompts, reply]), PROMPT) for reply in replies])
    config = MistralConfig(**SHAPE, num_hidden_layers=layers)
    lora, checkpointing = case.get("lora"), case.get("checkpointing", False)
    optimizer, passes = case.get("optimizer", "adamw"), 2 if case.get("accumulates") else 1
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = MistralForCausalLM(config)
        shape = measured(MistralForCausalLM(config), config, lora)
        if case["precision"] == "nf4":
            model = in_4_bits(model)
        if lora:
            from guardalign.models.loading import with_adapter

            model = with_adapter(model, lora)
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            if lora:
                model.enable_input_require_grads()
        scorer = TreeScorer(model, precision=case["precision"]).train()
        trained = [weight for weight in scorer.parameters() if weight.requires_grad]
        adamw = optimizer == "adamw"
        stepper = torch.optim.AdamW(trained, fused=True) if adamw else torch.optim.RMSprop(trained)
        tracker = MemTracker()
        tracker.track_external(scorer, stepper)
        with tracker:
            for _ in range(2):
                for _ in range(passes):
                    tracker.reset_mod_stats()
                    scorer(row).policy.sum().backward()
                stepper.step()
                stepper.zero_grad(set_to_none=True)
        counted = max(each["Total"] for each in tracker.get_tracker_snapshot("peak").values())
    largest = Row(row.unique_tokens, len(row.predictors), passes > 1)
    estimate = training_memory(shape, largest, case["precision"], optimizer, checkpointing)
    return float(counted), sum(estimate.values())


def _skip_frozen(name: str) -> None:
    """MemTracker hooks every weight, and frozen ones take no hook."""
    original = getattr(Tensor, name)

    def register(tensor: Tensor, hook: Any) -> Any:
        return original(tensor, hook) if tensor.requires_grad else RemovableHandle(OrderedDict())

    setattr(Tensor, name, register)


def main(layers: int = 8, *, results: Path = RESULTS) -> None:
    AttentionInterface.register(tree_attention.NAME, _attend)
    scoring.model_inputs = _inputs  # type: ignore[assignment]
    for name in ("register_hook", "register_post_accumulate_grad_hook"):
        _skip_frozen(name)
    # PEFT moves adapters to the weights' device; fake ones are there.
    torch.nn.Module.to = lambda self, *_, **__: self  # type: ignore[method-assign]
    rows = {}
    for name, case in CASES.items():
        counted, estimated = peak(layers, case)
        error = estimated / counted - 1
        rows[name] = {"counted": counted, "estimated": estimated, "error": round(error, 3)}
        print(f"{name:36}{counted / 2**30:7.1f} GiB, estimated {estimated / 2**30:7.1f} ({error:+.1%})", flush=True)
    facts = {"layers": layers, **SHAPE, "prompt": PROMPT, "reply": REPLY, "pairs": PAIRS}
    results.write_text(json.dumps({"unit": "bytes", "model": facts, "cases": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
