"""An estimate of a training step's memory, without loading the model.

Weights, gradients and optimiser states are counted on torch's meta device (bytes per weight as in Rajbhandari et al.
2020, "ZeRO", section 3.1); activations are a fit to what autograd keeps of decoder layers of the Llama family.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from guardalign.config.sections import Lora
from guardalign.models.hub import may_run_code, reaching, read_config
from guardalign.models.loading import adapter_base, is_adapter, with_adapter

STATE_BYTES = {"adamw": 8.0, "rmsprop": 4.0, "paged_adamw_8bit": 2 * (1 + 4 / 256)}
"""Bytes of optimiser state per trained weight: two float32 moments, one, or two of 8 bits with a scale for each 256."""
INNER_BYTES = {"fp32": 4.0, "bf16": 4.0, "int8": 1.0, "nf4": 0.5 + 1 / 64 + 4 / (64 * 256)}
"""Bytes per inner weight: nf4 has a scale of 8 bits for 64 weights, itself scaled for 256 (Dettmers et al. 2023)."""
KEPT = {"fp32": 16.0, "bf16": 11.0, "int8": 12.5, "nf4": 14.5}
"""Bytes that autograd keeps per token and decoder layer, per unit of 2 * hidden + intermediate size (a fit)."""
LOGIT_BYTES = 12  # a predicted token's float32 log-probs over the vocabulary, their gradient, and that of the logits


class Shape(NamedTuple):
    """Counts of weights (``inner``: of the decoder's linear layers, which int8 and nf4 quantise; ``adapter``: 0 if all
    are trained) and widths (``keys``: of all key heads)."""

    parameters: int
    inner: int
    adapter: int
    layers: int
    hidden: int
    intermediate: int
    keys: int
    vocabulary: int

    @property
    def trained(self) -> int:
        return self.adapter or self.parameters

    def weight_bytes(self, precision: str) -> float:
        """The kept weights of a whole model, adapters included: float32 unless quantised."""
        return INNER_BYTES[precision] * self.inner + 4.0 * (self.parameters - self.inner + self.adapter)


def shape_of(name: str, lora: Lora | None = None) -> Shape:
    """The shape of a model by folder or hub name. Raises ModelUnavailable."""
    base = adapter_base(name) if is_adapter(name) else name
    config = read_config(base)
    with torch.device("meta"), reaching(base):
        return measured(AutoModelForCausalLM.from_config(config, trust_remote_code=may_run_code(base)), config, lora)


def measured(model: Any, config: Any, lora: Lora | None = None) -> Shape:
    """The shape of a model that is already built, on any device; with ``lora`` it gets an adapter."""
    output, decoder = model.get_output_embeddings(), config.get_text_config(decoder=True)
    linear = [each for each in model.modules() if isinstance(each, nn.Linear) and each is not output]
    parameters, inner = sum(weight.numel() for weight in model.parameters()), sum(e.weight.numel() for e in linear)
    adapted = with_adapter(model, lora).parameters() if lora else ()
    adapter, hidden = sum(weight.numel() for weight in adapted if weight.requires_grad), decoder.hidden_size
    keys = getattr(decoder, "num_key_value_heads", None) or decoder.num_attention_heads
    keys *= getattr(decoder, "head_dim", None) or hidden // decoder.num_attention_heads
    intermediate = getattr(decoder, "intermediate_size", None) or 4 * hidden
    depth = decoder.num_hidden_layers
    return Shape(parameters, inner, adapter, depth, hidden, intermediate, keys, decoder.vocab_size)


class Row(NamedTuple):
    """The largest forward pass: distinct tokens, those predicted, and whether gradients of an earlier pass are held."""

    tokens: float
    predicted: float
    accumulates: bool = False


def training_memory(
    shape: Shape, row: Row, precision: str, optimizer: str, checkpointing: bool, shards: int = 1, replicas: bool = False
) -> dict[str, float]:
    """Bytes at the peak of a training step, by purpose. ``shards`` processes share weights, gradients and
    states; with ``replicas`` others hold the same weights (DDP, whose buckets are a second copy of the gradients).

    The peak is at the end of the forward pass or of the backward pass: gradients come while activations go. The
    reference costs nothing extra: its log-probs are computed before the policy is loaded.
    """
    head, layer = shape.parameters - shape.inner, shape.inner // shape.layers
    gradients = 4.0 * shape.trained / shards
    kept = row.tokens * KEPT[precision] * (2 * shape.hidden + shape.intermediate)
    passing = row.tokens * (8.0 * shape.hidden + 3.0 * (4 if precision == "fp32" else 2) * shape.intermediate)
    logits = LOGIT_BYTES * row.predicted * shape.vocabulary
    if precision != "fp32":  # autocast keeps bfloat16 copies of matrices until the backward pass has used them
        whole = precision == "bf16" and shards == 1 and not (checkpointing and shape.adapter)
        logits += 2.0 * ((shape.inner if whole else layer) + shape.vocabulary * shape.hidden)
    passes = shape.layers * kept + passing + logits
    if checkpointing:  # keeps a layer's input and computes one layer again (Chen et al. 2016)
        passes = 4.0 * shape.layers * shape.hidden * row.tokens + max(logits, kept + passing + 2.0 * layer)
    waiting = gradients if row.accumulates else 0.0
    return {
        "weights": shape.weight_bytes(precision) / shards + (4.0 * (2 * layer + head) if shards > 1 else 0.0),
        "optimiser": STATE_BYTES[optimizer] * shape.trained / shards,
        "gradients": waiting + (gradients if replicas else 0.0),
        "activations": max(passes, gradients - waiting + passing),
    }
