"""``guardalign sweep FILE``: a parameter file run for several values, and the results of all of them in one table.

``params/sweeps/*.yaml``::

    base: params/embedded.yaml
    run: rates                                   # the folder under outputs/; default: the file's name
    set:                                         # changes for all points, by dotted key
      study.seeds: [1, 2, 3]
    grid:                                        # a run of every combination; none: a single run with what is set
      study.arms.M_1SFT_ipo.learning_rate: [5e-5, 1e-4]      # a dotted key and its values
      model:                                     # or names and their values, for what is no plain value
        small: {name: embedded, max_length: 1024}

A point is a run of its own in ``outputs/<run>/<point>`` with its own ``params.yaml``; finished points do not run again.
"""

from __future__ import annotations

import copy
import itertools
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import Field, ValidationError

from guardalign import processes, report
from guardalign.config.params import Params
from guardalign.config.reading import read_mapping
from guardalign.config.sections import Section
from guardalign.errors import MissingStage, ParameterError, StageFailed
from guardalign.files import RunFolder, first_error, project_root, write_text
from guardalign.workflow.series import Resources


class SweepFile(Section):
    """What a file under ``params/sweeps/`` holds."""

    base: str
    run: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any] | dict[str, Any]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """One run. ``values`` are the names of its values by dotted key, ``content`` its parameters."""

    values: dict[str, str]
    content: dict[str, Any]

    @property
    def folder(self) -> RunFolder:
        return RunFolder.named(self.content["run"])

    @property
    def name(self) -> str:
        return self.folder.root.name

    def write(self) -> Path:
        """Put ``params.yaml`` into its folder, unless it is already there, and return its path."""
        path = self.folder.root / "params.yaml"
        text = yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
        return path


def read_sweep(path: Path) -> tuple[str, list[Point]]:
    """The run's name and every point of a sweep file. Raises ParameterError naming the file and what is wrong in it."""
    try:
        sweep = SweepFile.model_validate(read_mapping(path))
    except ValidationError as error:
        raise ParameterError(f"{path} is not a sweep (base, run, set, grid): {first_error(error)}") from None
    run = sweep.run or path.stem
    return run, points(project_root() / sweep.base, run, sweep.grid, sweep.set)


def points(
    base: Path,
    run: str,
    grid: Mapping[str, Sequence[Any] | Mapping[str, Any]],
    changes: Mapping[str, Any] | None = None,
) -> list[Point]:
    """Every combination of the grid's values, in the order given; each point's parameters are checked.

    ``grid``: a dotted key and its plain values, or its values by name. ``changes``: a dotted key and its value for all
    points. Raises ParameterError.
    """
    Params.load(base)
    content = read_mapping(base)
    axes = {key: _named(key, values) for key, values in grid.items()}
    _refuse_overlap([*axes, *(changes or {})])
    found = []
    for names in itertools.product(*axes.values()):
        chosen = dict(zip(axes, names, strict=True))
        changed = copy.deepcopy(content)
        for key, value in [*(changes or {}).items(), *((key, axes[key][name]) for key, name in chosen.items())]:
            _put(changed, key, value)
        name = "_".join(f"{key}-{_plain(value)}" for key, value in chosen.items())
        changed["run"] = f"{run}/{name}" if name else run
        Params.checked(changed, f"{changed['run']}: ")
        found.append(Point(chosen, changed))
    return found


