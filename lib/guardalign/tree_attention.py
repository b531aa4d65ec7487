"""Attention that follows a prefix tree, offered to transformers under the name ``guardalign_tree``.

On a CPU, queries go through in blocks of consecutive nodes. In depth-first order every ancestor of a block's nodes
that stands before the block is an ancestor of its first node too, so a block needs ``depth(first) + block`` keys,
however wide the tree is; the mask only has to cut inside that. On CUDA the same rule is FlexAttention's mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, PretrainedConfig

from guardalign.errors import GuardalignError
from guardalign.prefix_tree import TreeRow

NAME = "guardalign_tree"
BLOCK = 128


@dataclass(frozen=True)
class QueryBlock:
    """Queries ``start`` to ``stop``, the nodes they may see (``keys``, in order) and a bool mask (queries, keys)."""

    start: int
    stop: int
    keys: Tensor
    mask: Tensor


@dataclass(frozen=True)
class TreeMask:
    """What the attention function needs of a row: query blocks on a CPU, a FlexAttention block mask on CUDA."""

    blocks: tuple[QueryBlock, ...] = ()
    flex: BlockMask | None = None


def tree_mask(row: TreeRow, device: torch.device, block: int = BLOCK) -> TreeMask:
    if device.type == "cuda":
        return TreeMask(flex=flex_mask(row.end.to(device)))
    return TreeMask(blocks=query_blocks(row.end, block))


def query_blocks(end: Tensor, block: int = BLOCK) -> tuple[QueryBlock, ...]:
    """Blocks of at most ``block`` queries of a row whose subtree ends are ``end`` (N,)."""
    n = len(end)
    nodes = torch.arange(n)
    blocks = []
    for start in range(0, n, block):
        stop = min(start + block, n)
        ancestors = nodes[:start][end[:start] > start]
        keys = torch.cat([ancestors, nodes[start:stop]])
        queries = nodes[start:stop, None]
        blocks.append(QueryBlock(start, stop, keys, (keys <= queries) & (queries < end[keys])))
    return tuple(blocks)


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
        output = flex_attention(query, key, value, block_mask=mask.flex, scale=scale, enable_gqa=True)
        return output.transpose(1, 2), None  # type: ignore[union-attr]
    return _attend_in_blocks(query, key, value, mask.blocks, scale).transpose(1, 2), None


def _attend_in_blocks(
    query: Tensor, key: Tensor, value: Tensor, blocks: tuple[QueryBlock, ...], scale: float
) -> Tensor:
    _, heads, _, width = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    outputs = []
    for block in blocks:
        n = block.stop - block.start
        # A group's query heads share keys: as further query rows they need no copy of the keys.
        rows = query[:, :, block.start : block.stop].reshape(1, kv_heads, group * n, width)
        keys, values = key.index_select(2, block.keys), value.index_select(2, block.keys)
        mask = block.mask.repeat(group, 1)[None, None]
        output = F.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=scale)
        outputs.append(output.reshape(1, heads, n, width))
    return torch.cat(outputs, dim=2)


def check_window(config: PretrainedConfig, row: TreeRow) -> None:
    """Refuse a row deeper than the model's sliding window, where full attention would not be the model's own."""
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) and window is not None and int(row.depth.max()) >= window:
        raise GuardalignError(f"a sequence of {int(row.depth.max()) + 1} tokens exceeds the sliding window of {window}")


AttentionInterface.register(NAME, attend)
