"""Attention that follows a prefix tree, offered to transformers under the name ``guardalign_tree``.

Models stay as they are: transformers calls ``attend`` in every layer and hands it the ``tree_mask`` that the forward
pass was given. A CPU goes block by block; CUDA uses FlexAttention with the same rule, k <= q < end[k].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, PretrainedConfig

from guardalign.errors import GuardalignError
from guardalign.tree.block_attention import BLOCK, QueryBlock, attend_in_blocks, query_blocks
from guardalign.tree.prefix_tree import TreeRow

NAME = "guardalign_tree"


@dataclass(frozen=True)
class TreeMask:
    """What the attention function needs of a row: query blocks on a CPU, a FlexAttention block mask on CUDA."""

    blocks: tuple[QueryBlock, ...] = ()
    flex: BlockMask | None = None


def tree_mask(row: TreeRow, device: torch.device, block: int = BLOCK) -> TreeMask:
    if device.type == "cuda":
        return TreeMask(flex=flex_mask(row.end.to(device)))
    return TreeMask(blocks=query_blocks(row.end, block))


def flex_mask(end: Tensor) -> BlockMask:
    """FlexAttention's block mask of a row: query q sees node k exactly when k <= q < end[k]."""

    def sees(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (q < end[k])

    return create_block_mask(sees, B=None, H=None, Q_LEN=len(end), KV_LEN=len(end), device=str(end.device))


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """The function transformers calls in every layer: query (1, heads, N, d), key and value (1, kv_heads, N, d).

    Returns (1, N, heads, d). Raises ``GuardalignError`` if the forward pass was not given ``tree_mask``, or for
    attention dropout.
    """
    mask: TreeMask | None = kwargs.get("tree_mask")
    if mask is None:
        raise GuardalignError(f"a model with {NAME} attention must be called with tree_mask=")
    if kwargs.get("dropout"):
        raise GuardalignError("attention dropout is not supported: set the model's attention_dropout to 0")
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    query, key = query.to(value.dtype), key.to(value.dtype)
    if mask.flex is not None:
        return _flex(query.device)(query, key, value, block_mask=mask.flex, scale=scale, enable_gqa=True).transpose(
            1, 2
        ), None
    return attend_in_blocks(query, key, value, mask.blocks, scale).transpose(1, 2), None


@cache
def _compiled_flex() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=True)


def _flex(device: torch.device) -> Any:
    """FlexAttention as one kernel on CUDA; elsewhere, where it serves tests alone, step by step."""
    return _compiled_flex() if device.type == "cuda" else flex_attention


def check_window(config: PretrainedConfig, row: TreeRow) -> None:
    """Refuse a row deeper than the model's sliding window, where full attention would not be the model's own."""
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) and window is not None and int(row.depth.max()) >= window:
        raise GuardalignError(f"a sequence of {int(row.depth.max()) + 1} tokens exceeds the sliding window of {window}")


AttentionInterface.register(NAME, attend)
