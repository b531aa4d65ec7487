"""A process's part in a launch: its device, and weights, gradients and optimiser states sharded over processes.

With ``distributed_type: FSDP`` that is FSDP2, torch's ``fully_shard`` (Zhao et al. 2023, arXiv 2304.11277): every
decoder layer is gathered for its forward and backward pass.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from guardalign.errors import GuardalignError
from guardalign.training.checkpoints import whole
from guardalign.training.config import TrainingConfig
from guardalign.tree.scoring import TreeScorer

ASKED = "ACCELERATE_USE_FSDP"
CLAIMED = "GUARDALIGN_SHARDS"


def on_cpu() -> bool:
    """What accelerate takes as ``cpu``: without a GPU it starts gloo only if asked for a CPU; DeepSpeed chooses its own
    device."""
    return not torch.cuda.is_available() and not by_deepspeed()


def by_deepspeed() -> bool:
    """Whether this process was launched with a DeepSpeed configuration."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"


def claim() -> bool:
    """Whether this launch shards weights; the tree engine does it itself from here on.

    accelerate's variable is removed from the environment: transformers would read it too, and load empty weights in all
    processes but the first.
    """
    if os.environ.pop(ASKED, "").lower() in ("1", "true"):
        os.environ[CLAIMED] = "1"
    return CLAIMED in os.environ


def claimed() -> bool:
    """Whether ``claim`` found a launch that shards."""
    return CLAIMED in os.environ


def check(config: TrainingConfig) -> None:
    """Raise GuardalignError for what cannot be sharded."""
    if config.precision in ("int8", "nf4"):
        raise GuardalignError(f"{config.arm}: precision {config.precision} cannot be sharded: use bf16, or kind ddp")
    if config.optimizer == "paged_adamw_8bit":
        raise GuardalignError(f"{config.arm}: optimizer paged_adamw_8bit cannot be sharded: use adamw")


def shard(scorer: TreeScorer, device: torch.device) -> None:
    """Shard ``scorer`` in place over all processes: a group per decoder layer, one for the rest of the model, and
    one for the value head. Layers move to ``device`` one at a time, sharded."""
    from torch.distributed.device_mesh import init_device_mesh  # few trainings shard
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    # Generation bypasses an adapter's wrapper, so the model inside is what is gathered.
    model: Any = scorer.model.get_base_model() if hasattr(scorer.model, "get_base_model") else scorer.model
    layers = [module for module in model.modules() if type(module).__name__ in set(model._no_split_modules or ())]
    for module in (*layers, model, scorer):
        fully_shard(module, mesh=mesh)


def clip(trainable: list[nn.Parameter], most: float) -> float:
    """Clip the gradients' norm over all processes; returns what it was."""
    norm: Any = nn.utils.clip_grad_norm_(trainable, most)
    return float(norm.full_tensor())


def whole_weights(module: nn.Module) -> dict[str, Tensor]:
    """All weights on the CPU of the first process, tied ones once. All processes call this; the others get Nones."""
    tied = dict(module.named_parameters(remove_duplicate=False)).keys() - dict(module.named_parameters()).keys()
    weights = {name: weight for name, weight in module.state_dict().items() if name not in tied}
    return whole(weights, keep=dist.get_rank() == 0)
