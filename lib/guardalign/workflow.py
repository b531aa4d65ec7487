"""The whole series by one command: ``python -m guardalign.workflow params/embedded.yaml``.

Checks the parameters, makes sure that nobody else works in the run's folder, and hands over to Snakemake, which
executes the notebooks that are not up to date. Snakemake keeps its books in the run's folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from guardalign import processes
from guardalign.errors import GuardalignError, StageFailed
from guardalign.files import RunFolder, project_root
from guardalign.params import Params
from guardalign.run_notebook import BUSY

LOCK = ".lock"
PATIENCE = 30.0


def run_series(params: Path, cores: int = 1, target: str | None = None, dry_run: bool = False) -> Path:
    """Bring ``target`` (default: the report) of a parameter file's run up to date and return the report's path.

    With ``dry_run`` nothing is executed: Snakemake's plan and reasons are printed.

    Raises GuardalignError where the parameters are wrong, the folder is in use, or a stage failed; processes.Ended
    where this process was told to end.
    """
    settings = Params.load(params)
    run = RunFolder.named(settings.run)
    with processes.locked(run.root / LOCK) as lock:
        if lock is None:
            raise GuardalignError(f"Another run is working in {run.root}: wait for it, or choose another `run:` name.")
        _wait_for_remains(run)
        before = _age(run.report)
        log = run.root / "snakemake.log"
        command = _command(run, params, cores, target, dry_run)
        with log.open("w") as stream:
            code = processes.wait(processes.start(command, env=_environment(), stderr=stream))
        if code:
            raise StageFailed(f"{_reason(log)}The series stopped; `make run` goes on where it stopped.")
    if dry_run:
        print(log.read_text())
    elif before == _age(run.report):
        print("Every stage is up to date.")
    return run.report


def _command(run: RunFolder, params: Path, cores: int, target: str | None, dry_run: bool) -> list[str]:
    """Snakemake in the run's folder. Our lock replaces its own, which a killed run would leave behind."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(project_root() / "Snakefile")]
    command += ["--directory", str(run.root), "--cores", str(cores), "--rerun-incomplete", "--nolock"]
    command += ["--dry-run"] if dry_run else ["--quiet", "progress", "rules", "host", "reason"]
    return [*command, "--config", f"params={params.resolve()}", *(["--", target] if target else [])]


def _reason(log: Path) -> str:
    """What Snakemake says where it failed by itself; a stage that failed has said so already."""
    text = log.read_text(errors="replace").strip()
    if "guardalign.run_notebook" in text:
        return ""
    return "\n".join(text.splitlines()[-12:]) + "\n"


def _environment() -> dict[str, str]:
    quiet = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return os.environ | quiet


def _wait_for_remains(run: RunFolder) -> None:
    """Wait until the stages of a run that was killed a moment ago are gone."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with processes.locked(run.root / BUSY) as free:
            if free is not None:
                return
        time.sleep(0.2)
    raise GuardalignError(f"A stage of an earlier run is still at work in {run.root}.")


def _age(path: Path) -> float | None:
    return path.stat().st_mtime if path.exists() else None


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the series of notebooks with one parameter file.")
    parser.add_argument("params", type=Path)
    parser.add_argument("--cores", type=int, default=1, help="stages that may run at once")
    parser.add_argument("--target", help="a file of the run's folder to make, instead of the report")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and why")
    arguments = parser.parse_args()
    if "MAKELEVEL" in os.environ:
        processes.die_with_parent(signal.SIGTERM)
    try:
        report = run_series(arguments.params, arguments.cores, arguments.target, arguments.dry_run)
    except processes.Ended as ended:
        print("Stopped. `make run` goes on from here.", file=sys.stderr)
        return 128 + ended.signal_number
    except GuardalignError as error:
        print(error, file=sys.stderr)
        return 1
    shown = report.relative_to(Path.cwd()) if report.is_relative_to(Path.cwd()) else report
    print(f"Report: {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
