"""Several arms' replies at once, a process and a thread each.

A model of a few million weights does not fill two cores: with two threads it writes 1.4 times as fast as with one
(measured on two cores, the embedded default). Writing its ten arms' replies to 389 prompts took 81 s that way, and 69 s
in two processes, their start included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from guardalign import processes
from guardalign.data.examples import Prompt
from guardalign.generation.job import GenerationJob
from guardalign.generation.replies import generate

SMALL = 64 * 2**20
"""Bytes of a checkpoint; a larger model's matrices keep all cores busy, and each process would hold a copy of it."""

LEAST = 1_000
"""Replies; writing fewer (20 s on that machine) gains less than the two processes take to start."""


def generate_side_by_side(
    jobs: Sequence[GenerationJob], pairs: Sequence[Prompt], log: Callable[[str], object] = print
) -> None:
    """Write the replies of those ``jobs`` that lack some; does nothing where side by side is no faster."""
    waiting = [job for job in jobs if not job.store(pairs).is_complete()]
    count = min(torch.get_num_threads(), len(waiting))
    few = len(waiting) * len(pairs) < LEAST
    if count < 2 or few or torch.cuda.is_available() or not all(map(_is_small, waiting)):
        return
    log(f"{', '.join(job.arm for job in waiting)}: {len(pairs)} replies each to generate, {count} arms at a time")
    with ProcessPoolExecutor(count, get_context("spawn"), processes.die_with_parent) as pool:
        list(pool.map(_write, waiting, [pairs] * len(waiting)))


def _is_small(job: GenerationJob) -> bool:
    return 0 < sum(path.stat().st_size for path in Path(job.model).glob("*.safetensors")) < SMALL


def _write(job: GenerationJob, pairs: Sequence[Prompt]) -> None:
    torch.set_num_threads(1)
    generate(job.model, pairs, job.arm, job.settings, job.output, log=lambda _: None)
