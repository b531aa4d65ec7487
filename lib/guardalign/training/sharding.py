"""Weights, gradients and optimiser states shared out over processes: FSDP2, torch's ``fully_shard`` (Zhao et al. 2023,
arXiv 2304.11277), where the launch configuration says ``distributed_type: FSDP``.

Every decoder layer is gathered for its forward and backward pass and given back. A checkpoint is a folder that each
process writes its own part of; any number of processes goes on from it, sharded or one alone.

What it needs of torch is imported where it is used: every training imports this module, and few share weights out.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from guardalign.errors import GuardalignError
from guardalign.training import checkpoints
from guardalign.training.config import TrainingConfig
from guardalign.training.ending import naming_full_disk
from guardalign.tree.scoring import TreeScorer

ASKED = "ACCELERATE_USE_FSDP"
CLAIMED = "GUARDALIGN_SHARDS"
FACTS = "facts.pt"


def claim() -> bool:
    """Whether this launch shards weights; the tree engine does it itself from here on.

    accelerate's mark is taken out of the environment: transformers would read it too, and load empty weights in all
    processes but the first.
    """
    if os.environ.pop(ASKED, "").lower() in ("1", "true"):
        os.environ[CLAIMED] = "1"
    return CLAIMED in os.environ


def claimed() -> bool:
    """Whether ``claim`` found a launch that shards."""
    return CLAIMED in os.environ


def check(config: TrainingConfig) -> None:
    """Raise GuardalignError for what cannot be shared out."""
    if config.precision in ("int8", "nf4"):
        raise GuardalignError(f"{config.arm}: precision {config.precision} cannot be sharded: take bf16, or kind ddp")
    if config.optimizer == "paged_adamw_8bit":
        raise GuardalignError(f"{config.arm}: optimizer paged_adamw_8bit cannot be sharded: take adamw")


def shard(scorer: TreeScorer, device: torch.device) -> None:
    """Share out ``scorer`` in place over all processes: a group a decoder layer, one for the rest of the model, and
    one for the value head. Layers move to ``device`` one at a time, shared out."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    # An adapter's wrapper is passed by when replies are generated: what is gathered is the model inside.
    model: Any = scorer.model.get_base_model() if hasattr(scorer.model, "get_base_model") else scorer.model
    layers = [module for module in model.modules() if type(module).__name__ in set(model._no_split_modules or ())]
    for module in (*layers, model, scorer):
        fully_shard(module, mesh=mesh)


def clip(trainable: list[nn.Parameter], most: float) -> float:
    """Clip the gradients' norm over all processes; returns what it was."""
    norm: Any = nn.utils.clip_grad_norm_(trainable, most)
    return float(norm.full_tensor())


def whole_weights(module: nn.Module) -> dict[str, Any]:
    """All weights on the CPU of the first process, tied ones once; the others, who have to call this too, get none."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    tied = dict(module.named_parameters(remove_duplicate=False)).keys() - dict(module.named_parameters()).keys()
    return {name: weight for name, weight in get_model_state_dict(module, options=whole).items() if name not in tied}


def save(folder: Path, step: int, scorer: TreeScorer, optimizer: torch.optim.Optimizer, facts: dict[str, Any]) -> None:
    """Write ``folder/step-<step>``, every process its part, whole or not at all; keep the last two.

    Raises GuardalignError where the disk is full.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    path = folder / f"step-{step:08d}"
    part = path.with_name(f".{path.name}.part")
    first = dist.get_rank() == 0
    if first:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    dist.barrier()
    with naming_full_disk(path):
        weights, states = get_state_dict(scorer, optimizer, options=StateDictOptions(ignore_frozen_params=True))
        _write(part, {"weights": weights, "optimizer": states})
        if first:
            _finish(part, path, facts)
    dist.barrier()


