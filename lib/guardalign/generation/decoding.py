"""Prompts as token ids in, replies as token ids out: two ways to decode that give the same replies.

The prompts of one conversation's points are (nearly) prefixes of each other, so ``decode_shared`` runs the longest of
them once, as a *trunk*, and lets every point branch off it: one cache row per conversation, one query column per point,
and a 4-D attention mask that shows each column its own prefix of the trunk and its own new tokens. The keys and values
of a conversation are thus computed, stored and read once rather than once per point. The same layout is used to verify
token trees in speculative decoding (SpecInfer, Miao et al. 2024, section 4). ``decode_plain`` is ``model.generate``.

Both take models as transformers makes them. Shapes: C conversations (cache rows), P columns, L cache slots, V tokens of
the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from guardalign.generation.trunks import Trunk
from guardalign.models.encoding import left_padded

GROUPED = "guardalign_grouped"
GROWTH = 128  # cache slots added at once
PREFILL_TOKENS = {True: 1536, False: 16384}  # prompt tokens of one forward pass, on a CPU and elsewhere


@dataclass(frozen=True)
class Completion:
    """The new tokens of one prompt, without the end token. ``finished`` is false if they were cut off at the limit."""

    tokens: tuple[int, ...]
    finished: bool


@dataclass(frozen=True)
class Sampler:
    """Picks the next token: the likeliest at temperature 0, else by inverting the cumulated probabilities.

    ``draws`` is (prompts, max_new_tokens), uniform in [0, 1): one number per prompt and step, fixed beforehand, so that
    a reply depends on its own seed alone and not on the prompts it shares a batch with.
    """

    temperature: float = 0.0
    draws: Tensor | None = None

    def __call__(self, logits: Tensor, prompts: Tensor, step: int) -> Tensor:
        """Logits (rows, V) of the prompts (rows,) → their next tokens (rows,), on the logits' device."""
        if self.temperature == 0 or self.draws is None:
            return logits.argmax(-1)
        cumulated = (logits.double() / self.temperature).softmax(-1).cumsum(-1)
        draw = self.draws[prompts, step].to(logits.device)[:, None] * cumulated[:, -1:]
        return torch.searchsorted(cumulated, draw, right=True).squeeze(-1).clamp_(max=logits.shape[-1] - 1)


def can_share(model: PreTrainedModel, length: int) -> bool:
    """Whether a model's attention reaches back over ``length`` tokens in every layer, as branching off needs."""
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    sdpa_or_eager = config._attn_implementation in ("sdpa", "eager")
    return sdpa_or_eager and kinds <= {"full_attention", "sliding_attention"} and (not window or length <= window)


def attend_grouped(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """sdpa, with the query heads that share a key head as queries of that one: transformers' own copies keys and values
    for each of them as soon as there is a mask, which took a sixth of the time."""
    rows, heads, columns, width = query.shape
    group = heads // key.shape[1]
    if attention_mask is None or attention_mask.shape[1] != 1 or kwargs.get("softcap") is not None or group == 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    attended = scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], group * columns, width),
        key,
        value,
        attn_mask=attention_mask.expand(-1, group, -1, -1).reshape(rows, 1, group * columns, -1),
        scale=kwargs.get("scaling"),
    )
    return attended.reshape(rows, heads, columns, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED, attend_grouped)
AttentionMaskInterface.register(GROUPED, sdpa_mask)


