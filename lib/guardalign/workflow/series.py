"""The whole series by one command: ``python -m guardalign.workflow.series params/embedded.yaml``.

Checks the parameters, makes sure that nobody else works in the run's folder, and hands over to Snakemake, which
executes the notebooks that are not up to date. Snakemake keeps its books in the run's folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from guardalign import processes
from guardalign.config.params import Params
from guardalign.errors import GuardalignError, ParameterError, StageFailed
from guardalign.files import RunFolder, project_root
from guardalign.generation.store import damaged
from guardalign.judging.stage import unsettled
from guardalign.launch import slots
from guardalign.workflow.run_notebook import BUSY

LEAST_FREE = 64 * 1024  # bytes
LOCK = ".lock"
PATIENCE = 30.0
SLURM_LOGS = Path(".snakemake") / "slurm_logs"


@dataclass(frozen=True)
class Place:
    """Where stages run: here, on ``cores`` cores; on this machine's ``gpus``, a slot a job; or where ``profile`` says.

    ``profile`` is a folder of ``params/profiles/`` or one's own, with a Snakemake ``config.yaml``; how many jobs or
    cores are used at once stands there.
    """

    cores: int = 1
    profile: str | None = None
    gpus: str = ""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--cores", type=int, default=1, help="cores of this machine to use")
        parser.add_argument("--profile", help="slurm, kubernetes, local_gpus, or a folder with a config.yaml")
        parser.add_argument("--gpus", default="", help="GPUs of this machine, each for one job at a time: 0,1,2,3")

    @classmethod
    def chosen(cls, arguments: argparse.Namespace) -> Place:
        return cls(arguments.cores, arguments.profile, arguments.gpus)

    def options(self) -> list[str]:
        """What Snakemake is told of it. Raises ParameterError where the profile is not there."""
        gpus = [name for name in self.gpus.split(",") if name]
        limit = ["--resources", f"gpu={len(gpus)}"] if gpus else []
        if self.profile is None:
            return ["--cores", str(self.cores), *limit]
        own = Path(self.profile)
        folder = own if own.is_dir() else project_root() / "params" / "profiles" / self.profile
        if not (folder / "config.yaml").exists():
            known = ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/config.yaml")))
            raise ParameterError(f"No profile {self.profile!r}: give a folder with a config.yaml, or one of {known}.")
        return ["--workflow-profile", str(folder.resolve()), *limit]


HERE = Place()


def run_series(params: Path, place: Place = HERE, target: str | None = None, dry_run: bool = False) -> Path:
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
        if before is None and place.profile is None and not dry_run:
            _say_needs(params)
        log = run.root / "snakemake.log"
        command = _command(run, params, place, target, dry_run)
        with log.open("w") as stream:
            # Snakemake calls jobs elsewhere off at SIGINT alone.
            ask = signal.SIGINT if place.profile else None
            code = processes.wait(processes.start(command, env=_environment(place), stderr=stream), ask=ask)
        if code:
            raise StageFailed(f"{_reason(run, log)}The series stopped; `make run` goes on where it stopped.")
    if dry_run:
        print(log.read_text())
    elif before == _age(run.report):
        print("Every stage is up to date.")
    else:
        _finish_pages(run)
    return run.report


def _finish_pages(run: RunFolder) -> None:
    """The notebook that wrote the report was still running then: its page is made once more."""
    from guardalign.report import notebooks  # slow to import

    notebooks.convert(run.root)


def _command(run: RunFolder, params: Path, place: Place, target: str | None, dry_run: bool) -> list[str]:
    """Snakemake in the run's folder. Our lock replaces its own, which a killed run would leave behind."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(project_root() / "Snakefile")]
    command += ["--directory", str(run.root), *place.options(), "--rerun-incomplete", "--nolock"]
    command += ["--forcerun", *again] if (again := _to_repeat(run)) else []
    command += ["--dry-run"] if dry_run else ["--quiet", "progress", "rules", "host", "reason"]
    return [*command, "--config", f"params={params.resolve()}", *(["--", target] if target else [])]


def _to_repeat(run: RunFolder) -> list[str]:
    """The rules whose replies or verdicts are damaged, or not all valid: run again, they make these alone."""
    paths = [*unsettled(run.root), *damaged(run.root / "replies")]
    return sorted({"flow2_feedback_alignment" if path.parent.name == "feedback" else "judging" for path in paths})


def _reason(run: RunFolder, log: Path) -> str:
    """What Snakemake, or the last job elsewhere that left a log, says where it failed; a stage here has said so."""
    if shutil.disk_usage(run.root).free < LEAST_FREE:  # then the logs, too, may end before they say why
        return f"The disk is full: {run.root} has no space left. Free some.\n"
    text = log.read_text(errors="replace").strip()
    jobs = sorted((run.root / SLURM_LOGS).rglob("*.log"), key=lambda path: path.stat().st_mtime)
    if jobs and str(jobs[-1]) in text:
        said = jobs[-1].read_text(errors="replace").split("Error in rule")[0].strip()
        return "\n".join(said.splitlines()[-8:]) + f"\n  See {jobs[-1]}.\n"
    if "guardalign.workflow.run_notebook" in text:
        return ""
    return "\n".join(text.splitlines()[-12:]) + "\n"


def _environment(place: Place) -> dict[str, str]:
    quiet = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return os.environ | quiet | ({slots.VARIABLE: place.gpus} if place.gpus else {})


def _say_needs(params: Path) -> None:
    """Print what the run needs; a process of its own works it out, so that this one stays small while stages run.

    With GUARDALIGN_UNCHECKED nobody asks. Raises GuardalignError where this machine has less.
    """
    if os.environ.get("GUARDALIGN_UNCHECKED"):
        return
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "guardalign.workflow.estimate", str(params), "--brief"]
        code = processes.wait(processes.start(command, stderr=said))
        said.seek(0)
        if code:
            raise GuardalignError(said.read().strip())


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
    Place.add_arguments(parser)
    parser.add_argument("--target", help="a file of the run's folder to make, instead of the report")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and why")
    arguments = parser.parse_args()
    if "MAKELEVEL" in os.environ:
        processes.die_with_parent(signal.SIGTERM)
    try:
        report = run_series(arguments.params, Place.chosen(arguments), arguments.target, arguments.dry_run)
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
