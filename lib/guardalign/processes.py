"""Child processes that do not outlive their parent, and the orderly end of one that gets SIGTERM."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from types import FrameType
from typing import Any

import psutil

from guardalign.errors import GuardalignError, Preempted, StageFailed

DEFAULTS = {
    # On a CPU in bf16, oneDNN keeps compiled kernels for the last 1,024 shapes, and every prefix tree has its own
    # shape: gigabytes after a few hundred steps. 256 is as fast and bounds it.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
    # Threads that wait for each other spin for milliseconds by default, also against a process they wait for: next to
    # one busy process a training step took 1.8 s, with a short spin 1.2 s.
    "GOMP_SPINCOUNT": "1000",
    "PYTHONUNBUFFERED": "1",
}
"""Environment variables of the processes that this package starts, unless they are set."""
LOCK = ".lock"
"""The file in a run's folder that is locked while a command works there."""
CALLER = "GUARDALIGN_CALLER"
PROCESSES = "GUARDALIGN_PROCESSES"
SECONDS_TO_SAVE = 25.0
GRACE = 20.0
"""Seconds a step may take after SIGTERM; schedulers and torch's launcher commonly kill after 30."""
PREEMPTED = 75
"""The exit code of a process that SIGTERM ended after saving; started again, it resumes (sysexits' EX_TEMPFAIL)."""
STUCK = 70
"""The exit code after SIGTERM if the current step took longer than ``GRACE``."""
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ended(BaseException):
    """This process received ``signal_number``; its children have ended."""

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.signal_number = signal_number


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that this package starts."""
    return DEFAULTS | os.environ | more


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends, also by SIGKILL (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal_number))  # PR_SET_PDEATHSIG


def start(command: Sequence[str], **options: Any) -> Popen[Any]:
    """Start ``command`` so that it dies with this process."""
    return Popen(command, preexec_fn=die_with_parent, **({"env": environment()} | options))


def wait(child: Popen[Any], parent: int | None = None, ask: int | None = None) -> int:
    """Wait for ``child`` and return its exit code: ``wait_for_any`` of a single one."""
    return int(wait_for_any([child], ask, parent).returncode)


def wait_for_any(children: Collection[Popen[Any]], ask: int | None = None, parent: int | None = None) -> Popen[Any]:
    """Wait until one of ``children`` has ended and return it.

    If a signal ends this process, or its ``parent`` is gone, all children are ended first, with all they started.
    They have ``SECONDS_TO_SAVE`` for it. ``ask`` is a signal that the children alone get before, for those that have to
    cancel work elsewhere. Raises Ended.
    """
    with _signals_raised():
        try:
            while True:
                for child in children:
                    if child.poll() is not None:
                        return child
                if parent is not None and os.getppid() != parent:
                    raise Ended(signal.SIGTERM)
                time.sleep(0.1)
        except Ended:
            if ask is not None:
                for child in children:
                    child.send_signal(ask)
                end = time.monotonic() + 2 * SECONDS_TO_SAVE
                for child in children:
                    with contextlib.suppress(TimeoutExpired):
                        child.wait(timeout=max(0.0, end - time.monotonic()))
            end_tree(*(child.pid for child in children), patience=SECONDS_TO_SAVE)
            for child in children:
                child.wait()
            raise


def end_tree(*pids: int, patience: float = 2.0) -> None:
    """End processes and everything below them: by SIGTERM, after ``patience`` seconds by SIGKILL."""
    tops = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    family = [*_below(tops), *tops]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(family, timeout=patience)
    for process in [*family, *_below(tops)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=patience)


def _below(tops: Collection[psutil.Process]) -> list[psutil.Process]:
    found = []
    for top in tops:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += top.children(recursive=True)
    return found


@contextlib.contextmanager
def _signals_raised() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    # What is ignored stays ignored: nohup does that to SIGHUP.
    heeded = [number for number in ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Sigterm:
    """Holds SIGTERM back while entered; ``came`` says whether it was received, and ``then`` is called when it is.

    Does nothing outside the main thread, where Python handles no signals.
    """

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.came, self._then = False, then
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
        self.came = True
        self._then()

    def saving(self) -> None:
        """Mark the step that SIGTERM may have interrupted as ended: what follows is not timed."""
        _saving.set()


_came, _saving = threading.Event(), threading.Event()


def obey_sigterm(grace: float = GRACE) -> None:
    """End this process at SIGTERM: at once by ``Preempted``, or, while a ``Sigterm`` is entered, after saving.

    A process that waits for a lost one never ends its step, and never runs a Python signal handler. So the signal is
    also sent through a socket to a thread, which ends the process if the step takes longer than ``grace`` seconds.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise Preempted("SIGTERM received between steps")

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_count_down, args=(reader, writer, grace), daemon=True).start()
    signal.signal(signal.SIGTERM, leave)


def _count_down(reader: socket.socket, writer: socket.socket, grace: float) -> None:
    # ``writer`` stays open as long as this thread lives.
    while signal.SIGTERM not in reader.recv(64):
        pass
    _came.set()
    if not _saving.wait(grace):
        os._exit(STUCK)


def caller_id() -> str:
    """This process as ``pid:start``; the start time distinguishes it from a later process with the same id."""
    return f"{os.getpid()}:{psutil.Process().create_time()}"


def watch_caller() -> None:
    """End this process within a second after the process that ``CALLER`` names has gone, launchers between them or not.

    After SIGTERM it saves first, even if the caller has gone by then.
    """
    identity = os.environ.get(CALLER)
    if identity:
        threading.Thread(target=_watch, args=identity.split(":"), daemon=True).start()


def _watch(pid: str, start: str) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        caller = psutil.Process(int(pid))
        while abs(caller.create_time() - float(start)) < 1 and caller.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    if not _came.is_set():
        os._exit(STUCK)


def check_count(running: int) -> None:
    """Raise StageFailed if fewer processes run than the launch configuration asks for."""
    wanted = int(os.environ.get(PROCESSES, running))
    if wanted != running:
        raise StageFailed(
            f"the launch configuration asks for {wanted} processes, {running} run(s): on a CPU use "
            "`distributed_type: MULTI_GPU` with `use_cpu: true`"
        )


def forget_peak() -> None:
    """Reset ``peak_resident`` (Linux; elsewhere nothing happens)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_resident() -> int:
    """The largest resident size this process has had, in bytes.

    On Linux ``ru_maxrss`` includes what the parent held when it forked, so ``VmHWM`` is read where there is one.
    """
    with contextlib.suppress(FileNotFoundError):
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder. Raises GuardalignError if another command is using it."""
    with locked(folder / LOCK) as lock:
        if lock is None:
            raise GuardalignError(f"Another run is working in {folder}: wait for it, or choose another `run:` name.")
        yield


@contextlib.contextmanager
def locked(path: Path, shared: bool = False, wait: bool = False) -> Iterator[int | None]:
    """Hold a lock on ``path`` that ends with this process; yields its descriptor, or None if another holds it.

    With ``wait`` it is held as soon as no other holds it.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    except BlockingIOError:
        yield None
    finally:
        os.close(descriptor)