def _write(part: Path, states: dict[str, Any]) -> None:
    """Every process writes its share; where one of them fails all raise, and nothing is left on the disk.

    Raises OSError where the disk is full.
    """
    from torch.distributed.checkpoint import CheckpointException, FileSystemWriter
    from torch.distributed.checkpoint import save as save_parts

    try:
        save_parts(states, storage_writer=FileSystemWriter(part))
    except CheckpointException as error:  # no Exception: what reports errors would let it pass
        rank, (cause, _) = next(iter(error.failures.items()))
        # What came from another process has lost the system's own words, so the disk itself is looked at.
        full = getattr(cause, "errno", None) == errno.ENOSPC or shutil.disk_usage(part).free < _bytes(states)
        dist.barrier()  # every process has looked
        shutil.rmtree(part, ignore_errors=True)
        said = f"process {rank} could not write its part of {part.name}: {cause}"
        raise (OSError(errno.ENOSPC, said) if full else RuntimeError(said)) from cause


def _finish(part: Path, path: Path, facts: dict[str, Any]) -> None:
    """Write ``facts`` beside the parts, give the folder its name, and remove the checkpoints that are not kept."""
    try:
        sizes = {each.name: each.stat().st_size for each in part.iterdir()}
        with (part / FACTS).open("wb") as stream:  # given a path, torch would not say why it could not write
            torch.save(facts | {"sizes": sizes}, stream)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)
    os.replace(part, path)
    before = [each for each in saved(path.parent) if each.name <= path.name]
    for old in set(saved(path.parent)) - set(before[-checkpoints.KEPT :]):
        shutil.rmtree(old)


def _bytes(states: Any) -> int:
    """Bytes of this process's share of all tensors in nested dictionaries and lists."""
    if isinstance(states, dict | list):
        return sum(map(_bytes, states.values() if isinstance(states, dict) else states))
    local = states.to_local() if hasattr(states, "to_local") else states
    return local.nbytes if isinstance(local, torch.Tensor) else 0


def saved(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def latest(folder: Path, log: Callable[[str], object]) -> dict[str, Any] | None:
    """The facts of the newest whole checkpoint, its folder as ``path``; ``log`` is told of damaged ones."""
    for path in reversed(saved(folder)):
        try:
            facts = torch.load(path / FACTS, map_location="cpu", weights_only=False)
        except (OSError, RuntimeError, EOFError) as error:
            log(f"{path} is damaged ({error}): left out, the one before it is used")
            continue
        sizes = facts.pop("sizes")
        wrong = [name for name, size in sizes.items() if not _has_size(path / name, size)]
        if not wrong:
            return facts | {"path": path}
        log(f"{path} is damaged ({', '.join(wrong)} cut off or gone): left out, the one before it is used")
    return None


def newest(folder: Path, sharded: bool, log: Callable[[str], object]) -> dict[str, Any] | None:
    """The newest checkpoint that a run can go on from: a shared out one, and without sharding a whole one too."""
    found = [latest(folder, log)]
    if sharded:
        for path in checkpoints.saved(folder):
            log(f"{path} holds whole weights, which a sharded run does not go on from: left out")
    else:
        found.append(checkpoints.latest(folder, log))
    return max((each for each in found if each), key=lambda state: state["step"], default=None)


def restore(path: Path, scorer: TreeScorer, optimizer: torch.optim.Optimizer) -> None:
    """Weights and optimiser states from a checkpoint's folder; another number of processes shares them out anew."""
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint import load as load_parts
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

    options = StateDictOptions(ignore_frozen_params=True, strict=False)
    optimizer = getattr(optimizer, "optimizer", optimizer)  # what accelerate wraps where nothing is sharded
    weights, states = get_state_dict(scorer, optimizer, options=options)
    load_parts(
        {"weights": weights, "optimizer": states},
        storage_reader=FileSystemReader(path),
        no_dist=not dist.is_initialized(),
    )
    set_state_dict(scorer, optimizer, model_state_dict=weights, optim_state_dict=states, options=options)


def _has_size(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size
