"""Where training was cut off: trainable weights, optimiser, schedule, random state and progress, the last two kept."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

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
    """Write ``folder/step-<step>.pt`` whole or not at all, and drop all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".step-{step}.part"
    with part.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, folder / f"step-{step:08d}.pt")
    for old in saved(folder)[:-KEPT]:
        old.unlink()


def saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


def latest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint's state, or None."""
    found = saved(folder)
    return torch.load(found[-1], map_location="cpu", weights_only=False) if found else None


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
