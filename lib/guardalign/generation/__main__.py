"""``python -m guardalign.generation job.json [job2.json ...]``, directly or under ``accelerate launch``.

Each file is a ``GenerationJob``. The prompts are dealt over the processes; each loads the whole model.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from accelerate import PartialState

from guardalign.data.conversations import PreferencePair
from guardalign.data.examples import Example
from guardalign.errors import ParameterError
from guardalign.files import read_rows
from guardalign.generation.replies import GenerationJob, Ranks, generate
from guardalign.training.jobs import carry_out
from guardalign.training.sharding import claim


def _begin() -> PartialState:
    claim()  # replies are written by whole models
    # One process may have the long replies: the others wait longer than the usual ten minutes.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))


def _answer(job: GenerationJob, state: PartialState) -> None:
    if job.pairs is None:
        raise ParameterError(f"{job.arm}: pairs must name a JSONL of prompts")
    with job.pairs.open(encoding="utf-8") as stream:
        kind: type[Any] = PreferencePair if "turns" in json.loads(stream.readline()) else Example
    ranks = Ranks(state.process_index, state.num_processes, state.wait_for_everyone)
    log = partial(state.print, flush=True)
    generate(job.model, read_rows(job.pairs, kind), job.arm, job.settings, job.output, log, ranks)


if __name__ == "__main__":
    sys.exit(carry_out(sys.argv[1:], GenerationJob, _begin, _answer))