@contextmanager
def _grouped(model: PreTrainedModel) -> Iterator[None]:
    before = model.config._attn_implementation
    if before == "sdpa":
        model.set_attn_implementation(GROUPED)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class _GrowingLayer(DynamicLayer):
    """A cache layer that writes into spare room, where ``DynamicLayer`` copies all it holds at every token."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.room = [key_states[:, :, :0], value_states[:, :, :0]]
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if end > self.room[0].shape[-2]:
            self.room = [_with_room(old[:, :, :start], len(old), end + GROWTH) for old in self.room]
        for room, new in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, start:end] = new
        self.keys, self.values = self.room[0][:, :, :end], self.room[1][:, :, :end]
        return self.keys, self.values

    def put_rows(self, rows: list[int], height: int, slots: int, computed: _GrowingLayer) -> None:
        """Take over a layer of trunks computed apart, as some of ``height`` rows of ``slots`` slots."""
        width = computed.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(*computed.room)
            self.room = [_with_room(new[:0, :, :0], height, slots + GROWTH) for new in computed.room]
            self.keys, self.values = self.room[0][:, :, :slots], self.room[1][:, :, :slots]
        for room, new in zip(self.room, computed.room, strict=True):
            room[rows, :, :width] = new[:, :, :width]

    def keep_rows(self, rows: Tensor) -> None:
        filled = self.get_seq_length()
        self.room = [room.index_select(0, rows) for room in self.room]
        self.keys, self.values = self.room[0][:, :, :filled], self.room[1][:, :, :filled]


def _with_room(old: Tensor, rows: int, slots: int) -> Tensor:
    """A larger cache tensor that begins with ``old``. Zeros, since attention multiplies what the mask hides too."""
    new = old.new_zeros((rows, old.shape[1], slots, old.shape[3]))
    new[: len(old), :, : old.shape[2]] = old
    return new


class _Branching:
    """The state of one batch of trunks: the cache, and for every row and column which point is decoded there.

    ``owner`` (C, P) holds the index of the point of each column, -1 if a column is idle; ``visible`` (C, P, L) which
    cache slots a column attends to; ``position`` (C, P) the position of its next token in its own sequence;
    ``last_tokens`` (C, P) the prompts' last tokens, which are not in the cache yet.
    """

    def __init__(self, model: PreTrainedModel, trunks: Sequence[Trunk]):
        self.model = model
        depth = model.config.get_text_config(decoder=True).num_hidden_layers
        self.layers = [_GrowingLayer() for _ in range(depth)]
        self.cache = Cache(layers=list(self.layers))
        columns = max(len(trunk.branches) for trunk in trunks)
        slots = max(len(trunk.tokens) for trunk in trunks)
        self.owner = np.full((len(trunks), columns), -1)
        shared, last = np.zeros((2, len(trunks), columns), dtype=np.int64)
        for row, trunk in enumerate(trunks):
            for column, branch in enumerate(trunk.branches):
                self.owner[row, column] = branch.index
                shared[row, column] = branch.shared
                last[row, column] = branch.tail[-1]
        self.position, self.last_tokens = self._tensor(shared), self._tensor(last)
        self.visible = torch.arange(slots, device=model.device) < self.position[:, :, None]
        self._run_trunks(trunks, slots)
        self._run_inner_tails(trunks)

    def _tensor(self, values: ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.int64), device=self.model.device)

    def _run_trunks(self, trunks: Sequence[Trunk], slots: int) -> None:
        """A few rows at a time: on a CPU the activations then stay in its cache, and little is spent on padding."""
        order = sorted((row for row in range(len(trunks)) if trunks[row].tokens), key=lambda r: -len(trunks[r].tokens))
        while order:
            width = len(trunks[order[0]].tokens)
            size = max(1, PREFILL_TOKENS[self.model.device.type == "cpu"] // width)
            rows, order = order[:size], order[size:]
            # Causal without a mask: the padding is on the right, where no real token attends.
            ids = self._tensor([trunks[row].tokens + (0,) * (width - len(trunks[row].tokens)) for row in rows])
            computed = [_GrowingLayer() for _ in self.layers]
            self.model(input_ids=ids, past_key_values=Cache(layers=list(computed)), use_cache=True, logits_to_keep=1)
            for layer, new in zip(self.layers, computed, strict=True):
                layer.put_rows(rows, len(trunks), slots, new)

    def _run_inner_tails(self, trunks: Sequence[Trunk]) -> None:
        """Tails longer than one token (nearly never): all but their last token, one depth after another."""
        for depth in range(max(len(branch.tail) for trunk in trunks for branch in trunk.branches) - 1):
            tokens = np.zeros(self.owner.shape, dtype=np.int64)
            fed = np.zeros(self.owner.shape, dtype=bool)
            for row, trunk in enumerate(trunks):
                for column, branch in enumerate(trunk.branches):
                    if depth < len(branch.tail) - 1:
                        tokens[row, column], fed[row, column] = branch.tail[depth], True
            self.step(self._tensor(tokens))
            idle = self._tensor(~fed)
            self.position -= idle
            self.visible[:, :, -self.owner.shape[1] :] &= ~idle.bool()[:, :, None]

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token per column, (C, P), and return the logits after it, (C, P, V)."""
        rows, columns = tokens.shape
        itself = torch.eye(columns, dtype=torch.bool, device=tokens.device).expand(rows, -1, -1)
        self.visible = torch.cat([self.visible, itself], -1)
        mask = torch.zeros((rows, 1, *self.visible.shape[1:]), dtype=self.model.dtype, device=tokens.device)
        mask.masked_fill_(~self.visible[:, None], torch.finfo(mask.dtype).min)
        logits = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=self.position,
            past_key_values=self.cache,
            use_cache=True,
        ).logits
        self.position = self.position + 1
        return logits

    def drop_idle(self, tokens: Tensor) -> Tensor:
        """Remove idle columns; returns ``tokens`` (C, P) in the new order. Rows go only once a quarter is idle,
        since that copies the cache."""
        order = np.argsort(self.owner < 0, axis=1, kind="stable")[:, : (self.owner >= 0).sum(1).max()]
        self.owner = np.take_along_axis(self.owner, order, 1)
        columns = self._tensor(order)
        self.position, tokens = self.position.gather(1, columns), tokens.gather(1, columns)
        self.visible = torch.take_along_dim(self.visible, columns[:, :, None], 1)
        busy = np.flatnonzero((self.owner >= 0).any(1))
        if len(busy) <= 0.75 * len(self.owner):
            rows = self._tensor(busy)
            self.owner, self.position, self.visible = self.owner[busy], self.position[rows], self.visible[rows]
            for layer in self.layers:
                layer.keep_rows(rows)
            tokens = tokens[rows]
        return tokens


