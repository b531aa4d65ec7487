"""Child processes that do not outlive the one that started them, however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from types import FrameType
from typing import Any

import psutil

PR_SET_PDEATHSIG = 1
SECONDS_TO_SAVE = 25.0
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ended(BaseException):
    """This process was told to end by ``signal_number``; children have to end first."""

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.signal_number = signal_number


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends, also by SIGKILL (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number))


def peak_resident() -> int:
    """The largest resident size this process has had, in bytes.

    Linux counts in ``ru_maxrss`` what the starting process held at the time, so its own mark is read where it has one.
    """
    with contextlib.suppress(FileNotFoundError):
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def start(command: Sequence[str], **options: Any) -> Popen[Any]:
    """Start ``command`` so that it dies with this process."""
    return Popen(command, preexec_fn=die_with_parent, **options)


def wait(child: Popen[Any], parent: int | None = None, ask: int | None = None) -> int:
    """Wait for ``child`` and return its exit code; if this process is told to end or loses ``parent``, end it first.

    The tree below has ``SECONDS_TO_SAVE`` to end by itself. With ``ask`` that signal goes to ``child`` alone before,
    for one that has work elsewhere to call off. Raises Ended after the whole tree below ``child`` is gone.
    """
    with _signals_raised():
        try:
            while True:
                with contextlib.suppress(TimeoutExpired):
                    return child.wait(timeout=0.5)
                if parent is not None and os.getppid() != parent:
                    raise Ended(signal.SIGTERM)
        except Ended:
            if ask is not None:
                child.send_signal(ask)
                with contextlib.suppress(TimeoutExpired):
                    child.wait(timeout=SECONDS_TO_SAVE)
            end_tree(child.pid, SECONDS_TO_SAVE)
            child.wait()
            raise


def wait_for_any(children: Collection[Popen[Any]], ask: int) -> Popen[Any]:
    """Wait until one of ``children`` has ended and return it; if this process is told to end, end them all first.

    ``ask`` is the signal they are told by, all at once. Raises Ended.
    """
    with _signals_raised():
        try:
            while True:
                for child in children:
                    if child.poll() is not None:
                        return child
                time.sleep(0.2)
        except Ended:
            for child in children:
                child.send_signal(ask)
            psutil.wait_procs([psutil.Process(child.pid) for child in children], timeout=2 * SECONDS_TO_SAVE)
            for child in children:
                end_tree(child.pid)
            raise


def end_tree(pid: int, patience: float = 2.0) -> None:
    """End a process and everything below it: politely first, then for certain."""
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        family = [*top.children(recursive=True), top]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(family, timeout=patience)
        born_since = top.children(recursive=True) if top.is_running() else []
        for process in [*family, *born_since]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=patience)


@contextlib.contextmanager
def _signals_raised() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in ENDING_SIGNALS if not _is_ignored(number)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(number: int) -> bool:
    """``nohup`` ignores SIGHUP: that stays so."""
    return signal.getsignal(number) is signal.SIG_IGN


@contextlib.contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[int | None]:
    """Hold a lock on ``path`` that ends with this process; yields its descriptor, or None where another holds it."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        yield None
    finally:
        os.close(descriptor)
