"""``guardalign clean PARAMS``: the folder of a run, removed."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from guardalign import processes
from guardalign.config.params import Params
from guardalign.errors import ParameterError
from guardalign.files import RunFolder, project_root
from guardalign.processes import LOCK

RECORD = "run.json"


def clean(params: Path) -> Path:
    """Remove the run's folder, training seeds of the run included, and return its path.

    Raises ParameterError, and removes nothing, if the parameters are wrong, if the folder is not that of a run,
    or holds other runs or the project itself, or is in use.
    """
    folder = RunFolder.named(Params.load(params).run).root.resolve()
    if not folder.is_dir():
        raise ParameterError(f"{folder} does not exist: nothing to remove")
    kept = (project_root() / "outputs", Path.home(), Path.cwd())
    if any(each.resolve().is_relative_to(folder) for each in kept):
        raise ParameterError(f"{folder} is not a run's folder: nothing is removed")
    if not any((folder / name).exists() for name in (RECORD, LOCK)):
        raise ParameterError(f"{folder} holds no {RECORD}: not a run, nothing is removed")
    inside = {path.parent.relative_to(folder) for path in folder.rglob(RECORD)} - {Path()}
    others = sorted(str(each) for each in inside if not each.parts[0].startswith("seed-"))
    if others:
        raise ParameterError(f"{folder} holds other runs ({', '.join(others)}): nothing is removed")
    with processes.locked(folder / LOCK) as lock:
        if lock is None:
            raise ParameterError(f"{folder} is in use: nothing is removed")
        shutil.rmtree(folder)
    return folder


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("params", type=Path, help="the run's parameter file")
    print(f"Removed {clean(parser.parse_args(argv).params)}")