def _named(key: str, values: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """The values of one axis by name: a plain value is its own name."""
    if not isinstance(values, Mapping):
        if any(isinstance(value, dict | list) for value in values):
            raise ParameterError(f"grid: give the values of `{key}` names, as in {key}: {{small: …, large: …}}")
        values = {str(value): value for value in values}
    named = {str(name): value for name, value in values.items()}
    if not named:
        raise ParameterError(f"grid: `{key}` has no values")
    if len({_plain(name) for name in named}) < len(named):
        raise ParameterError(f"grid: two values of `{key}` would share a folder; give them names of letters and digits")
    return named


def _plain(name: str) -> str:
    """A name as part of a folder's."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)


def _refuse_overlap(keys: Sequence[str]) -> None:
    if "run" in keys:
        raise ParameterError("every point has its own `run`; it cannot be varied")
    for one, other in itertools.permutations(keys, 2):
        if other == one or other.startswith(f"{one}."):
            raise ParameterError(f"`{other}` is within `{one}`: vary one of them")


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; sections on the way that are absent are made."""
    *parents, last = key.split(".")
    for parent in parents:
        if content.get(parent) is None:
            content[parent] = {}
        content = content[parent]
        if not isinstance(content, dict):
            raise ParameterError(f"`{key}` leads through `{parent}`, which is not a section")
    content[last] = value


def run_points(points: Sequence[Point], resources: Resources, at_once: int) -> list[Point]:
    """Bring every point's run up to date, ``at_once`` of them side by side, and return those that failed.

    A single run at a time prints its own lines; of several each one's lines go to ``workflow.log`` in its folder.
    Raises processes.Ended where this process was ended: no other point is started then; ParameterError for an unknown
    profile.
    """
    resources.options()
    waiting, failed = list(points), []
    running: dict[subprocess.Popen[bytes], Point] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            point = waiting.pop(0)
            running[_started(point, resources, quiet=at_once > 1)] = point
        child = processes.wait_for_any(running, signal.SIGTERM)
        point = running.pop(child)
        print(f"{point.name}: {'done' if child.returncode == 0 else 'failed' + _why(point, at_once)}", flush=True)
        failed += [point] if child.returncode else []
    return failed


def _started(point: Point, resources: Resources, quiet: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "guardalign.workflow.cli", "run", str(point.write()), "--cores"]
    command += [str(resources.cores), *(["--profile", resources.profile] if resources.profile else [])]
    print(f"{point.name} …", flush=True)
    if not quiet:
        return processes.start(command)
    with (point.folder.root / "workflow.log").open("w") as log:
        return processes.start(command, stdout=log, stderr=log)


def _why(point: Point, at_once: int) -> str:
    if at_once == 1:
        return ""
    log = point.folder.root / "workflow.log"
    last = log.read_text(errors="replace").strip().splitlines()[-3:]
    return f"; {log} ends:\n  " + "\n  ".join(last)


def write_tables(run: str, points: Sequence[Point]) -> list[Path]:
    """Write what is known of all points into the sweep's folder: win rates where a judge read the replies, held-out
    figures where none did, each next to the point's values (columns by dotted key), and a page with the judged points
    side by side."""
    judged: list[report.Results] = []
    tables: dict[str, list[pd.DataFrame]] = {"points.csv": [], "points_preferences.csv": []}
    for point in points:
        unjudged = point.folder.tables("judging.csv")
        try:
            judged.append(report.load(point.folder.root))
            tables["points.csv"].append(judged[-1].rates.assign(**point.values))
        except MissingStage:
            if unjudged.exists():
                tables["points_preferences.csv"].append(pd.read_csv(unjudged).assign(**point.values))
    whole, keys, written = RunFolder.named(run), list(points[0].values), []
    for name, found in tables.items():
        if found and not (table := pd.concat(found, ignore_index=True)).empty:
            ordered = table[[*keys, *(column for column in table if column not in keys)]]
            write_text(whole.tables(name), ordered.to_csv(index=False))
            written.append(whole.tables(name))
    return written + ([report.compare(judged, whole.root / "compare.html")] if len(judged) > 1 else [])


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("sweep", type=Path, help="a file as in params/sweeps/")
    parser.add_argument("--at-once", type=int, default=1, help="points that run side by side")
    parser.add_argument("--dry-run", action="store_true", help="only list the points and check their parameters")
    Resources.add_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.at_once < 1:
        parser.error("--at-once must be 1 or more")
    run, points = read_sweep(arguments.sweep)
    if arguments.dry_run:
        print("\n".join(f"{point.folder.root}" for point in points))
        return
    failed = run_points(points, Resources(arguments.cores, arguments.profile), arguments.at_once)
    written = write_tables(run, points)
    if failed:
        raise StageFailed(f"{len(failed)} of {len(points)} points failed: {', '.join(p.name for p in failed)}")
    print("\n".join(f"Results: {path}" for path in written))
