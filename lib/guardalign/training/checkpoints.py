"""Checkpoints to resume from: trainable weights, optimiser, schedule, random state and progress; the last two are kept.

A checkpoint is one file, whatever the number of processes and whether they shard: tensors are whole, and any number of
processes resumes from it. Reading it runs no code from it, since run folders are shared.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from guardalign.files import replacing

KEPT = 2


def random_state() -> dict[str, Any]:
    """The state of torch's generators: a step draws from no other (an adapter's dropout)."""
    cuda = {"cuda": torch.cuda.get_rng_state_all()} if torch.cuda.is_available() else {}
    return {"torch": torch.get_rng_state()} | cuda


def restore_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])


def whole(value: Any, keep: bool = True) -> Any:
    """Nested dictionaries and lists with every tensor whole and on the CPU, None if this process does not ``keep``
    them. Sharded tensors are gathered one at a time, so all processes have to call this."""
    if isinstance(value, dict):
        return {key: whole(each, keep) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(each, keep) for each in value)
    if isinstance(value, DTensor):
        value = value.full_tensor()
    if isinstance(value, Tensor):
        return value.detach().cpu() if keep else None
    return value


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, by name; frozen and quantised ones are the initial model's."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def restore(module: nn.Module, optimizer: Any, state: Mapping[str, Any]) -> None:
    """Weights and optimiser states from a checkpoint's; sharded ones take their share."""
    with torch.no_grad():
        for name, weight in trainable(module).items():
            weight.copy_(_share(state["weights"][name], weight))
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments = {
        index: {name: _share(value, weights[index]) for name, value in each.items()}
        for index, each in state["optimizer"]["state"].items()
    }
    optimizer.load_state_dict({**state["optimizer"], "state": moments})


def _share(value: Any, like: Tensor) -> Any:
    """A whole tensor laid out as ``like``, if that is sharded and of the same shape."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write ``folder/step-<step>.pt`` whole or not at all; of it and those before it, keep the last two.

    Raises GuardalignError if the disk is full; the checkpoints before are left as they are.
    """
    path = folder / f"step-{step:08d}.pt"
    # Through a Python stream: torch's own writer does not report why a file could not be written.
    with replacing(path) as part, part.open("wb") as stream:
        torch.save(state, stream)
    # Later checkpoints were damaged, or training would have resumed from them.
    before = [each for each in saved(folder) if each.name <= path.name]
    for old in set(saved(folder)) - set(before[-KEPT:]):
        old.unlink()


def saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


def latest(folder: Path, log: Callable[[str], object]) -> dict[str, Any] | None:
    """The newest whole checkpoint's state, or None; damaged ones are logged."""
    for path in reversed(saved(folder)):
        try:
            _check_sums(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (zipfile.BadZipFile, OSError, RuntimeError, pickle.UnpicklingError) as error:
            log(f"{path} is damaged ({type(error).__name__}): ignored, using the previous one")
    return None


def _check_sums(path: Path) -> None:
    """Raise BadZipFile for a damaged file: torch does not check the archive's checksums."""
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise zipfile.BadZipFile(f"{broken} has a different checksum")


def differences(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Which settings differ between a checkpoint's facts and a configuration's, in words."""
    names = [name for name in current if recorded.get(name) != current[name]]
    return ", ".join(f"{name} {recorded.get(name)!r} in the checkpoint, {current[name]!r} now" for name in names)
