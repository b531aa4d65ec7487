"""Attention of a packed row on a CPU, block of queries by block of queries.

In depth-first order every ancestor of a block's nodes that comes before the block is an ancestor of its first node
too: a block needs ``depth(first) + block`` keys, however wide the tree is; the mask only has to cut inside that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128
GRAIN = 64
"""Numbers of nodes and keys are rounded up to a multiple of this. oneDNN builds and keeps a kernel for every size that
it meets, and every tree has its own: rounded, a step takes 0.9 of the time, a training's process 1.0 instead of 1.5 GB
(medians of three, the embedded default on one core)."""


@dataclass(frozen=True)
class QueryBlock:
    """Queries ``start`` to ``stop``, the nodes they may see (``keys``, in order) and a bool mask (queries, keys).

    ``keys`` is filled up to whole grains with nodes that the mask hides.
    """

    start: int
    stop: int
    keys: Tensor
    mask: Tensor


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
        mask = (keys <= queries) & (queries < end[keys])
        spare = -len(keys) % GRAIN
        keys = torch.cat([keys, keys.new_full((spare,), start)])
        blocks.append(QueryBlock(start, stop, keys, F.pad(mask, (0, spare))))
    return tuple(blocks)


def attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, blocks: tuple[QueryBlock, ...], scale: float) -> Tensor:
    """Attention output (1, heads, N, e) for query (1, heads, N, d), key (1, kv_heads, N, d), value (1, kv_heads, N, e).

    All of one dtype; e is d in nearly all architectures.
    """
    if value.dtype == torch.bfloat16:
        return _BlockAttention.apply(query, key, value, blocks, scale)
    outputs = [_attend(query[:, :, b.start : b.stop], key, value, b, scale) for b in blocks]
    return torch.cat(outputs, dim=2)


def _attend(query: Tensor, key: Tensor, value: Tensor, block: QueryBlock, scale: float) -> Tensor:
    _, heads, n, width = query.shape
    group = heads // key.shape[1]
    # A group's query heads share keys: as further query rows they need no copy of the keys.
    rows = query.reshape(1, key.shape[1], group * n, width)
    keys, values = key.index_select(2, block.keys), value.index_select(2, block.keys)
    mask = block.mask.repeat(group, 1)[None, None]
    output = F.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=scale)
    return output.reshape(1, heads, n, value.shape[-1])


class _BlockAttention(torch.autograd.Function):
    """The same by plain matrix products: in bfloat16 2.5 times as fast as PyTorch's fused kernel with a mask.

    The kernel's backward pass is the slow part; measured with 8 heads of width 32 on AVX-512 with bf16 products.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, blocks: tuple[QueryBlock, ...], scale: float
    ) -> Tensor:
        queries, keys, values = query[0] * scale, key[0], value[0]
        output = queries.new_empty(*queries.shape[:2], values.shape[-1])
        shares = []
        for block in blocks:
            rows = _fold(queries, block, len(keys))
            scores = torch.bmm(rows, keys.index_select(1, block.keys).transpose(1, 2))
            bias = torch.zeros(block.mask.shape, dtype=scores.dtype).masked_fill_(~block.mask, float("-inf"))
            scores.view(len(keys), -1, *bias.shape).add_(bias)
            share = torch.softmax(scores, dim=-1)
            output[:, block.start : block.stop] = _unfold(torch.bmm(share, values.index_select(1, block.keys)), output)
            shares.append(share)
        ctx.save_for_backward(queries, keys, values, output, *shares)
        ctx.blocks, ctx.scale = blocks, scale
        return output[None]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        queries, keys, values, output, *shares = ctx.saved_tensors
        upstream = gradients[0][0]
        weighted = (upstream * output).sum(-1, keepdim=True)
        dq, dk, dv = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
        for block, share in zip(ctx.blocks, shares, strict=True):
            rows, up = _fold(queries, block, len(keys)), _fold(upstream, block, len(keys))
            dv.index_add_(1, block.keys, torch.bmm(share.transpose(1, 2), up))
            ds = torch.bmm(up, values.index_select(1, block.keys).transpose(1, 2))
            ds.sub_(_fold(weighted, block, len(keys))).mul_(share)
            dq[:, block.start : block.stop] = _unfold(torch.bmm(ds, keys.index_select(1, block.keys)), dq)
            dk.index_add_(1, block.keys, torch.bmm(ds.transpose(1, 2), rows))
        return (dq * ctx.scale)[None], dk[None], dv[None], None, None


def _fold(per_head: Tensor, block: QueryBlock, kv_heads: int) -> Tensor:
    """A block of (heads, N, d) as (kv_heads, group * block, d)."""
    return per_head[:, block.start : block.stop].reshape(kv_heads, -1, per_head.shape[-1])


def _unfold(folded: Tensor, like: Tensor) -> Tensor:
    """The inverse of ``_fold``: (heads, block, d)."""
    return folded.reshape(len(like), -1, like.shape[-1])
