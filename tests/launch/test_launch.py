from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from guardalign.data.examples import Example
from guardalign.errors import ParameterError, Preempted, StageFailed
from guardalign.files import write_rows, write_text
from guardalign.launch import gpus
from guardalign.launch.accelerate import (
    ENDED_BY_SIGTERM,
    _first_to_end,
    accelerate_config,
    launch,
    run_training,
    write_job,
)
from guardalign.losses import METHODS
from guardalign.training import TrainingConfig, TrainingResult, train
from guardalign.training.arm_folder import finished, training_fingerprint
from guardalign.training.checkpoints import saved
from tests.training.test_training import distance, metrics, quiet, signalled_at
from tiny import make_examples, save_checkpoint

EXAMPLES = make_examples(5, 3)
LIBRARY = str(Path(__file__).resolve().parents[2] / "lib")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder / "other", seed=1)
    return save_checkpoint(folder / "base")


def config(base: Path, output: Path, method: str = "dpo", **settings) -> TrainingConfig:
    options = {"learning_rate": 1e-3, "batch_size": 4, "epochs": 2, "warmup_ratio": 0.0, "arm": "arm", **settings}
    return TrainingConfig(model=str(base), output=output, method=method, **options)


def launch_all(arms: list[TrainingConfig], examples: list[Example], kind: str) -> list[TrainingResult]:
    """Train arms one after the other in one launch."""
    jobs = [write_job(arm, examples) for arm in arms]
    log_file = arms[0].output / "training.log"
    launch("guardalign.training", accelerate_config(kind), jobs, [arm.arm for arm in arms], log_file, quiet)
    found = [finished(arm.output, training_fingerprint(arm, examples)) for arm in arms]
    return [result for result in found if result is not None]


@pytest.fixture(scope="module")
def two(base, tmp_path_factory) -> Iterator[tuple[Path, list[TrainingResult]]]:
    """Every method by two processes, where the default port is taken and accelerate's own default is broken.

    One more arm, ``cut``, resumes from a checkpoint that one process left.
    """
    folder = tmp_path_factory.mktemp("two")
    write_text(folder / "home" / ".cache" / "huggingface" / "accelerate" / "default_config.yaml", "num_processes: [\n")
    arms = [config(base, folder / m, m, arm=m, reference=other(base), cache=folder / "cache") for m in METHODS]
    cut = config(base, folder / "cut", "kto", epochs=8, save_steps=3, arm="cut", cache=folder / "cache")
    assert os.WIFSIGNALED(signalled_at(5, signal.SIGKILL, cut))
    with pytest.MonkeyPatch.context() as patch, socket.socket() as port:
        patch.setenv("HOME", str(folder / "home"))
        for name in ("HF_HOME", "XDG_CACHE_HOME"):
            patch.delenv(name, raising=False)
        with contextlib.suppress(OSError):  # then another process has it: taken all the same
            port.bind(("127.0.0.1", 29500))
            port.listen()
        yield folder, launch_all([*arms, cut], EXAMPLES, "cpu2")


def other(base: Path) -> str:
    """Another reference than the policy. KTO's baselines are cut off at 0, where a policy that is its own reference
    starts: there rounding would decide about the first step's gradient."""
    return str(base.parent / "other")


def test_two_processes_train_every_method_to_the_weights_of_one(base, two, tmp_path):
    folder, results = two
    assert [r.world_size for r in results] == [2] * (len(METHODS) + 1)
    for method in METHODS:
        one = config(base, tmp_path / method, method, reference=other(base), cache=tmp_path / "cache")
        result = train(one, EXAMPLES, quiet)
        assert distance(tmp_path / method, folder / method) < 2e-5, method
        for a, b in zip(metrics(one.output), metrics(folder / method), strict=True):
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-4, abs=1e-5)
            assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3, abs=1e-5)
        assert result.logical_tokens == next(r for r in results if r.arm == method).logical_tokens


def test_a_taken_port_and_a_broken_default_configuration_have_no_influence(two):
    """The control: without a configuration of its own, accelerate fails over this very one."""
    folder, results = two
    assert {result.world_size for result in results} == {2}
    with socket.socket() as port, pytest.raises(OSError, match="in use"):
        port.bind(("127.0.0.1", 29500))
    ask = "from accelerate.commands.config import load_config_from_file as load; load(None)"
    bare = {"HOME": str(folder / "home"), "PATH": os.environ["PATH"]}
    asked = subprocess.run([sys.executable, "-c", ask], env=bare, capture_output=True, text=True)
    assert asked.returncode and "while parsing" in asked.stderr


def test_two_processes_resume_from_the_checkpoint_of_one(base, two, tmp_path):
    folder, results = two
    assert (results[-1].arm, results[-1].resumed_step, results[-1].world_size) == ("cut", 3, 2)
    train(config(base, tmp_path / "whole", "kto", epochs=8, cache=tmp_path / "cache"), EXAMPLES, quiet)
    assert distance(tmp_path / "whole", folder / "cut") < 2e-5


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ParameterError, match="cpu3"):
        accelerate_config("cpu3")


