"""Attention that follows a prefix tree, offered to transformers under the name ``guardalign_tree``.

Models stay as they are: transformers calls ``attend`` in every layer and passes it the ``tree_mask`` that the forward
pass was given. A CPU goes block by block; CUDA uses FlexAttention with the same rule, k <= q < end[k]. A forward pass
without ``tree_mask`` (generation, evaluation) is transformers' own ``sdpa`` attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from guardalign.tree.block_attention import BLOCK, QueryBlock, attend_in_blocks, query_blocks
from guardalign.tree.prefix_tree import TreeError, TreeRow

NAME = "guardalign_tree"
FOLLOWED = {"full_attention", "sliding_attention"}
"""Kinds of layers that can follow a tree; a sliding one as long as the window holds the whole sequence."""
ALTERING = ("softcap", "s_aux", "sinks", "position_bias", "indices", "block_indices")
"""Arguments by which architectures ask for attention that is not plain softmax(QK) V."""

_packed: ContextVar[bool] = ContextVar("packed", default=False)


@dataclass(frozen=True)
class TreeMask:
    """What the attention function needs of a row: query blocks on a CPU, a FlexAttention block mask on CUDA.

    ``length`` is the longest sequence's, in tokens.
    """

    blocks: tuple[QueryBlock, ...] = ()
    flex: BlockMask | None = None
    length: int = 0


def flex_mask(end: Tensor) -> BlockMask:
    """FlexAttention's block mask of a row: query q attends to node k exactly when k <= q < end[k]."""

    def sees(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (q < end[k])

    return create_block_mask(sees, B=None, H=None, Q_LEN=len(end), KV_LEN=len(end), device=str(end.device))


def follow_tree(model: PreTrainedModel) -> None:
    """Switch a causal language model's attention to trees; adapters and quantised weights are fine.

    Raises ``TreeError`` for an architecture whose layers pass on more than attention to a token's ancestors:
    encoder-decoders, recurrent or convolutional layers, chunked attention, attention outside transformers' interface.
    """
    config, name = model.config.get_text_config(), model.config.model_type
    others = set(getattr(config, "layer_types", None) or ()) - FOLLOWED
    if model.config.is_encoder_decoder:
        raise TreeError(f"{name}: an encoder-decoder cannot follow a prefix tree")
    if model._is_stateful:
        raise TreeError(f"{name}: layers with a recurrent state cannot follow a prefix tree")
    if others:
        raise TreeError(f"{name}: layers of type {', '.join(sorted(others))} cannot follow a prefix tree")
    model.set_attn_implementation(NAME)
    if model.config._attn_implementation != NAME:
        raise TreeError(f"{name}: its attention does not use transformers' attention interface")


def model_inputs(model: PreTrainedModel, row: TreeRow, device: torch.device, block: int = BLOCK) -> dict[str, Any]:
    """Arguments of a forward pass over the row, which has to run inside ``packed()``; its outputs are (1, N, …).

    Raises ``TreeError`` if a sequence is longer than a sliding window, or than positions stay the same for.
    """
    length = int(row.depth.max()) + 1
    _check_length(model.config, length)
    if device.type == "cuda":
        mask = TreeMask(flex=flex_mask(row.end.to(device)), length=length)
    else:
        mask = TreeMask(query_blocks(row.end, block), length=length)
    return {
        "input_ids": row.tokens[None].to(device),
        "position_ids": row.depth[None].to(device),
        "tree_mask": mask,
        "use_cache": False,
    }


@contextmanager
def packed() -> Iterator[None]:
    """Inside, transformers makes no mask of its own: the row's tree is all there is."""
    token = _packed.set(True)
    try:
        yield
    finally:
        _packed.reset(token)


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Any]:
    """The function transformers calls in every layer: query (1, heads, N, d), key and value (1, kv_heads, N, d).

    Returns (1, N, heads, d). Raises ``TreeError`` if the layer asks for attention that is not followed, by name.
    """
    mask: TreeMask | None = kwargs.get("tree_mask")
    altering = [name for name in ALTERING if kwargs.get(name) is not None]
    if altering:
        raise TreeError(f"{type(module).__name__}: attention with {', '.join(altering)} is not supported")
    if mask is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if attention_mask is not None or not getattr(module, "is_causal", True):
        raise TreeError(f"{type(module).__name__}: attention with a mask of its own is not supported")
    if kwargs.get("dropout"):
        raise TreeError(f"{type(module).__name__}: attention dropout is not supported: set attention_dropout to 0")
    _check_window(kwargs.get("sliding_window"), mask.length)
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    query, key = query.to(value.dtype), key.to(value.dtype)
    if mask.flex is not None:
        attended = _flex(query.device.type)(query, key, value, block_mask=mask.flex, scale=scale, enable_gqa=True)
    else:
        attended = attend_in_blocks(query, key, value, mask.blocks, scale)
    return attended.transpose(1, 2), None


@cache
def _flex(device: str) -> Any:
    """FlexAttention as one kernel on CUDA; elsewhere, only for tests, step by step."""
    return torch.compile(flex_attention, dynamic=True) if device == "cuda" else flex_attention


def _check_length(config: PretrainedConfig, length: int) -> None:
    """Windows that layers do not pass to ``attend``, and positions that depend on the longest sequence of a row."""
    config = config.get_text_config()
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    if slides and getattr(config, "use_sliding_window", True):
        _check_window(getattr(config, "sliding_window", None), length)
    rope = getattr(config, "rope_parameters", None) or {}
    for each in (rope, *(kind for kind in rope.values() if isinstance(kind, dict))):
        if each.get("rope_type") in ("dynamic", "longrope"):
            limit = each.get("original_max_position_embeddings") or config.max_position_embeddings
            if length > limit:
                raise TreeError(f"a sequence of {length} tokens exceeds the {limit} of {each['rope_type']} positions")


def _check_window(window: int | None, length: int) -> None:
    if window is not None and length > window:
        raise TreeError(f"a sequence of {length} tokens exceeds the sliding window of {window}")


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    return None if _packed.get() else sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _mask)
