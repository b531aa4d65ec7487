"""How a training ends before its time: told to by SIGTERM (pre-emption), or for want of memory or disk."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from guardalign.errors import GuardalignError

PREEMPTED = 75
"""The exit code of a training that SIGTERM ended: started again, it goes on. (75 is sysexits' "try again later".)"""
PREEMPTED_MARK = "preempted.txt"
GRACE = 20.0
"""Seconds a step may take after SIGTERM; schedulers and torch's launcher commonly kill after 30."""
STUCK = 70


class Preempted(GuardalignError):
    """SIGTERM came; what was done is saved, and the same call goes on from there."""


class OutOfMemory(GuardalignError):
    """The machine or the GPU has too little memory for a step."""


class Sigterm:
    """Holds SIGTERM back while entered; ``told`` says whether it has come, and ``then`` is called when it does.

    Does nothing outside the main thread, where Python handles no signals.
    """

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.told, self._then = False, then
        self._before: Any = None

    def __enter__(self) -> Sigterm:
        _saving.clear()
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        _saving.clear()
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        self._then()

    def saving(self) -> None:
        """Say that the step SIGTERM may have fallen into has ended: what follows may take its time."""
        _saving.set()


_came, _saving = threading.Event(), threading.Event()


def sigterm_came() -> bool:
    """Whether this process was told to end since it called ``obey_sigterm``."""
    return _came.is_set()


def obey_sigterm(grace: float = GRACE) -> None:
    """End this process at SIGTERM: at once by ``Preempted``, or, while a ``Sigterm`` is entered, after saving.

    A process that waits for one that is lost never ends its step, and never comes to run a Python signal handler. So
    the signal is also sent down a socket to a thread, which ends the process where the step takes longer than
    ``grace`` seconds.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise Preempted("told to end (SIGTERM) between steps")

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_count_down, args=(reader, writer, grace), daemon=True).start()
    signal.signal(signal.SIGTERM, leave)


def _count_down(reader: socket.socket, writer: socket.socket, grace: float) -> None:
    # ``writer`` is passed so that it stays open as long as this thread lives.
    while signal.SIGTERM not in reader.recv(64):
        pass
    _came.set()
    if not _saving.wait(grace):
        os._exit(STUCK)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Say in one sentence what torch and safetensors make of a full disk. Raises GuardalignError."""
    try:
        yield
    except Exception as error:
        numbers = {getattr(each, "errno", None) for each in (error, error.__context__)}
        if numbers & {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} or f"os error {errno.ENOSPC}" in str(error):
            raise GuardalignError(
                f"The disk is full: {path} could not be written. Free some space and run again; "
                "training goes on from the last checkpoint."
            ) from error
        raise


@contextmanager
def naming_out_of_memory(arm: str, row_tokens: int) -> Iterator[None]:
    """Say what to lower where memory runs out. Raises OutOfMemory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not known:
            raise
        first = (str(error).splitlines() or ["MemoryError"])[0]
        raise OutOfMemory(
            f"{arm}: out of memory ({first}). Lower training.row_tokens (now {row_tokens}; the result is the same), "
            "switch training.gradient_checkpointing on, or train adapters (model.lora, model.precision: nf4)."
        ) from error
