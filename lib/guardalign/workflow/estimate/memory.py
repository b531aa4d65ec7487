"""Memory of one process's device while it trains, scores or writes, in bytes, by what it is for.

Weights, gradients and optimiser states are counted (bytes a weight as in Rajbhandari et al. 2020, "ZeRO", section 3.1,
but with float32 weights and autocast, as ``models.loading`` has them). Activations are what autograd keeps of a
decoder layer of the Llama family (RMSNorm, gated MLP, rotary positions) in transformers 5: the coefficients were
counted, tensor by tensor, which a test repeats. Checkpointing keeps a layer's input and
computes one layer again (Chen et al. 2016, "Training deep nets with sublinear memory cost").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from guardalign.config.precision import Precision
from guardalign.tree.block_attention import BLOCK
from guardalign.workflow.estimate.shape import Shape

Optimizer = Literal["adamw", "rmsprop", "paged_adamw_8bit"]

STATE_BYTES: dict[Optimizer, float] = {"adamw": 8.0, "rmsprop": 4.0, "paged_adamw_8bit": 2 * (1 + 4 / 256)}
"""Bytes of optimiser state a trained weight: two float32 moments, one, or two of 8 bits with a scale for each 256."""
INNER_BYTES: dict[Precision, float] = {"fp32": 4.0, "bf16": 4.0, "int8": 1.0, "nf4": 0.5 + 1 / 64 + 4 / (64 * 256)}
"""Bytes an inner weight: nf4 has a scale of 8 bits for 64 weights, itself scaled for 256 (Dettmers et al. 2023)."""
KEPT: dict[Precision, tuple[int, int, int, int]] = {"fp32": (24, 16, 8, 8), "bf16": (26, 8, 4, 4)}
KEPT_BY_ADAPTERS: dict[Precision, tuple[int, int, int, int]] = {
    "fp32": (16, 16, 8, 8),
    "bf16": (18, 8, 6, 4),
    "int8": (26, 10, 6, 4),
    "nf4": (18, 14, 10, 8),
}
"""Bytes a token that autograd keeps of a decoder layer for each of its width, inner width, queries and keys: where all
weights are trained, and where adapters are. A 4-bit layer gives its output back in float32, autocast or not."""
LOGIT_BYTES = 12
"""A predicted token's log-probs over the vocabulary in float32, their gradient, and the gradient of the logits."""


@dataclass(frozen=True)
class Setting:
    """What decides a process's memory beside the model: ``shards`` processes share weights, gradients and states;
    ``replicated``: others hold the same weights (DDP, whose buckets are a second copy of the gradients)."""

    precision: Precision = "fp32"
    optimizer: Optimizer = "adamw"
    checkpointing: bool = False
    shards: int = 1
    device: Literal["cuda", "cpu"] = "cuda"
    replicated: bool = False


