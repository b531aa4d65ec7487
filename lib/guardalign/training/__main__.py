"""``python -m guardalign.training arm.json [arm2.json ...]``, directly or under ``accelerate launch``.

Each file is a ``TrainingConfig``; its ``data`` names a JSONL of ``Example`` rows. Exit codes: 0 all trained, 1 failed,
``PREEMPTED`` (75) ended by SIGTERM with a checkpoint saved: the same command resumes from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from accelerate import PartialState

from guardalign.data.examples import Example
from guardalign.errors import ParameterError
from guardalign.files import read_rows
from guardalign.processes import obey_sigterm
from guardalign.training import TrainingConfig, train
from guardalign.training.jobs import carry_out
from guardalign.training.sharding import on_cpu


def _begin() -> PartialState:
    obey_sigterm()
    return PartialState(cpu=on_cpu())


def _train(config: TrainingConfig, state: PartialState) -> None:
    if config.data is None:
        raise ParameterError(f"{config.arm}: data must name a JSONL of examples")
    train(config, read_rows(config.data, Example), log=lambda line: print(line, flush=True))


def main(paths: Sequence[str]) -> int:
    return carry_out(paths, TrainingConfig, _begin, _train)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
