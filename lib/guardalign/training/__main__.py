"""``python -m guardalign.training arm.json [arm2.json ...]``, directly or under ``accelerate launch``.

Each file is a ``TrainingConfig``; its ``data`` names a JSONL of ``Example`` rows. Exit codes: 0 all trained, 1 failed,
``PREEMPTED`` (75) ended by SIGTERM with a checkpoint saved: the same command resumes from there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from accelerate import PartialState
from pydantic import ValidationError

from guardalign.data.examples import Example
from guardalign.errors import GuardalignError, ParameterError, Preempted
from guardalign.files import first_error, read_rows
from guardalign.processes import PREEMPTED, check_count, obey_sigterm, watch_caller
from guardalign.training import TrainingConfig, train
from guardalign.training.sharding import on_cpu


def read_config(path: Path) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ParameterError(f"{path}: {first_error(error)}") from None


def main(paths: list[str]) -> int:
    if not paths:
        print(__doc__)
        return 2
    watch_caller()
    obey_sigterm()
    try:
        check_count(PartialState(cpu=on_cpu()).num_processes)
        for path in paths:
            _train(Path(path))
    except GuardalignError as error:
        sys.stderr.write(f"error: {error}\n")  # in one piece: several processes may write at once
        sys.stderr.flush()
        return PREEMPTED if isinstance(error, Preempted) else 1
    return 0


def _train(path: Path) -> None:
    config = read_config(path)
    if config.data is None:
        raise ParameterError(f"{path}: data must name a JSONL of examples")
    train(config, read_rows(config.data, Example), log=lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
