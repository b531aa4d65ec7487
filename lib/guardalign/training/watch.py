"""A training process's place among others: its accelerator, how many run, and whether the one that started it lives."""

from __future__ import annotations

import os
import threading
import time

import psutil
import torch
from accelerate import Accelerator

from guardalign.errors import StageFailed
from guardalign.training.ending import sigterm_came

CALLER = "GUARDALIGN_CALLER"
PROCESSES = "GUARDALIGN_PROCESSES"
SECONDS = 0.5


def accelerator() -> Accelerator:
    """The process's accelerator. Without a GPU, accelerate starts gloo only if it is told that a CPU is meant."""
    return Accelerator(cpu=on_cpu())


def on_cpu() -> bool:
    """Whether accelerate is to work on the CPU; DeepSpeed, where the launch asks for it, finds its device by itself."""
    return not torch.cuda.is_available() and not by_deepspeed()


def by_deepspeed() -> bool:
    """Whether this process was launched with a DeepSpeed configuration."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"


def caller_mark() -> str:
    """This process as ``pid:start`` (the start tells it from a later process of the same number)."""
    return f"{os.getpid()}:{psutil.Process().create_time()}"


def watch_caller() -> None:
    """End this process as soon as the caller named in the environment is gone; a thread looks twice a second.

    A process that was told to end itself saves first, also where its caller was faster.
    """
    mark = os.environ.get(CALLER)
    if mark:
        threading.Thread(target=_watch, args=(mark,), daemon=True).start()


def _watch(mark: str) -> None:
    while _alive(mark):
        time.sleep(SECONDS)
    if not sigterm_came():
        os._exit(70)


def _alive(mark: str) -> bool:
    pid, start = mark.split(":")
    try:
        process = psutil.Process(int(pid))
        return abs(process.create_time() - float(start)) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check_processes(running: int) -> None:
    """Raise ``StageFailed`` where fewer processes run than the launch configuration asks for."""
    wanted = int(os.environ.get(PROCESSES, running))
    if wanted != running:
        raise StageFailed(
            f"the launch configuration asks for {wanted} processes, {running} run(s): on a CPU use "
            "`distributed_type: MULTI_GPU` with `use_cpu: true`"
        )
