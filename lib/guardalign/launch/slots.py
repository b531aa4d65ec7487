"""GPUs as slots: every job that needs one gets its own, which is free again when the job's processes are gone.

``GUARDALIGN_GPUS=0,1,2,3`` names the slots of this machine (``--gpus`` of ``guardalign.workflow.series`` and
``guardalign.workflow.many`` sets it). A slot is a locked file: the lock ends with its holder, also with one that was
killed.
Where no slots are named, as under a scheduler that hands out GPUs itself, nothing is leased or hidden.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from guardalign.errors import GuardalignError
from guardalign.files import project_root

VARIABLE = "GUARDALIGN_GPUS"
PAUSE = 0.2


@dataclass(frozen=True)
class Lease:
    """What a job got: its part of the environment, and the locks' descriptors for its children to hold as well."""

    environment: dict[str, str]
    descriptors: tuple[int, ...] = ()


def named() -> list[str]:
    """The slots of this machine, as CUDA_VISIBLE_DEVICES calls them (numbers or UUIDs); empty: not leased here."""
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def needed(shown: Collection[str], launch: Mapping[str, Any]) -> int:
    """How many GPUs a stage that shows these sections uses: those of the launch, or one where it launches nothing.

    A stage that neither trains nor answers needs none. Kind ``none`` takes a GPU if it sees one and does without if
    not, so it counts only where slots are named.
    """
    if not {"training", "generation"} & set(shown):
        return 0
    kind = launch.get("kind", "none")
    path = project_root() / "params" / "accelerate" / f"{kind}.yaml"
    if kind == "none" or not path.exists():
        return 1 if named() else 0
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if settings.get("use_cpu"):
        return 0
    return int(settings["num_processes"]) if "launch" in shown else 1


@contextmanager
def leased(count: int) -> Iterator[Lease]:
    """Hold ``count`` slots, waiting for them if need be; a job that needs none sees none.

    Jobs wait in a row, so one that needs all slots gets them. Raises GuardalignError where there will never be enough.
    """
    slots = named()
    if not slots:
        yield Lease({})
        return
    if count > len(slots):
        raise GuardalignError(f"This stage needs {count} GPUs and {VARIABLE} names {len(slots)} ({', '.join(slots)}).")
    held = _taken(slots, count) if count else {}
    try:
        yield Lease({"CUDA_VISIBLE_DEVICES": ",".join(held)}, tuple(held.values()))
    finally:
        for lock in held.values():
            os.close(lock)


def _taken(slots: list[str], count: int) -> dict[str, int]:
    """``count`` locks by slot. Only the first in the row takes any, so two jobs never wait for each other."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    held: dict[str, int] = {}
    turn = os.open(folder / "turn.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        while True:
            for slot in slots:
                lock = _locked(folder / f"{slot.replace('/', '-')}.lock") if slot not in held else None
                held |= {slot: lock} if lock is not None else {}
                if len(held) == count:
                    return held
            time.sleep(PAUSE)
    finally:
        os.close(turn)


def _locked(path: Path) -> int | None:
    """The descriptor of a lock on ``path``, or None where another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _folder() -> Path:
    """A folder of this machine and person: slots are not shared over a network."""
    return Path(tempfile.gettempdir()) / f"guardalign-gpus-{os.getuid()}"
