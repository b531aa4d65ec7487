"""Training and generation as processes of their own: ``accelerate launch`` from a notebook cell.

The child has its own process group and watches the caller: when the caller is interrupted or killed, no process is left
behind. SIGTERM to the caller is passed on, so that a checkpoint is saved. Kind ``none`` works in this process.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import psutil

from guardalign.data.conversations import Reply
from guardalign.data.examples import Example, Prompt
from guardalign.errors import Preempted, StageFailed
from guardalign.files import read_rows, write_rows, write_text
from guardalign.generation.replies import GenerationJob, generate
from guardalign.launch import accelerate_config, launch_settings
from guardalign.processes import (
    CALLER,
    PREEMPTED,
    PROCESSES,
    STUCK,
    Sigterm,
    caller_id,
    end_tree,
    environment,
)
from guardalign.training import TrainingConfig, TrainingResult, train
from guardalign.training.arm_folder import Log, finished, training_fingerprint

LAST_LINES = 25
SECONDS_TO_END = 10.0
ENDED_BY_SIGTERM = (PREEMPTED, STUCK, -signal.SIGTERM)
_EXIT_CODE = re.compile(r"exitcode\s*:\s*(-?\d+)|non-zero exit status (\d+)")


def run_training(
    config: TrainingConfig, examples: Sequence[Example], kind: str = "none", log: Log = print
) -> TrainingResult:
    """Train one arm, in this process or by ``accelerate launch``.

    ``kind`` names ``params/accelerate/<kind>.yaml``. A finished arm is returned as it is, and nothing is started. The
    log is in ``<output>/training.log``. Raises ``StageFailed`` with the log's last lines if the child fails or ends
    without its product; ``Preempted`` if SIGTERM ended it; ``ParameterError`` for an unknown kind.
    """
    if kind == "none":
        return train(config, examples, log)
    settings, fingerprint = accelerate_config(kind), training_fingerprint(config, examples)
    if done := finished(config.output, fingerprint, log):
        log(f"{config.arm}: unchanged since it was trained, left as it is")
        return done
    job, log_file = write_job(config, examples), config.output / "training.log"
    launch("guardalign.training", settings, [job], [config.arm], log_file, log)
    if (result := finished(config.output, fingerprint, log)) is None:
        raise StageFailed(f"{config.arm}: training finished without an error but left no result in {config.output}")
    return result.model_copy(update={"skipped": False})


def write_job(config: TrainingConfig, examples: Sequence[Example]) -> Path:
    """The file that ``python -m guardalign.training`` reads, with the examples next to it."""
    job = config.output / "job"
    write_rows(job / "examples.jsonl", examples)
    whole = config.model_copy(update={"data": (job / "examples.jsonl").resolve()})
    write_text(job / "config.json", whole.model_dump_json(indent=1))
    return job / "config.json"


def run_generation(job: GenerationJob, pairs: Sequence[Prompt], kind: str = "none", log: Log = print) -> list[Reply]:
    """``generation.generate`` in this process or, prompts dealt over its processes, by ``accelerate launch``.

    The job and its log are in ``.jobs/<output's stem>`` next to ``job.output``. Existing replies are not made
    again, regardless of the number of processes that made them. Raises what ``generate`` and ``run_training`` raise.
    """
    if kind == "none":
        return generate(job.model, pairs, job.arm, job.settings, job.output, log)
    store = job.store(pairs)
    if not store.is_complete():
        folder = job.output.parent / ".jobs" / job.output.stem
        write_rows(folder / "pairs.jsonl", pairs)
        paths = {"output": job.output.resolve(), "pairs": (folder / "pairs.jsonl").resolve()}
        write_text(folder / "job.json", job.model_copy(update=paths).model_dump_json(indent=1))
        settings, log_file = accelerate_config(kind), folder / "generation.log"
        launch("guardalign.generation", settings, [folder / "job.json"], [job.arm], log_file, log)
    if not store.is_complete():
        raise StageFailed(f"{job.arm}: generation finished without an error but left no replies in {job.output}")
    return read_rows(job.output, Reply)


def launch(module: str, config: Path, jobs: Sequence[Path], arms: Sequence[str], log_file: Path, log: Log) -> None:
    """``accelerate launch`` a package's ``__main__`` on the ``arms``' job files. Raises StageFailed, or Preempted."""
    settings = launch_settings(config)
    # Port 0 takes a free one; machines that must find each other keep the port of their configuration.
    port = [] if int(settings.get("num_machines", 1)) > 1 else ["--main_process_port", "0"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), *port]
    library = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
    variables = {"PYTHONPATH": path, CALLER: caller_id(), PROCESSES: str(settings["num_processes"])}
    log_file.parent.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(
        [*launcher, "-m", module, *map(str, jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment(**variables),
        start_new_session=True,
    )
    with Sigterm(lambda: _pass_on(child.pid)) as sigterm:
        try:
            last, error = _stream(child, log_file, arms, log)
            code = child.wait()
        finally:
            end_tree(child.pid, patience=SECONDS_TO_END)
    tail, names = "\n".join(last), ", ".join(arms)
    if sigterm.came or (code and _first_to_end(tail) in ENDED_BY_SIGTERM):
        raise Preempted(error.removeprefix("error: ") or f"{names}: ended by SIGTERM; start it again")
    if code:
        memory = "a process was killed (too little memory is the usual cause)" if "SIGKILL" in tail else ""
        why = "; ".join(filter(None, [f"{names}: {module} ended with exit code {code}", error or memory]))
        raise StageFailed(f"{why}; the log is in {log_file} and ends:\n{tail}")


def _first_to_end(report: str) -> int | None:
    """The exit code of the process that ended first, by the launcher's report.

    A launcher that lost a process ends the others by SIGTERM; that is not a pre-emption.
    """
    codes = ["".join(found) for found in _EXIT_CODE.findall(report)]
    return int(codes[-1]) if codes else None


def _pass_on(launcher: int) -> None:
    """Send SIGTERM to the workers. The launcher would kill them after 30 s, too soon for a large checkpoint."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(launcher)
        for each in process.children() or [process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()


def _stream(child: subprocess.Popen[str], log_file: Path, arms: Sequence[str], log: Log) -> tuple[deque[str], str]:
    """Write every line to the file and log the arms' own.

    Returns the last lines, and a worker's first error line, which the launcher's output may have pushed out of them.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    error = ""
    prefixes = tuple(f"{name}:" for name in arms)
    assert child.stdout is not None
    with log_file.open("ab", buffering=0) as stream:  # unbuffered: closing the file writes nothing that could fail
        for line in child.stdout:
            with contextlib.suppress(OSError):  # on a full disk, keep reading the workers' messages without the log
                stream.write(line.encode(errors="replace"))
            text = line.rstrip()
            last.append(text)
            if not error and text.startswith("error: "):
                error = text
            if text.startswith(prefixes):
                log(text)
    return last, error
