"""Training and generation as processes of their own: ``accelerate launch`` from a notebook cell, log and end checked.

The child lives in its own process group and watches the caller: when the caller is interrupted or killed, nothing of
it is left behind; SIGTERM to the caller is passed on, so that a checkpoint is saved. Kind ``none`` works in this
process.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import yaml

from guardalign.data.conversations import Reply
from guardalign.data.examples import Example, Prompt
from guardalign.errors import Preempted, StageFailed
from guardalign.files import read_rows, write_rows, write_text
from guardalign.generation.replies import GenerationJob, GenerationSettings, generate
from guardalign.launch import accelerate_config
from guardalign.processes import (
    CALLER,
    PREEMPTED,
    PROCESSES,
    STUCK,
    Sigterm,
    caller_mark,
    end_tree,
    environment,
)
from guardalign.training import TrainingConfig, TrainingResult, train
from guardalign.training.finish import finished, training_fingerprint

Log = Callable[[str], object]
LAST_LINES = 25
SECONDS_TO_END = 10.0
ENDED_BY_SIGTERM = (PREEMPTED, STUCK, -signal.SIGTERM)
_EXIT_CODE = re.compile(r"exitcode\s*:\s*(-?\d+)|non-zero exit status (\d+)")


def run_training(
    config: TrainingConfig, examples: Sequence[Example], kind: str = "none", log: Log = print
) -> TrainingResult:
    """Train one arm: ``launch_all`` of a single job."""
    return launch_all([(config, examples)], kind, log)[0]


def launch_all(
    jobs: Sequence[tuple[TrainingConfig, Sequence[Example]]], kind: str = "none", log: Log = print
) -> list[TrainingResult]:
    """Train arms one after the other, in this process or by one ``accelerate launch``.

    ``kind`` names ``params/accelerate/<kind>.yaml``. Finished arms are returned as they are; if all are, nothing is
    started. The whole log is in the first started arm's ``<output>/training.log``. Raises ``StageFailed`` with the
    log's last lines if the child fails or ends without its product; ``Preempted`` if SIGTERM ended it;
    ``ParameterError`` for an unknown kind.
    """
    if kind == "none":
        return [train(config, examples, log) for config, examples in jobs]
    settings = accelerate_config(kind)
    marks = [training_fingerprint(config, examples) for config, examples in jobs]
    done = [finished(config.output, mark, log) for (config, _), mark in zip(jobs, marks, strict=True)]
    todo = [job for job, result in zip(jobs, done, strict=True) if result is None]
    if todo:
        files = [_write_job(config, examples) for config, examples in todo]
        log_file = todo[0][0].output / "training.log"
        _run("guardalign.training", settings, files, [config.arm for config, _ in todo], log_file, log)
    results = []
    for (config, _), mark, earlier in zip(jobs, marks, done, strict=True):
        if earlier is not None:
            log(f"{config.arm}: unchanged since it was trained, left as it is")
            results.append(earlier)
        elif (made := finished(config.output, mark, log)) is not None:
            results.append(made.model_copy(update={"skipped": False}))
        else:
            raise StageFailed(f"{config.arm}: training ended well but left no result in {config.output}")
    return results


def run_generation(
    model_dir: str | Path,
    pairs: Sequence[Prompt],
    arm: str,
    settings: GenerationSettings,
    output: Path,
    kind: str = "none",
    log: Log = print,
) -> list[Reply]:
    """``generation.generate`` in this process or, prompts dealt over its processes, by ``accelerate launch``.

    The job and its log are in ``.jobs/<output's stem>`` next to ``output``. Existing replies are not made
    again, regardless of the number of processes that made them. Raises what ``generate`` and ``launch_all`` raise.
    """
    job = GenerationJob(model=str(model_dir), arm=arm, settings=settings, output=output.resolve())
    if kind == "none":
        return generate(model_dir, pairs, arm, settings, output, log)
    store = job.store(pairs)
    if not store.is_complete():
        folder = output.parent / ".jobs" / output.stem
        write_rows(folder / "pairs.jsonl", pairs)
        whole = job.model_copy(update={"pairs": (folder / "pairs.jsonl").resolve()})
        write_text(folder / "job.json", whole.model_dump_json(indent=1))
        files, log_file = [folder / "job.json"], folder / "generation.log"
        _run("guardalign.generation", accelerate_config(kind), files, [arm], log_file, log)
    if not store.is_complete():
        raise StageFailed(f"{arm}: generation ended well but left no replies in {output}")
    return read_rows(output, Reply)


def _write_job(config: TrainingConfig, examples: Sequence[Example]) -> Path:
    job = config.output / "job"
    write_rows(job / "examples.jsonl", examples)
    whole = config.model_copy(update={"data": (job / "examples.jsonl").resolve()})
    write_text(job / "config.json", whole.model_dump_json(indent=1))
    return job / "config.json"


def _run(module: str, config: Path, jobs: Sequence[Path], arms: Sequence[str], log_file: Path, log: Log) -> None:
    """``accelerate launch`` a package's ``__main__`` on job files, to its end. Raises StageFailed, or Preempted."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    # Port 0 takes a free one; machines that must find each other keep the port of their configuration.
    port = [] if int(settings.get("num_machines", 1)) > 1 else ["--main_process_port", "0"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), *port]
    library = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, CALLER: caller_mark(), PROCESSES: str(settings["num_processes"])}
    log_file.parent.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(
        [*launcher, "-m", module, *map(str, jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment(**own),
        start_new_session=True,
    )
    with Sigterm(lambda: _pass_on(child.pid)) as sigterm:
        try:
            last, said = _stream(child, log_file, arms, log)
            code = child.wait()
        finally:
            end_tree(child.pid, patience=SECONDS_TO_END)
    tail, names = "\n".join(last), ", ".join(arms)
    if sigterm.came or (code and _first_to_end(tail) in ENDED_BY_SIGTERM):
        raise Preempted(said.removeprefix("error: ") or f"{names}: ended by SIGTERM; start it again")
    if code:
        memory = "a process was killed (too little memory is the usual cause)" if "SIGKILL" in tail else ""
        why = "; ".join(filter(None, [f"{names}: {module} ended with exit code {code}", said or memory]))
        raise StageFailed(f"{why}; the log is in {log_file} and ends:\n{tail}")


def _first_to_end(report: str) -> int | None:
    """The exit code of the process that ended first, according to the end of the launcher's report.

    A launcher that lost a process ends the others by SIGTERM; that is no pre-emption.
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
    """Write every line to the file, pass the arms' own on, and return the last lines of all.

    With them comes the first error that a worker named, which the launcher's output may have pushed out.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    said = ""
    prefixes = tuple(f"{name}:" for name in arms)
    assert child.stdout is not None
    with log_file.open("ab", buffering=0) as stream:  # nothing is left to be written, and to fail, at the end
        for line in child.stdout:
            with contextlib.suppress(OSError):  # on a full disk the workers' messages matter more than the log
                stream.write(line.encode(errors="replace"))
            text = line.rstrip()
            last.append(text)
            if not said and text.startswith("error: "):
                said = text
            if text.startswith(prefixes):
                log(text)
    return last, said
