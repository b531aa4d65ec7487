"""Where training was cut off: trainable weights, optimiser, schedule, random state and progress, the last two kept."""

from __future__ import annotations

import random
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from guardalign.files import replacing
from guardalign.training.ending import naming_full_disk

KEPT = 2


def random_state() -> dict[str, Any]:
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])


def trainable_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that training changes, by name; frozen and quantised ones are the initial model's."""
    return {name: weight.detach().cpu() for name, weight in module.named_parameters() if weight.requires_grad}


def restore_trainable_state(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.requires_grad:
                weight.copy_(state[name])


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write ``folder/step-<step>.pt`` whole or not at all; of it and those before it, keep the last two.

    Raises GuardalignError where the disk is full; the checkpoints before are left as they are.
    """
    path = folder / f"step-{step:08d}.pt"
    # Through a stream of Python's: torch's own writer does not tell why a file could not be written.
    with naming_full_disk(path), replacing(path) as part, part.open("wb") as stream:
        torch.save(state, stream)
    # What lies beyond this step was damaged, or training would have gone on from there.
    before = [each for each in saved(folder) if each.name <= path.name]
    for old in set(saved(folder)) - set(before[-KEPT:]):
        old.unlink()


def saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


def latest(folder: Path, log: Callable[[str], object]) -> dict[str, Any] | None:
    """The newest whole checkpoint's state, or None; ``log`` is told of damaged ones."""
    for path in reversed(saved(folder)):
        damage = _damage(path)
        if damage is None:
            return torch.load(path, map_location="cpu", weights_only=False)
        log(f"{path} is damaged ({damage}): left out, the one before it is used")
    return None


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's file. torch itself does not look at the archive's check sums."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        return str(error)
    return None if broken is None else f"{broken} has another check sum"


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Which settings differ between a checkpoint's facts and a configuration's, in words."""
    names = [name for name in here if there.get(name) != here[name]]
    return ", ".join(f"{name} {there.get(name)!r} there, {here[name]!r} here" for name in names)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
