"""The series over several training seeds: ``guardalign seeds PARAMS --seeds 1 2 3``.

Every seed is a run of its own, ``outputs/<run>/seed-<n>``, on the same data; a report over all of them is written to
``outputs/<run>``, beside the data card that all share. With ``--sweep`` notebook 09 is executed there too, before
the seeds.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from guardalign import report
from guardalign.errors import StageFailed
from guardalign.files import RunFolder, project_root
from guardalign.workflow.grid import SEED, points
from guardalign.workflow.many import run_points
from guardalign.workflow.run_notebook import run_stage
from guardalign.workflow.series import Place


def run_seeds(params: Path, run: str, seeds: Sequence[int], place: Place, sweep: bool) -> Path:
    """Bring every seed's run up to date, then the report over all of them; return the report's path.

    Raises GuardalignError where the parameters are wrong or a stage failed; what is done stays done.
    """
    whole = RunFolder.named(run)
    (alone,) = points(params, run, {})
    alone.content[SEED] = seeds[0]
    file = alone.write()
    notebooks = project_root() / "notebooks"
    run_stage(notebooks / "01_dataset_construction.ipynb", file, [whole.data("pairs")])
    if sweep:
        run_stage(notebooks / "09_sweep.ipynb", file, [whole.tables("sweep.csv")])
    for point in points(params, run, {SEED: list(seeds)}):
        if run_points([point], place):
            raise StageFailed(f"Seed {point.values[SEED]} failed; the same command goes on where it stopped.")
    return report.write(whole)


def command(parser: ArgumentParser, given: Sequence[str]) -> None:
    parser.add_argument("params", type=Path)
    parser.add_argument("--run", default="reference", help="the folder under outputs/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sweep", action="store_true", help="execute notebook 09 first")
    Place.add_arguments(parser)
    arguments = parser.parse_args(given)
    page = run_seeds(arguments.params, arguments.run, arguments.seeds, Place.chosen(arguments), arguments.sweep)
    print(f"Report: {page}")
