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
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from guardalign.data.conversations import PreferencePair, Reply
from guardalign.data.examples import Example
from guardalign.errors import ParameterError, StageFailed
from guardalign.files import project_root, read_rows, write_rows, write_text
from guardalign.generation.job import GenerationJob
from guardalign.generation.replies import GenerationSettings, generate
from guardalign.processes import end_tree
from guardalign.training import Preempted, TrainingConfig, TrainingResult, train
from guardalign.training.ending import PREEMPTED, PREEMPTED_MARK, STUCK, Sigterm
from guardalign.training.finish import finished, training_fingerprint
from guardalign.training.watch import CALLER, PROCESSES, caller_mark

Log = Callable[[str], object]
LAST_LINES = 25
SECONDS_BETWEEN_LINES = 1.0
SECONDS_TO_END = 10.0
_EXIT_CODE = re.compile(r"exitcode\s*:\s*(-?\d+)")


@dataclass(frozen=True)
class _Launch:
    """What ``accelerate launch`` is to run: a package's ``__main__`` on job files, for the arms ``names``."""

    module: str
    settings: Path
    jobs: Sequence[Path]
    names: Sequence[str]
    log_file: Path

    @property
    def command(self) -> list[str]:
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(self.settings)]
        machines = int(yaml.safe_load(self.settings.read_text(encoding="utf-8")).get("num_machines", 1))
        # Port 0 takes a free one; machines that must find each other keep the port of their configuration.
        port = [] if machines > 1 else ["--main_process_port", "0"]
        return [*launcher, *port, "-m", self.module, *map(str, self.jobs)]

    @property
    def environment(self) -> dict[str, str]:
        library = str(Path(__file__).resolve().parents[2])
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
            CALLER: caller_mark(),
            PROCESSES: str(_processes(self.settings)),
        }


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
    configuration asks for; ``Preempted`` where it was told to end and saved; ``ParameterError`` for an unknown kind.
    """
    if kind == "none":
        return [train(config, examples, log) for config, examples in jobs]
    settings = accelerate_config(kind)
    marks = [training_fingerprint(config, examples) for config, examples in jobs]
    done = [finished(config, mark) for (config, _), mark in zip(jobs, marks, strict=True)]
    todo = [job for job, result in zip(jobs, done, strict=True) if result is None]
    if todo:
        files = [_write_job(config, examples) for config, examples in todo]
        names, outputs = [config.arm for config, _ in todo], [config.output for config, _ in todo]
        launch = _Launch("guardalign.training", settings, files, names, outputs[0] / "training.log")
        _run(launch, log, [output / PREEMPTED_MARK for output in outputs])
    results = []
    for (config, _), mark, earlier in zip(jobs, marks, done, strict=True):
        if earlier is not None:
            log(f"{config.arm}: unchanged since it was trained, left as it is")
            results.append(earlier)
        else:
            results.append(_product(config, mark, settings))
    return results


def run_generation(
    model_dir: str | Path,
    pairs: Sequence[PreferencePair],
    arm: str,
    settings: GenerationSettings,
    output: Path,
    kind: str = "none",
    log: Log = print,
) -> list[Reply]:
    """``generation.generate`` in this process or, prompts dealt over its processes, by ``accelerate launch``.

    The job and its log lie in ``.jobs/<output's stem>`` beside ``output``. Replies that are there already are not made
    again, whatever the number of processes that made them. Raises what ``generate`` and ``launch_all`` raise.
    """
    job = GenerationJob(model=str(model_dir), arm=arm, settings=settings, output=output.resolve())
    if kind == "none":
        return generate(model_dir, pairs, arm, settings, output, log)
    store = job.store(pairs)
    if store.is_complete():
        return read_rows(output, Reply)
    folder = output.parent / ".jobs" / output.stem
    write_rows(folder / "pairs.jsonl", pairs)
    told = job.model_copy(update={"pairs": (folder / "pairs.jsonl").resolve()})
    write_text(folder / "job.json", told.model_dump_json(indent=1))
    launch = _Launch(
        "guardalign.generation", accelerate_config(kind), [folder / "job.json"], [arm], folder / "generation.log"
    )
    _run(launch, log)
    if not store.is_complete():
        raise StageFailed(f"{arm}: generation ended well but left no replies in {output}")
    return read_rows(output, Reply)


def _write_job(config: TrainingConfig, examples: Sequence[Example]) -> Path:
    job = config.output / "job"
    write_rows(job / "examples.jsonl", examples)
    told = config.model_copy(update={"data": (job / "examples.jsonl").resolve()})
    write_text(job / "config.json", told.model_dump_json(indent=1))
    return job / "config.json"


def _product(config: TrainingConfig, mark: str, settings: Path) -> TrainingResult:
    result, wanted = finished(config, mark), _processes(settings)
    if result is None:
        raise StageFailed(f"{config.arm}: training ended well but left no result in {config.output}")
    if result.world_size != wanted:
        raise StageFailed(f"{config.arm}: {settings} asks for {wanted} processes, {result.world_size} ran")
    return result.model_copy(update={"skipped": False})


def _processes(settings: Path) -> int:
    return int(yaml.safe_load(settings.read_text(encoding="utf-8"))["num_processes"])


def accelerate_config(kind: str) -> Path:
    """The accelerate configuration of a kind, or ``kind`` itself where it is a file."""
    folder = project_root() / "params" / "accelerate"
    path = Path(kind) if Path(kind).is_file() else folder / f"{kind}.yaml"
    if not path.exists():
        known = ", ".join(["none", *sorted(file.stem for file in folder.glob("*.yaml"))])
        raise ParameterError(f"launch.kind: {kind!r} is none of {known}")
    return path


def _run(launch: _Launch, log: Log, preempted: Sequence[Path] = ()) -> None:
    """Run to the end. Raises StageFailed, or Preempted where SIGTERM came to this process or left one of its marks.

    A launcher that lost a process tells the others to end, which leaves their marks too: that is no pre-emption.
    """
    launch.log_file.parent.mkdir(parents=True, exist_ok=True)
    for mark in preempted:
        mark.unlink(missing_ok=True)
    child = subprocess.Popen(
        launch.command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=launch.environment,
        start_new_session=True,
    )
    names = ", ".join(launch.names)
    with Sigterm(lambda: _pass_on(child.pid)) as sigterm:
        try:
            last, said = _stream(child, launch.log_file, launch.names, log)
            code = child.wait()
        finally:
            end_tree(child.pid, SECONDS_TO_END)
    told = [mark.read_text(encoding="utf-8").strip() for mark in preempted if mark.exists()]
    if sigterm.told or (told and not _lost(last)):
        raise Preempted(told[0] if told else f"{names}: told to end (SIGTERM); start it again")
    if code != 0:
        tail = "\n".join(last)
        memory = "a process was killed (too little memory is the usual cause); " if "SIGKILL" in tail else ""
        raise StageFailed(
            f"{names}: {launch.module} ended with exit code {code}; {said or memory}"
            f"the log is in {launch.log_file} and ends:\n{tail}"
        )


def _lost(lines: Iterable[str]) -> bool:
    """Whether, by the launcher's report, the process that ended first was not told to: it then tells all others."""
    codes = _EXIT_CODE.findall("\n".join(lines))  # that of the first to end stands last
    return bool(codes) and int(codes[-1]) not in (PREEMPTED, STUCK, -signal.SIGTERM)


def _pass_on(launcher: int) -> None:
    """Tell the workers to end. The launcher itself would give them 30 s, too little to save a large checkpoint."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(launcher)
        for each in process.children() or [process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()


def _stream(child: subprocess.Popen[str], log_file: Path, names: Sequence[str], log: Log) -> tuple[deque[str], str]:
    """Write every line to the file, pass on the arms' own ones (at most one a second), and keep the last of all.

    With them comes the first error that a worker named, which the launcher's own words may have pushed out.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    said = ""
    passed, held = 0.0, None
    prefixes = tuple(f"{name}:" for name in names)
    assert child.stdout is not None
    with log_file.open("ab", buffering=0) as stream:  # nothing is left to be written, and to fail, at the end
        for line in child.stdout:
            with contextlib.suppress(OSError):  # on a full disk the workers' own words matter more than the log
                stream.write(line.encode(errors="replace"))
            text = line.rstrip()
            last.append(text)
            if not said and text.startswith("error: "):
                said = f"{text}; "
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
    return last, said
