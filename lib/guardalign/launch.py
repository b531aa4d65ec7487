"""Training as a process of its own: ``accelerate launch`` from a notebook cell, its log streamed, its end checked.

The child lives in its own process group and watches the caller: when the caller is interrupted or killed, nothing of
the training is left behind. Kind ``none`` trains in this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from guardalign.encoding import Example
from guardalign.errors import ParameterError, StageFailed
from guardalign.files import project_root, write_rows, write_text
from guardalign.processes import end_tree
from guardalign.training import TrainingConfig, TrainingResult, train
from guardalign.training.finish import finished, training_fingerprint
from guardalign.training.watch import CALLER, PROCESSES, caller_mark

Log = Callable[[str], object]
LAST_LINES = 25
SECONDS_BETWEEN_LINES = 1.0
SECONDS_TO_END = 10.0


def run_training(
    config: TrainingConfig, examples: Sequence[Example], kind: str = "none", log: Log = print
) -> TrainingResult:
    """Train one arm: ``launch_all`` of a single job."""
    return launch_all([(config, examples)], kind, log)[0]


def launch_all(
    jobs: Sequence[tuple[TrainingConfig, Sequence[Example]]], kind: str = "none", log: Log = print
) -> list[TrainingResult]:
    """Train arms one after the other, in this process or by one ``accelerate launch``.

    ``kind`` names ``params/accelerate/<kind>.yaml``. Finished arms are returned as they are; where all are, nothing is
    started. The whole log is in the first started arm's ``<output>/training.log``. Raises ``StageFailed`` with the
    log's last lines where the child fails, ends without its product, or ran on another number of processes than the
    configuration asks for; ``ParameterError`` for an unknown kind.
    """
    if kind == "none":
        return [train(config, examples, log) for config, examples in jobs]
    settings = accelerate_config(kind)
    marks = [training_fingerprint(config, examples) for config, examples in jobs]
    done = [finished(config, mark) for (config, _), mark in zip(jobs, marks, strict=True)]
    todo = [job for job, result in zip(jobs, done, strict=True) if result is None]
    processes = int(yaml.safe_load(settings.read_text(encoding="utf-8"))["num_processes"])
    if todo:
        files = [_write_job(config, examples) for config, examples in todo]
        names = [config.arm for config, _ in todo]
        _run(_command(settings, files), processes, todo[0][0].output / "training.log", names, log)
    results = []
    for (config, _), mark, earlier in zip(jobs, marks, done, strict=True):
        if earlier is not None:
            log(f"{config.arm}: unchanged since it was trained, left as it is")
            results.append(earlier)
        else:
            results.append(_product(config, mark, settings, processes))
    return results


def _write_job(config: TrainingConfig, examples: Sequence[Example]) -> Path:
    job = config.output / "job"
    write_rows(job / "examples.jsonl", examples)
    told = config.model_copy(update={"data": (job / "examples.jsonl").resolve()})
    write_text(job / "config.json", told.model_dump_json(indent=1))
    return job / "config.json"


def _product(config: TrainingConfig, mark: str, settings: Path, processes: int) -> TrainingResult:
    result = finished(config, mark)
    if result is None:
        raise StageFailed(f"{config.arm}: training ended well but left no result in {config.output}")
    if result.world_size != processes:
        raise StageFailed(f"{config.arm}: {settings} asks for {processes} processes, {result.world_size} ran")
    return result.model_copy(update={"skipped": False})


def accelerate_config(kind: str) -> Path:
    """The accelerate configuration of a kind, or ``kind`` itself where it is a file."""
    folder = project_root() / "params" / "accelerate"
    path = Path(kind) if Path(kind).is_file() else folder / f"{kind}.yaml"
    if not path.exists():
        known = ", ".join(["none", *sorted(file.stem for file in folder.glob("*.yaml"))])
        raise ParameterError(f"launch.kind: {kind!r} is none of {known}")
    return path


def _command(settings: Path, jobs: Sequence[Path]) -> list[str]:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings)]
    several_machines = int(yaml.safe_load(settings.read_text(encoding="utf-8")).get("num_machines", 1)) > 1
    # Port 0 takes a free one; machines that must find each other keep the port of their configuration.
    port = [] if several_machines else ["--main_process_port", "0"]
    return [*launcher, *port, "-m", "guardalign.training", *map(str, jobs)]


def _run(command: list[str], processes: int, log_file: Path, names: Sequence[str], log: Log) -> None:
    library = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        CALLER: caller_mark(),
        PROCESSES: str(processes),
    }
    log_file.parent.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    try:
        last = _stream(child, log_file, names, log)
        code = child.wait()
    finally:
        end_tree(child.pid, SECONDS_TO_END)
    if code != 0:
        tail = "\n".join(last)
        raise StageFailed(
            f"{', '.join(names)}: training ended with exit code {code}; the log is in {log_file} and ends:\n{tail}"
        )


def _stream(child: subprocess.Popen[str], log_file: Path, names: Sequence[str], log: Log) -> deque[str]:
    """Write every line to the file, pass on the arms' own ones (at most one a second), and keep the last of all."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    passed, held = 0.0, None
    prefixes = tuple(f"{name}:" for name in names)
    assert child.stdout is not None
    with log_file.open("a", encoding="utf-8") as stream:
        for line in child.stdout:
            stream.write(line)
            stream.flush()
            text = line.rstrip()
            last.append(text)
            if not text.startswith(prefixes):
                continue
            now = time.monotonic()
            if "WARNING" in text or now - passed >= SECONDS_BETWEEN_LINES:
                passed, held = now, None
                log(text)
            else:
                held = text
    if held is not None:
        log(held)
    return last
