"""``guardalign run PARAMS``: the whole series by one command.

Checks the parameters, makes sure that no other run works in the folder, and hands over to Snakemake, which executes the
notebooks that are not up to date. Snakemake keeps its state in the run's folder.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guardalign import processes
from guardalign.config.params import Params
from guardalign.errors import GuardalignError, ParameterError, StageFailed
from guardalign.files import RunFolder, damaged, project_root, resolved
from guardalign.judging.stage import incomplete
from guardalign.processes import LOCK
from guardalign.workflow.run_notebook import BUSY

LEAST_FREE = 64 * 1024  # bytes
PATIENCE = 30.0
SLURM_LOGS = Path(".snakemake") / "slurm_logs"


@dataclass(frozen=True)
class Resources:
    """Where stages run: here, on ``cores`` cores, or as ``profile`` specifies.

    ``profile`` is a folder of ``params/profiles/`` or your own, with a Snakemake ``config.yaml``; how many jobs or
    cores are used at once is set there.
    """

    cores: int = 1
    profile: str | None = None

    @staticmethod
    def add_arguments(parser: ArgumentParser) -> None:
        parser.add_argument("--cores", type=int, default=1, help="cores of this machine to use (default: 1)")
        parser.add_argument("--profile", help="where stages run: slurm, or a folder with a Snakemake config.yaml")

    def options(self) -> list[str]:
        """Snakemake's options for it. Raises ParameterError if the profile is not there."""
        if self.profile is None:
            return ["--cores", str(self.cores)]
        named = Path(self.profile)
        folder = named if named.is_dir() else project_root() / "params" / "profiles" / self.profile
        if not (folder / "config.yaml").exists():
            known = ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/config.yaml")))
            raise ParameterError(f"No profile {self.profile!r}: give a folder with a config.yaml, or one of {known}.")
        return ["--workflow-profile", str(folder.resolve())]


def run_series(params: Path, resources: Resources, target: str | None, dry_run: bool, again: bool) -> Path:
    """Bring ``target`` (None: the report) of a parameter file's run up to date and return its path.

    With ``dry_run`` nothing is executed: Snakemake's plan and reasons are printed. With ``again`` every stage is
    executed; what it finds finished and whole (models, replies, verdicts) is kept.

    Raises GuardalignError if the parameters are wrong, the folder is in use, or a stage failed; processes.Ended
    if a signal ended this process.
    """
    settings = checked(params)
    if target == "tables/tuning.csv":
        settings.check_tuning()
    run = RunFolder.named(settings.run)
    product = run.root / target if target else run.report
    with processes.alone_in(run.root):
        _wait_for_earlier_stages(run)
        before = _modified(product)
        if _modified(run.report) is None and resources.profile is None and not dry_run:
            _print_estimate(params)
        _undo_future_times(run)
        if run.is_damaged:
            print(f"{run.root / 'run.json'} is damaged: every stage is executed again; finished work is kept.")
            again = True
        log = run.root / "snakemake.log"
        command = _command(run, params, resources, dry_run, again) + (["--", target] if target else [])
        with log.open("w", encoding="utf-8") as stream:
            # Snakemake cancels remote jobs only on SIGINT.
            ask = signal.SIGINT if resources.profile else None
            env = processes.environment(
                TOKENIZERS_PARALLELISM="false", PYDEVD_DISABLE_FILE_VALIDATION="1", PYTHONUTF8="1"
            )
            child = processes.start(command, env=env, stderr=stream)
            code = processes.wait(child, ask=ask)
        if code:
            raise StageFailed(f"{_reason(run, log)}The series stopped; `{this_command(params)}` resumes it.")
    if dry_run:
        print(log.read_text(encoding="utf-8"))
    elif before == _modified(product):
        print("Every stage is up to date.")
    elif target is None:
        from guardalign.report import notebooks  # slow to import

        notebooks.convert(run.root)  # once more: the notebook that wrote the report was still running then
    return product


def checked(params: Path) -> Params:
    """The parameters, with what they name on the disk. Raises ParameterError."""
    settings = Params.load(params)
    source = settings.source
    named = {"source.path": source.path if source.kind == "jsonl" else None, "source.prompts": source.prompts}
    named |= {"judge.recording": settings.judge.recording, "judge.prompts": settings.judge.prompts}
    named |= {f"side_effects.{key}": path for key, path in settings.side_effects if key != "count"}
    for key, path in named.items():
        if path and not resolved(path).exists():
            raise ParameterError(f"{params}: {key}: {resolved(path)} does not exist")
    return settings


def this_command(params: Path) -> str:
    """The command to run ``params`` again, by make where make is what started this."""
    if "MAKELEVEL" in os.environ:
        return f"make run PARAMS={params}"
    program = Path(sys.executable).with_name("guardalign")
    shown = "guardalign" if shutil.which("guardalign") == str(program) else _shown(program)
    return f"{shown} run {params}"


