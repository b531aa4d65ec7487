"""A causal language model as a scorer of packed rows: log-probabilities of every reply's tokens in one forward pass."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from guardalign.tree.block_attention import BLOCK, GRAIN
from guardalign.tree.prefix_tree import TreeError, TreeRow
from guardalign.tree.tree_attention import follow_tree, model_inputs, packed

Precision = Literal["fp32", "bf16", "int8", "nf4"]
Entropy = Literal["none", "measured", "trained"]
ENTROPY_ROWS = 256


@dataclass(frozen=True)
class RowScores:
    """(T,) each, in the order of the row's ``score_edge``; values and entropy are set if requested.

    ``entropy`` is the next token's, in nats over the whole vocabulary.
    """

    policy: Tensor
    values: Tensor | None = None
    entropy: Tensor | None = None


class TreeScorer(nn.Module):
    """Wraps a causal LM (adapters and quantisation included) and, for PPO, a linear value head that starts at zero.

    ``precision`` is the format of the weights; all but ``fp32`` are computed under bfloat16 autocast. ``block`` is the
    number of queries a CPU attends with at a time. The model keeps working as before outside the scorer. Raises
    ``TreeError`` for an architecture that cannot follow a tree (see ``follow_tree``).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        value_head: bool = False,
        precision: Precision = "fp32",
        block: int = BLOCK,
    ) -> None:
        super().__init__()
        self.block = block
        self.model = model
        self.precision = precision
        self.value_head = nn.Linear(model.config.hidden_size, 1) if value_head else None
        if self.value_head is not None:
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)
            self.value_head.to(model.device)
        follow_tree(model)

    def _autocast(self, device: torch.device) -> AbstractContextManager:
        return torch.autocast(device.type, dtype=torch.bfloat16) if self.precision != "fp32" else nullcontext()

    def forward(self, row: TreeRow, entropy: Entropy = "none") -> RowScores:
        """Log-probabilities (nats, float32, (T,)) of the completion tokens of the row's sequences.

        The entropy has a gradient only if it is ``trained``. Raises ``TreeError`` for what the model's attention
        cannot follow: soft-capping, sinks, a sequence longer than a sliding window.
        """
        device = self.model.device
        if device.type == "cpu":
            row = row.padded(GRAIN)
        predictors = row.predictors.to(device)
        with self._autocast(device), packed():
            output = self.model(
                **model_inputs(self.model, row, device, self.block),
                logits_to_keep=predictors,
                output_hidden_states=self.value_head is not None,
            )
        if output.logits.shape[1] != len(predictors):
            raise TreeError(f"{self.model.config.model_type}: the model has no logits_to_keep")
        log_probs = torch.log_softmax(output.logits[0].float(), dim=-1)
        edge_predictor, edge_token = row.edge_predictor.to(device), row.edge_token.to(device)
        score_edge = row.score_edge.to(device)
        policy = log_probs[edge_predictor, edge_token][score_edge]
        values = None
        if self.value_head is not None:
            hidden = output.hidden_states[-1][0, predictors].float()
            values = self.value_head(hidden)[:, 0][edge_predictor][score_edge]
        if entropy == "none":
            return RowScores(policy, values)
        with torch.set_grad_enabled(torch.is_grad_enabled() and entropy == "trained"):
            return RowScores(policy, values, _entropy(log_probs)[edge_predictor][score_edge])


def _entropy(log_probs: Tensor) -> Tensor:
    """Of each row, in parts: a second copy of a large vocabulary's log-probs would take as much memory as they do."""
    return torch.cat([-(part.exp() * part).sum(-1) for part in log_probs.split(ENTROPY_ROWS)])
