"""``python -m guardalign.generation job.json [job2.json ...]``, directly or under ``accelerate launch``.

Each file is a ``GenerationJob``. The prompts are dealt over the processes; each loads the whole model.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from pydantic import ValidationError

from guardalign.data.conversations import PreferencePair
from guardalign.data.examples import Example
from guardalign.errors import GuardalignError, ParameterError
from guardalign.files import first_error, read_rows
from guardalign.generation.job import GenerationJob
from guardalign.generation.replies import Ranks, generate
from guardalign.processes import check_count, watch_caller
from guardalign.training.sharding import claim


def read_job(path: Path) -> GenerationJob:
    try:
        return GenerationJob.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ParameterError(f"{path}: {first_error(error)}") from None


def main(paths: list[str]) -> int:
    if not paths:
        print(__doc__)
        return 2
    watch_caller()
    claim()  # replies are written by whole models
    try:
        # One process may have the long replies: the others wait for it, not for the usual ten minutes alone.
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))
        check_count(state.num_processes)
        ranks = Ranks(state.process_index, state.num_processes, state.wait_for_everyone)
        for path in paths:
            _answer(Path(path), ranks)
    except GuardalignError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _answer(path: Path, ranks: Ranks) -> None:
    job = read_job(path)
    if job.pairs is None:
        raise ParameterError(f"{path}: pairs must name a JSONL of prompts")
    with job.pairs.open(encoding="utf-8") as stream:
        kind: type[Any] = PreferencePair if "turns" in json.loads(stream.readline()) else Example
    pairs = read_rows(job.pairs, kind)

    def log(line: str) -> None:
        if ranks.index == 0:
            print(line, flush=True)

    generate(job.model, pairs, job.arm, job.settings, job.output, log, ranks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
