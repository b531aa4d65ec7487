"""Many runs by one command: ``guardalign sweep params/sweeps/rates.yaml``.

Every point of a grid is a run of its own with its own parameter file, brought up to date by the same workflow as a
single run; what is done stays done. At the end all points' win rates stand in one table beside their parameters.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from guardalign import processes, report
from guardalign.errors import MissingStage, StageFailed
from guardalign.files import RunFolder, write_text
from guardalign.workflow.grid import SEED, Point, read_sweep
from guardalign.workflow.series import HERE, Place

SIDES = ("win_1", "win_2")


def run_points(points: Sequence[Point], place: Place = HERE, at_once: int = 1) -> list[Point]:
    """Bring every point's run up to date, ``at_once`` of them side by side, and return those that failed.

    A single run at a time speaks for itself; of several each one's lines go to ``workflow.log`` in its folder. Raises
    processes.Ended where this process was told to end: nothing goes on then; ParameterError for an unknown profile.
    """
    place.options()
    waiting, failed = list(points), []
    running: dict[subprocess.Popen[bytes], Point] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            point = waiting.pop(0)
            running[_started(point, place, quiet=at_once > 1)] = point
        child = processes.wait_for_any(running, signal.SIGTERM)
        point = running.pop(child)
        print(f"{point.name}: {'done' if child.returncode == 0 else 'failed' + _why(point, at_once)}", flush=True)
        failed += [point] if child.returncode else []
    return failed


def _started(point: Point, place: Place, quiet: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "guardalign.workflow.cli", "run", str(point.write()), "--cores"]
    command += [str(place.cores)]
    command += ["--profile", place.profile] if place.profile else []
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


def win_rates(points: Sequence[Point]) -> pd.DataFrame:
    """One row a setting, comparison and dimension; seeds of a setting are one measurement.

    Columns: the grid's dotted keys (the seeds as their number), arm_1, arm_2, dimension, judge, n, and ``win_1``,
    ``win_2`` with ``_low`` and ``_high`` (fractions). Points nothing was judged of are left out.
    """
    frames = []
    for first, whole in _settings(points):
        try:
            rates = report.load(whole.root).rates
        except MissingStage:
            continue
        measured = [f"{side}{end}" for side in SIDES for end in ("", "_low", "_high")]
        rates = rates[["seeds", "arm_1", "arm_2", "dimension", "judge", "n", *measured]]
        frames.append(_beside(first, rates))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def preferences(points: Sequence[Point]) -> pd.DataFrame:
    """The held-out preference accuracy and likelihood of every point that has no judge, as its notebook 06 has them."""
    paths = {point.name: point.folder.tables("judging.csv") for point in points}
    judged = [point for point in points if point.content["judge"]["kind"] == "none" and paths[point.name].exists()]
    frames = [_beside(point, pd.read_csv(paths[point.name]), seed=True) for point in judged]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def write_tables(run: str, points: Sequence[Point]) -> list[Path]:
    """Write what is known of all points into the grid's folder, a report for settings of several seeds, and a page
    with the settings side by side. Returns the paths of the tables and the page."""
    whole, written = RunFolder.named(run), []
    for name, table in (("points.csv", win_rates(points)), ("points_preferences.csv", preferences(points))):
        if not table.empty:
            write_text(whole.tables(name), table.to_csv(index=False))
            written.append(whole.tables(name))
    judged = [(first, folder) for first, folder in _settings(points) if _is_judged(folder)]
    for first, folder in judged:
        if SEED in first.values:
            report.write(folder)
    if len(judged) > 1:
        written.append(report.compare([folder for _, folder in judged], whole.root / "compare.html"))
    return written


def _settings(points: Sequence[Point]) -> Iterator[tuple[Point, RunFolder]]:
    """Each setting's first point, and the folder that holds all of its seeds."""
    for _, group in groupby(points, key=lambda point: point.setting):
        first = next(group)
        yield first, first.whole


def _is_judged(folder: RunFolder) -> bool:
    return any((path / "verdicts").is_dir() for path in (folder.root, *folder.root.glob("seed-*")))


def _beside(point: Point, table: pd.DataFrame, seed: bool = False) -> pd.DataFrame:
    """The table with the point's values in front of it."""
    table = table.copy()
    for place, (key, name) in enumerate((k, v) for k, v in point.values.items() if seed or k != SEED):
        table.insert(place, key, name)
    return table


def command(parser: ArgumentParser, given: Sequence[str]) -> None:
    parser.add_argument("sweep", type=Path, help="a file as in params/sweeps/")
    parser.add_argument("--at-once", type=int, default=1, help="points that run side by side")
    parser.add_argument("--dry-run", action="store_true", help="only list the points and check their parameters")
    Place.add_arguments(parser)
    arguments = parser.parse_args(given)
    run, points = read_sweep(arguments.sweep)
    if arguments.dry_run:
        print("\n".join(f"{point.folder.root}" for point in points))
        return
    failed = run_points(points, Place.chosen(arguments), arguments.at_once)
    written = write_tables(run, points)
    if failed:
        raise StageFailed(f"{len(failed)} of {len(points)} points failed: {', '.join(p.name for p in failed)}")
    print("\n".join(f"Results: {path}" for path in written))
