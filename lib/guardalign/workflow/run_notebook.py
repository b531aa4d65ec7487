"""One notebook as a stage: ``python -m guardalign.workflow.run_notebook NOTEBOOK --params FILE --product PATH …``.

papermill alone is not enough for a stage. A kernel that was killed leaves a notebook whose metadata say that all is
well, so a stage has succeeded when papermill's exit code is 0 *and* its products are there, newer than its start. A
kernel outlives a papermill that was told to end, so the whole tree below it is ended here. Only the sections that the
notebook shows are handed to it. Where GPUs are named as slots, the stage waits for its own.

Exit codes: 0 done, 75 (EX_TEMPFAIL) its training was told to end and has saved a checkpoint, 128 + n told to end itself
by signal n, 1 anything else that is said.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guardalign import processes
from guardalign.config.notebooks import failure, values_for
from guardalign.config.params import Params
from guardalign.errors import GuardalignError, StageFailed
from guardalign.files import RunFolder, project_root
from guardalign.launch import slots

BUSY = ".busy"
PREEMPTED = "Preempted: "


class StagePreempted(StageFailed):
    """The stage's training was told to end, by SIGTERM; started again, it goes on from where it was."""


def run_stage(notebook: Path, params: Path, products: list[Path]) -> float:
    """Execute ``notebook`` into the run's folder and return the seconds it took. Raises StageFailed, or Ended."""
    settings = Params.load(params).sections()
    values = values_for(notebook, settings)
    run = RunFolder.named(settings["run"])
    executed = run.notebooks / notebook.name
    executed.parent.mkdir(parents=True, exist_ok=True)
    executed.unlink(missing_ok=True)
    started = time.time()
    with (
        slots.leased(slots.needed(values, settings["launch"])) as lease,
        processes.locked(run.root / BUSY, shared=True) as busy,
        tempfile.TemporaryFile("w+") as output,
    ):
        command = [
            sys.executable,
            "-m",
            "guardalign.workflow.papermill_command",
            str(notebook),
            str(executed),
            "--parameters_yaml",
        ]
        command += [json.dumps(values), "--cwd", str(notebook.parent), "--no-progress-bar"]
        parent = os.getppid()
        child = processes.start(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | lease.environment,
            start_new_session=True,
            pass_fds=[*lease.descriptors, *([busy] if busy else [])],
        )
        code = processes.wait(child, parent)
        output.seek(0)
        log = output.read()
    if code:
        said = failure(executed) or _last_lines(log)
        kind = StagePreempted if said.startswith(PREEMPTED) else StageFailed
        raise kind(f"{notebook.stem} failed: {said}\n  See {_shown(executed)}.")
    for product in products:
        if not product.exists() or product.stat().st_mtime < started - 1:
            raise StageFailed(f"{notebook.stem} ended without making {_shown(product)}. See {_shown(executed)}.")
    return time.time() - started


def _last_lines(log: str, count: int = 5) -> str:
    if "DeadKernelError" in log:
        return "its kernel was killed (too little memory is the usual cause)"
    return "\n".join(log.strip().splitlines()[-count:]) or "papermill ended without a word"


def _shown(path: Path) -> str:
    return str(path.relative_to(project_root())) if path.is_relative_to(project_root()) else str(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Execute one notebook of the series as a stage.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--product", type=Path, action="append", default=[], help="a file the notebook must make")
    arguments = parser.parse_args()
    name = arguments.notebook.stem
    print(f"{time.strftime('%H:%M:%S')}  {name} …", flush=True)
    try:
        seconds = run_stage(arguments.notebook.resolve(), arguments.params, [p.resolve() for p in arguments.product])
    except processes.Ended as ended:
        return 128 + ended.signal_number
    except GuardalignError as error:
        print(error, flush=True)
        return os.EX_TEMPFAIL if isinstance(error, StagePreempted) else 1
    print(f"{time.strftime('%H:%M:%S')}  {name} done in {seconds:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