@pytest.mark.parametrize("content", ["", "use_cpu: true", "num_processes: [", "num_processes: two"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path, content):
    write_text(tmp_path / "own.yaml", content)
    with pytest.raises(ParameterError, match=r"own.yaml is no accelerate configuration with num_processes"):
        gpus({"kind": str(tmp_path / "own.yaml")}, ["launch", "training"])


def test_a_configuration_that_silently_runs_one_process_is_refused(base, tmp_path):
    path = tmp_path / "multi_cpu.yaml"
    write_text(path, accelerate_config("cpu2").read_text().replace("MULTI_GPU", "MULTI_CPU"))
    lines: list[str] = []
    with pytest.raises(StageFailed, match="asks for 2 processes") as error:
        run_training(config(base, tmp_path / "arm"), EXAMPLES, str(path), lines.append)
    assert "training.log" in str(error.value)
    assert not (tmp_path / "arm" / "training.json").exists()


def test_the_error_of_the_child_is_reported_and_an_unchanged_arm_starts_nothing(base, tmp_path):
    with pytest.raises(StageFailed, match="budget of 50"):
        run_training(config(base, tmp_path / "arm", row_tokens=50), EXAMPLES, "cpu", quiet)
    assert "budget of 50" in (tmp_path / "arm" / "training.log").read_text()
    settings = config(base, tmp_path / "done")
    train(settings, EXAMPLES, quiet)
    assert run_training(settings, EXAMPLES, "cpu2", quiet).skipped
    assert not (tmp_path / "done" / "training.log").exists()


CALLER = """
import sys
from pathlib import Path
from guardalign.data.examples import Example
from guardalign.files import read_rows
from guardalign.launch.accelerate import run_training
from guardalign.training import TrainingConfig

config = TrainingConfig.model_validate_json(Path(sys.argv[1]).read_text())
run_training(config, read_rows(config.data, Example), "cpu2", lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_behind_when_the_caller_ends(base, tmp_path, end):
    write_rows(tmp_path / "data.jsonl", EXAMPLES)
    settings = config(base, tmp_path / "arm", epochs=3000, data=tmp_path / "data.jsonl", cache=tmp_path / "cache")
    write_text(tmp_path / "config.json", settings.model_dump_json())
    environment = os.environ | {"PYTHONPATH": LIBRARY, "OMP_NUM_THREADS": "1"}
    caller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CALLER), str(tmp_path / "config.json")],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: (tmp_path / "arm" / "metrics.jsonl").exists(), 60)
    started = psutil.Process(caller.pid).children(recursive=True)
    assert len(started) >= 3  # the launcher and two workers
    caller.send_signal(end)
    caller.wait(30)
    wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in started), 20)


def wait_for(condition, seconds: float, pause: float = 0.1) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(pause)


def workers() -> list[psutil.Process]:
    """This process's training children, without the launcher above them."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "guardalign.training" in process.cmdline() and "accelerate.commands.launch" not in process.cmdline()
    ]


@contextlib.contextmanager
def as_soon_as(condition: Callable[[], object], act: Callable[[], object]) -> Iterator[None]:
    """Do ``act`` from a thread, once, when ``condition`` holds."""

    def look() -> None:
        wait_for(condition, 300, 0.02)
        act()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive(), "what was waited for did not come"


def test_a_lost_process_ends_the_launch_and_pre_emption_saves_and_one_process_completes(base, tmp_path):
    """One arm: a rank killed mid-step, resumed by two processes, ended by SIGTERM, resumed by one."""
    settings = {"epochs": 16, "learning_rate": 3e-4, "reference": other(base), "cache": tmp_path / "cache"}
    arm = config(base, tmp_path / "cut", "kto", save_steps=2, **settings)
    lost: list[float] = []

    def lose_one() -> None:
        workers()[-1].kill()
        lost.append(time.monotonic())

    with as_soon_as(lambda: saved(arm.output / "checkpoints"), lose_one), pytest.raises(StageFailed) as error:
        run_training(arm, EXAMPLES, "cpu2", quiet)
    assert time.monotonic() - lost[0] < 30, "the launch must notice a lost process"
    assert "exit code" in str(error.value) and "a process was killed" in str(error.value)
    assert not workers()

    endless = arm.model_copy(update={"save_steps": 10_000})
    before = len(metrics(arm.output))
    lines: list[str] = []
    with (
        as_soon_as(lambda: len(metrics(arm.output)) > before + 1, lambda: os.kill(os.getpid(), signal.SIGTERM)),
        pytest.raises(Preempted, match=r"saved after step \d+"),
    ):
        run_training(endless, EXAMPLES, "cpu2", lines.append)
    assert any("resuming after step" in line for line in lines)
    assert not workers()
    done = len(metrics(arm.output))
    result = train(endless, EXAMPLES, quiet)
    assert before < done == result.resumed_step < result.steps
    train(config(base, tmp_path / "whole", "kto", **settings), EXAMPLES, quiet)
    assert distance(tmp_path / "cut", tmp_path / "whole") < 2e-5


REPORT = """
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : {others} (pid: 22626)
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : {first} (pid: 22627)  (SIGKILL)
============================================================
"""


@pytest.mark.parametrize(
    "first, others, lost", [(-9, 75, True), (1, -15, True), (-11, 75, True), (75, 75, False), (-15, 75, False)]
)
def test_a_lost_process_is_distinguished_from_pre_emption_by_the_first_exit(first, others, lost):
    """The launcher then ends the others, and one that is between two steps leaves the mark of pre-emption."""
    assert (_first_to_end(REPORT.format(first=first, others=others)) not in ENDED_BY_SIGTERM) is lost
    assert _first_to_end("M_1SFT: step 3/8") is None


CAP = """
import resource, sys
if "guardalign.training" in sys.orig_argv and "accelerate.commands.launch" not in sys.orig_argv:
    resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
"""


def test_too_little_memory_is_reported_with_what_to_lower(tmp_path, monkeypatch):
    write_text(tmp_path / "cap" / "sitecustomize.py", CAP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "cap"))
    wide = save_checkpoint(tmp_path / "wide", intermediate_size=120_000)
    with pytest.raises(StageFailed, match="row_tokens"):
        run_training(config(wide, tmp_path / "arm", "sft", batch_size=16), EXAMPLES, "cpu", quiet)
