"""TRL's DPO trainer with every distinct prefix of a batch computed once.

    from guardalign.tree.trl import TreeDPOTrainer as DPOTrainer

The loss, the metrics and the data stay TRL's own code: its forward pass with a fused head is handed packed rows in
place of padded ones, and what comes back is laid out as the padded rows' would be. So every ``loss_type``,
f-divergence, ``ld_alpha``, WPO weights, adapters and a precomputed reference work as they do there.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate.utils import is_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel
from trl import DPOTrainer

from guardalign.tree.block_attention import GRAIN
from guardalign.tree.prefix_tree import TokenSequence, TreeError, tree_row
from guardalign.tree.tree_attention import follow_tree, model_inputs, packed

FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


class TreeDPOTrainer(DPOTrainer):
    """``trl.DPOTrainer``, argument for argument, on prefix trees; a batch of a device is one packed row.

    Pays if a batch's sequences share prefixes: the two replies to a prompt always do, the points of a conversation
    once they are adjacent in the data set, ``train_sampling_strategy="sequential"`` keeps them there and
    ``per_device_train_batch_size`` holds a conversation. Raises ``TreeError`` for architectures that cannot follow a
    tree, for images, for prompt-learning adapters and for a mixture of experts' auxiliary loss.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._follow_tree()

    def _precompute_ref_logps(self, *args: Any, **kwargs: Any) -> Any:
        self._follow_tree()  # called before __init__ ends
        return super()._precompute_ref_logps(*args, **kwargs)

    def _follow_tree(self) -> None:
        if self._is_vision_dataset:
            raise TreeError("a data set with images cannot follow a prefix tree")
        if self.aux_loss_enabled:
            raise TreeError("the auxiliary loss of a mixture of experts is not supported: set router_aux_loss_coef=0")
        if is_peft_model(self.model) and self.model.active_peft_config.is_prompt_learning:
            raise TreeError("prompt-learning adapters are not supported: take LoRA")
        for model in (self.model, self.ref_model):
            if model is not None:
                whole = self.accelerator.unwrap_model(model)
                _pack_forward(whole.get_base_model() if is_peft_model(whole) else whole)


def _pack_forward(model: PreTrainedModel) -> None:
    """Let the model's forward pass with TRL's fused head run on packed rows; any other stays as it is."""
    if hasattr(model, "_follows_tree"):
        return
    follow_tree(model)
    padded = model.forward

    @functools.wraps(type(model).forward)
    def forward(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        return _packed_forward(self, padded, **kwargs) if kwargs.get("fused_lm_head") else padded(*args, **kwargs)

    model.forward = types.MethodType(forward, model)
    model._follows_tree = True


def _packed_forward(
    model: PreTrainedModel,
    padded: Callable[..., Any],
    *,
    input_ids: Tensor,
    attention_mask: Tensor,
    labels: Tensor,
    **kwargs: Any,
) -> Any:
    """What ``padded`` returns for ids, mask and labels (-100 where nothing is scored) of (B, L): fields of (B, L-1)."""
    ids, mask = input_ids.cpu().numpy(), attention_mask.cpu().numpy().astype(bool)
    wanted = labels.cpu().numpy() != -100
    sequences, rows, columns = list[TokenSequence](), list[np.ndarray](), list[np.ndarray]()
    for i in range(len(ids)):
        positions = np.flatnonzero(mask[i])
        scored = np.flatnonzero(wanted[i, positions[1:]]) + 1  # nothing predicts the first token
        if len(scored):
            sequences.append(TokenSequence(ids[i, positions], int(scored[0])))
            columns.append(positions[scored[0] :])
            rows.append(np.full(len(columns[-1]), i))
    if not sequences:
        return padded(input_ids=input_ids, attention_mask=attention_mask, labels=labels, **kwargs)
    device = input_ids.device
    row = tree_row(sequences)
    nodes = row.predictors[row.edge_predictor].to(device)

    def predicting(_: nn.Module, __: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[:, nodes]
        return output

    inputs = model_inputs(model, row.padded(GRAIN) if device.type == "cpu" else row, device)
    hook = model.base_model.register_forward_hook(predicting)
    try:
        with packed():
            output = padded(**inputs, shift_labels=row.edge_token[None].to(device), fused_lm_head=True)
    finally:
        hook.remove()
    at, before = np.concatenate(rows), np.concatenate(columns) - 1
    kept = wanted[at, before + 1]
    where = tuple(torch.from_numpy(index[kept]).to(device) for index in (at, before))
    edges = row.score_edge[torch.from_numpy(kept)].to(device)
    shape = (len(ids), ids.shape[1] - 1)

    scores = {name: getattr(output, name) for name in FIELDS if getattr(output, name) is not None}
    fields = {name: each.new_zeros(shape).index_put(where, each[0, edges]) for name, each in scores.items()}
    loss = -fields["log_probs"].sum() / len(edges)
    return type(output)(loss=loss, label_mask=labels[:, 1:] != -100, **fields)
