"""``guardalign stage NOTEBOOK PARAMS``: one notebook of the series.

papermill alone is not enough for a stage. A kernel that was killed leaves a notebook whose metadata state that all is
well, so a stage has succeeded when papermill's exit code is 0 *and* its products are there, made since. A kernel
outlives a papermill that was ended, so the whole tree below it is ended here. Only the sections that the notebook shows
are handed to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from guardalign import processes
from guardalign.config.notebooks import failure, values_for
from guardalign.config.params import Params
from guardalign.config.plan import TUNING
from guardalign.errors import ParameterError, Preempted, StageFailed
from guardalign.files import RunFolder, project_root

BUSY = ".busy"


def run_stage(notebook: Path, params: Path, products: Sequence[Path] = ()) -> float:
    """Execute ``notebook`` into the run's folder and return the seconds it took.

    Raises StageFailed; Preempted where SIGTERM ended its training, which resumes when the stage is started again;
    ParameterError if a section that the notebook reads is missing, or there is nothing to tune; processes.Ended.
    """
    loaded = Params.load(params)
    if notebook.stem == TUNING:
        loaded.check_tuning()
    settings = loaded.sections()
    values = values_for(notebook, settings)
    run = RunFolder.named(settings["run"])
    executed = run.notebooks / notebook.name
    executed.parent.mkdir(parents=True, exist_ok=True)
    executed.unlink(missing_ok=True)
    before, started = [_state(each) for each in products], time.monotonic()
    command = [sys.executable, "-m", "papermill", str(notebook), str(executed), "--parameters_yaml", json.dumps(values)]
    with processes.locked(run.root / BUSY, shared=True) as busy, tempfile.TemporaryFile("w+") as output:
        parent = os.getppid()
        child = processes.start(
            [*command, "--cwd", str(notebook.parent), "--no-progress-bar"],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[busy] if busy else [],
        )
        code = processes.wait(child, parent)
        output.seek(0)
        log = output.read()
    if code:
        message = failure(executed) or _last_lines(log)
        kind = Preempted if message.startswith(f"{Preempted.__name__}: ") else StageFailed
        raise kind(f"{notebook.stem} failed: {message}\n  See {_shown(executed)}.")
    # Not by time stamps: the file system may use a different clock.
    for product, state in zip(products, before, strict=True):
        if _state(product) in (None, state):
            raise StageFailed(f"{notebook.stem} ended without making {_shown(product)}. See {_shown(executed)}.")
    return time.monotonic() - started


def _state(path: Path) -> tuple[int, int, int] | None:
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _last_lines(log: str) -> str:
    if "DeadKernelError" in log:
        return "its kernel was killed (too little memory is the usual cause)"
    return "\n".join(log.strip().splitlines()[-5:]) or "papermill ended without a message"


def _shown(path: Path) -> str:
    return str(path.relative_to(project_root())) if path.is_relative_to(project_root()) else str(path)


def _notebook(name: str) -> Path:
    """A notebook's file by path, name or number. Raises ParameterError."""
    if Path(name).is_file():
        return Path(name).resolve()
    known = sorted((project_root() / "notebooks").glob("*.ipynb"))
    found = [path for path in known if path.stem == name or path.stem.split("_")[0] == name]
    if not found:
        raise ParameterError(f"no notebook {name!r}: expected a path or one of {', '.join(p.stem for p in known)}")
    return found[0]


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("notebook", help="its file, name or number, e.g. 03_flow1_alignment or 03")
    parser.add_argument("params", type=Path, help="a parameter file, e.g. params/embedded.yaml")
    parser.add_argument("--product", type=Path, action="append", default=[], help="a file the notebook must make")
    arguments = parser.parse_args(argv)
    notebook = _notebook(arguments.notebook)
    print(f"{time.strftime('%H:%M:%S')}  {notebook.stem} …", flush=True)
    seconds = run_stage(notebook, arguments.params, [path.resolve() for path in arguments.product])
    print(f"{time.strftime('%H:%M:%S')}  {notebook.stem} done in {seconds:.0f} s", flush=True)