def _command(run: RunFolder, params: Path, resources: Resources, dry_run: bool, again: bool) -> list[str]:
    """Snakemake in the run's folder. Our lock replaces its own, which a killed run would leave behind."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(project_root() / "Snakefile")]
    command += ["--directory", str(run.root), *resources.options(), "--rerun-incomplete", "--nolock"]
    if again:
        command += ["--forceall"]
    elif rules := _to_repeat(run):
        command += ["--forcerun", *rules]
    command += ["--dry-run"] if dry_run else ["--quiet", "progress", "rules", "host", "reason"]
    return [*command, "--config", f"params={params.resolve()}"]


def _to_repeat(run: RunFolder) -> list[str]:
    """The rules whose pairs, replies or verdicts are damaged, or not all valid: run again, they make these alone."""
    judge = run.facts.get("06_judging", {}).get("judge")
    paths = [
        *(incomplete(run.root, judge) if judge else ()),
        *damaged(run.root / "replies"),
        *damaged(run.root / "data"),
    ]
    rules = {"feedback": "flow2_feedback_alignment", "data": "flow2_feedback_alignment"}
    again = {rules.get(path.parent.name, "judging") for path in paths if path != run.data("pairs")}
    return sorted(again | ({"dataset_construction"} if run.data("pairs") in paths else set()))


def _reason(run: RunFolder, log: Path) -> str:
    """The error of Snakemake or of the last remote job that left a log; local stages have printed their own."""
    if shutil.disk_usage(run.root).free < LEAST_FREE:  # then the logs may also end before the reason
        return f"The disk is full: {run.root} has no space left. Free some.\n"
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    jobs = sorted((run.root / SLURM_LOGS).rglob("*.log"), key=lambda path: path.stat().st_mtime)
    if jobs and str(jobs[-1]) in text:
        message = jobs[-1].read_text(encoding="utf-8", errors="replace").split("Error in rule")[0].strip()
        return "\n".join(message.splitlines()[-8:]) + f"\n  See {jobs[-1]}.\n"
    if re.search("^Error in rule", text, re.MULTILINE):
        return ""
    return "\n".join(text.splitlines()[-12:]) + f"\n  See {_shown(log)}.\n"


def _print_estimate(params: Path) -> None:
    """Print what the run needs; estimated in a child process, so that this one stays small while stages run.

    Skipped with GUARDALIGN_UNCHECKED. Raises GuardalignError if this machine has less.
    """
    if os.environ.get("GUARDALIGN_UNCHECKED"):
        return
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", "guardalign.workflow.cli", "estimate", str(params), "--brief"]
        code = processes.wait(processes.start(command, stderr=errors))
        errors.seek(0)
        if code:
            raise GuardalignError(errors.read().strip())


def _wait_for_earlier_stages(run: RunFolder) -> None:
    """Wait until the stages of a run that was just killed have ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with processes.locked(run.root / BUSY) as free:
            if free is not None:
                return
        time.sleep(0.2)
    raise GuardalignError(f"A stage of an earlier run is still running in {run.root}.")


def _undo_future_times(run: RunFolder) -> None:
    """Set products dated in the future, by a clock ahead of this one, to the present time of the folder's file system:
    Snakemake fails if inputs are newer than what is made of them."""
    (run.root / LOCK).touch()
    now = (run.root / LOCK).stat().st_mtime
    products = [*run.root.glob("data/*"), *run.root.glob("tables/*"), run.report]
    for path in products:
        if path.exists() and path.stat().st_mtime > now:
            os.utime(path, (now, now))


def _modified(path: Path) -> float | None:
    return path.stat().st_mtime if path.exists() else None


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def command(parser: ArgumentParser, argv: Sequence[str]) -> int:
    parser.add_argument("params", type=Path, help="a parameter file, e.g. params/embedded.yaml")
    Resources.add_arguments(parser)
    parser.add_argument("--target", help="a file of the run's folder to make instead of the report")
    parser.add_argument("--again", action="store_true", help="rerun every stage; finished models and replies are kept")
    parser.add_argument("--dry-run", action="store_true", help="show what would run, and why")
    arguments = parser.parse_args(argv)
    if "MAKELEVEL" in os.environ:
        processes.die_with_parent(signal.SIGTERM)
    resources = Resources(arguments.cores, arguments.profile)
    try:
        product = run_series(arguments.params, resources, arguments.target, arguments.dry_run, arguments.again)
    except processes.Ended as ended:
        print(f"Stopped. `{this_command(arguments.params)}` resumes.", file=sys.stderr)
        return 128 + ended.signal_number
    if not arguments.dry_run:
        print(f"{'Made' if arguments.target else 'Report'}: {_shown(product)}")
    return 0


def check_command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("params", type=Path, nargs="+", help="parameter files")
    for path in parser.parse_args(argv).params:
        checked(path)
        print(f"{path}: every parameter is known and in range.")
