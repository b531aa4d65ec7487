"""A model's sizes, from its configuration alone: built without memory (torch's meta device), no weights are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from guardalign.config.sections import Lora
from guardalign.models.hub import may_run_code, reaching, read_config
from guardalign.models.loading import adapter_base, is_adapter


@dataclass(frozen=True)
class Shape:
    """Counts of weights, and the widths that activations follow.

    ``parameters``: all weights, shared ones once. ``inner``: those of the decoder's linear layers, which int8 and nf4
    quantise; the rest (embeddings, output layer, norms) is ``parameters - inner``. ``largest``: the largest inner
    matrix. ``adapter``: weights of the low-rank adapters, 0 for full fine-tuning. ``queries`` and ``keys`` are heads
    times head width; ``state``: bytes a token of the decoding cache takes in bfloat16.
    """

    parameters: int
    inner: int
    largest: int
    adapter: int
    rank: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    queries: int
    keys: int
    vocabulary: int

    @property
    def trained(self) -> int:
        return self.adapter or self.parameters

    @property
    def state(self) -> int:
        return 2 * 2 * self.layers * self.keys

    @property
    def layer(self) -> int:
        """Weights of one decoder layer, about."""
        return self.inner // self.layers


def shape_of(name: str, lora: Lora | None = None) -> Shape:
    """The shape of a model by folder or hub name. Raises ModelUnavailable."""
    base = adapter_base(name) if is_adapter(name) else name
    config, trusted = read_config(base), may_run_code(base)
    with torch.device("meta"), reaching(base):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)
    return measured(model, config, lora)


def measured(model: Any, config: PretrainedConfig, lora: Lora | None = None) -> Shape:
    """The shape of a model that is built already, on whatever device."""
    output = model.get_output_embeddings()
    inner = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear) and each is not output}
    adapted = [each for name, each in inner.items() if lora is not None and _adapts(lora, name)]
    decoder = config.get_text_config(decoder=True)
    heads = decoder.num_attention_heads
    width = getattr(decoder, "head_dim", None) or decoder.hidden_size // heads
    groups = getattr(decoder, "num_key_value_heads", None) or heads
    rank = lora.rank if lora is not None else 0
    return Shape(
        parameters=sum(weight.numel() for weight in model.parameters()),
        inner=sum(each.weight.numel() for each in inner.values()),
        largest=max((each.weight.numel() for each in inner.values()), default=0),
        adapter=sum(rank * (each.in_features + each.out_features) for each in adapted),
        rank=rank,
        layers=decoder.num_hidden_layers,
        hidden=decoder.hidden_size,
        intermediate=getattr(decoder, "intermediate_size", None) or 4 * decoder.hidden_size,
        heads=heads,
        queries=heads * width,
        keys=groups * width,
        vocabulary=decoder.vocab_size,
    )


def _adapts(lora: Lora, name: str) -> bool:
    """Whether PEFT puts an adapter on the linear layer ``name`` (its own rule: all, a pattern, or ends of names)."""
    if lora.target_modules == "all-linear":
        return True
    if isinstance(lora.target_modules, str):
        return re.fullmatch(lora.target_modules, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in lora.target_modules)
