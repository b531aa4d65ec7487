"""What ``accelerate launch`` runs of this package: job files in, an exit code out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from accelerate import PartialState
from pydantic import BaseModel, ValidationError

from guardalign.errors import GuardalignError, ParameterError, Preempted
from guardalign.files import first_error
from guardalign.processes import PREEMPTED, check_count, watch_caller

Job = TypeVar("Job", bound=BaseModel)


def carry_out(
    paths: Sequence[str], kind: type[Job], begin: Callable[[], PartialState], do: Callable[[Job, PartialState], object]
) -> int:
    """``do`` the jobs in the files ``paths``, each a ``kind`` as JSON; ``begin`` joins the launch's processes.

    Returns 0 if all are done, 1 after an error, which is printed, and ``PREEMPTED`` if SIGTERM ended one that resumes.
    """
    watch_caller()
    try:
        state = begin()
        check_count(state.num_processes)
        for path in paths:
            do(_read(Path(path), kind), state)
    except GuardalignError as error:
        sys.stderr.write(f"error: {error}\n")  # in one piece: several processes may write at once
        sys.stderr.flush()
        return PREEMPTED if isinstance(error, Preempted) else 1
    return 0


def _read(path: Path, kind: type[Job]) -> Job:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ParameterError(f"{path}: {first_error(error)}") from None
