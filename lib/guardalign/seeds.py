"""The same series over several training seeds: ``python -m guardalign.seeds params/embedded.yaml --seeds 1 2 3``.

Every seed is a run of its own, ``outputs/<run>/seed-<n>``, on the same data; a report over all of them is written to
``outputs/<run>``. With ``--sweep`` notebook 09 is executed there too, before the seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from guardalign import processes, report
from guardalign.errors import GuardalignError
from guardalign.files import RunFolder, project_root, write_text
from guardalign.params import Params
from guardalign.run_notebook import run_stage
from guardalign.workflow import run_series


def derived(params: Path, run: str, seed: int, folder: Path) -> Path:
    """A copy of a parameter file with another run name and seed, next to what it will make."""
    content = yaml.safe_load(params.read_text(encoding="utf-8-sig")) | {"run": run, "seed": seed}
    path = folder / "params.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    Params.load(path)
    return path


def run_seeds(params: Path, run: str, seeds: Sequence[int], cores: int, sweep: bool) -> Path:
    """Bring every seed's run up to date, then the report over all of them; return the report's path.

    Raises GuardalignError where the parameters are wrong or a stage failed; what is done stays done.
    """
    Params.load(params)
    whole = RunFolder.named(run)
    if sweep:
        file = derived(params, run, seeds[0], whole.root)
        notebooks = project_root() / "notebooks"
        run_stage(notebooks / "01_dataset_construction.ipynb", file, [whole.data("pairs")])
        run_stage(notebooks / "09_sweep.ipynb", file, [whole.tables("sweep.csv")])
    for seed in seeds:
        name = f"{run}/seed-{seed}"
        print(f"Seed {seed}", flush=True)
        run_series(derived(params, name, seed, RunFolder.named(name).root), cores)
    return report.write(whole)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Run the series over several training seeds and report on all of them."
    )
    parser.add_argument("params", type=Path)
    parser.add_argument("--run", default="reference", help="the folder under outputs/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--sweep", action="store_true", help="execute notebook 09 first")
    arguments = parser.parse_args()
    try:
        page = run_seeds(arguments.params, arguments.run, arguments.seeds, arguments.cores, arguments.sweep)
    except processes.Ended as ended:
        return 128 + ended.signal_number
    except GuardalignError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Report: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