@dataclass(frozen=True)
class Row:
    """The largest forward pass: distinct tokens, those that are predicted, the longest path, and whether gradients of
    an earlier pass of the same step wait meanwhile."""

    tokens: float
    predicted: float
    depth: float
    accumulates: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes by what they are for; ``copies`` are weights in the precision of the arithmetic, beside the kept ones."""

    weights: float
    copies: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    logits: float = 0.0

    @property
    def total(self) -> float:
        return sum((self.weights, self.copies, self.gradients, self.optimizer, self.activations, self.logits))


def training_memory(shape: Shape, setting: Setting, row: Row) -> Memory:
    """The peak of a training step: at the end of its forward pass, or in its backward pass, whichever is larger.

    The reference costs nothing extra: its log-probs are computed before the policy is loaded.
    """
    gathered = 2 * shape.layer + (shape.parameters - shape.inner) if setting.shards > 1 else 0
    weights = weight_bytes(shape, setting.precision) / setting.shards + 4.0 * gathered
    states = STATE_BYTES[setting.optimizer] * shape.trained / setting.shards
    gradients = 4.0 * shape.trained / setting.shards
    buckets = gradients if setting.replicated else 0.0
    before, after = buckets + (gradients if row.accumulates else 0.0), buckets + gradients
    layer, passing = _layer_bytes(shape, setting, row), _transient(shape, setting, row)
    copies, logits = _copies(shape, setting), LOGIT_BYTES * row.predicted * shape.vocabulary
    if setting.checkpointing:
        inputs = 4.0 * shape.layers * shape.hidden * row.tokens
        moments = [
            Memory(weights, copies, before, states, inputs, logits),
            Memory(weights, _copies_again(shape, setting), before, states, inputs + layer + passing),  # the last layer
            Memory(weights, 0.0, after, states, layer + passing),  # the first layer
        ]
    else:
        moments = [
            Memory(weights, copies, before, states, shape.layers * layer + passing, logits),
            Memory(weights, 0.0, after, states, passing),
        ]
    return max(moments, key=lambda each: each.total)


def weight_bytes(shape: Shape, precision: Precision) -> float:
    """The kept weights of a whole model, adapters included: float32 whatever is not quantised."""
    return INNER_BYTES[precision] * shape.inner + 4.0 * (shape.parameters - shape.inner + shape.adapter)


def _copies(shape: Shape, setting: Setting) -> float:
    """Autocast keeps bfloat16 copies of the matrices until the backward pass has used them.

    Under checkpointing that holds for trained weights only, until the forward pass ends; quantised matrices are
    unpacked one at a time. Sharded ones are gathered layer by layer.
    """
    if setting.precision == "fp32":
        return 0.0
    head = shape.vocabulary * shape.hidden
    if setting.precision != "bf16" or setting.shards > 1:
        return 2.0 * (shape.largest + head)
    if setting.checkpointing and shape.adapter:
        return 2.0 * (shape.layer + head)
    return 2.0 * (shape.inner + head)


def _copies_again(shape: Shape, setting: Setting) -> float:
    """The same while a checkpointed layer is computed again."""
    if setting.precision == "fp32":
        return 0.0
    return 2.0 * (shape.layer if setting.precision == "bf16" and setting.shards == 1 else shape.largest)


def _layer_bytes(shape: Shape, setting: Setting, row: Row) -> float:
    """What autograd keeps of one decoder layer."""
    return row.tokens * token_bytes(shape, setting) + _attention(shape, setting, row)


def token_bytes(shape: Shape, setting: Setting) -> float:
    """Bytes that autograd keeps of one token in one decoder layer, attention's inner workings aside."""
    widths = (shape.hidden, shape.intermediate, shape.queries, shape.keys)
    factors = (KEPT_BY_ADAPTERS if shape.adapter else KEPT)[setting.precision]
    low_rank = (28 if setting.precision == "fp32" else 14) * shape.rank
    return 8 + low_rank + sum(factor * width for factor, width in zip(factors, widths, strict=True))


def _attention(shape: Shape, setting: Setting, row: Row) -> float:
    """What attention keeps of a layer: a sum a head on CUDA; on a CPU, for each block of queries, its shares (bfloat16)
    or its keys, values and mask (float32). A query sees half the longest path on average."""
    seen = min(row.depth / 2 + BLOCK, row.tokens)
    if setting.device == "cuda":
        return 4.0 * shape.heads * row.tokens
    if setting.precision != "fp32":
        return 2.0 * shape.heads * row.tokens * seen
    return row.tokens * seen * (8.0 * shape.keys / BLOCK + shape.queries / shape.keys)


def _transient(shape: Shape, setting: Setting, row: Row) -> float:
    """Gradients of one layer's intermediate values while its backward pass runs."""
    width = 4 if setting.precision == "fp32" else 2
    return row.tokens * (8.0 * shape.hidden + 3.0 * width * shape.intermediate)


def writing_memory(shape: Shape, stored: int, batch: int, length: float) -> Memory:
    """Decoding: weights of ``stored`` bytes each and a cache of ``batch`` sequences of ``length`` tokens."""
    return Memory(float(stored * shape.parameters), activations=batch * length * shape.state)