@torch.inference_mode()
def decode_shared(
    model: PreTrainedModel, trunks: Sequence[Trunk], limit: int, stop: Sequence[int], sampler: Sampler
) -> dict[int, Completion]:
    """Decode all branches of ``trunks`` in one batch, at most ``limit`` tokens each, until a token of ``stop``.

    Returns the completions by the branches' ``index``, which is also the row of ``sampler.draws``. The model must pass
    ``can_share`` for the longest sequence.
    """
    with _grouped(model):
        state = _Branching(model, trunks)
        current = state.last_tokens
        replies: dict[int, list[int]] = {branch.index: [] for trunk in trunks for branch in trunk.branches}
        finished: set[int] = set()
        for step in range(limit):
            logits = state.step(current)
            owners = torch.as_tensor(state.owner.reshape(-1)).clamp(min=0)
            current = sampler(logits.flatten(0, 1), owners, step).view(logits.shape[:2])
            chosen = current.cpu().numpy()
            for slot in zip(*np.nonzero(state.owner >= 0), strict=True):
                index, token = int(state.owner[slot]), int(chosen[slot])
                if token in stop:
                    finished.add(index)
                    state.owner[slot] = -1
                else:
                    replies[index].append(token)
            if len(finished) == len(replies):
                break
            current = state.drop_idle(current)
    return {index: Completion(tuple(reply), index in finished) for index, reply in replies.items()}


class _Picked(LogitsProcessor):
    """Leaves the sampler's token alone possible, so that ``generate`` follows the same draws."""

    def __init__(self, sampler: Sampler, prompts: Tensor, start: int):
        self.sampler, self.prompts, self.start = sampler, prompts, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        token = self.sampler(scores, self.prompts, input_ids.shape[1] - self.start)
        return torch.full_like(scores, -torch.inf).scatter_(1, token[:, None], 0.0)


@torch.inference_mode()
def decode_plain(
    model: PreTrainedModel, prompts: Mapping[int, Sequence[int]], limit: int, stop: Sequence[int], sampler: Sampler
) -> dict[int, Completion]:
    """The same as ``decode_shared`` by ``model.generate`` on left-padded rows; prompts and completions by index."""
    ids, mask = left_padded(prompts.values(), model.device)
    width = ids.shape[1]
    # A hub model's own defaults (temperature, penalties) would fill what is not set here.
    model.generation_config = GenerationConfig(eos_token_id=list(stop), pad_token_id=stop[0] if stop else 0)
    out = model.generate(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=limit,
        do_sample=False,
        logits_processor=LogitsProcessorList([_Picked(sampler, torch.tensor(list(prompts)), width)]),
    )
    completions = {}
    for index, row in zip(prompts, out[:, width:].tolist(), strict=True):
        end = next((position for position, token in enumerate(row) if token in stop), None)
        completions[index] = Completion(tuple(row[:end]), end is not None)
    return completions
