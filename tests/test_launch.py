from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from guardalign.encoding import Example
from guardalign.errors import ParameterError, StageFailed
from guardalign.files import write_rows, write_text
from guardalign.launch import accelerate_config, launch_all, run_training
from guardalign.losses import METHODS
from guardalign.training import TrainingConfig, train
from test_training import distance, metrics, quiet
from tiny import make_examples, save_checkpoint

EXAMPLES = make_examples(5, 3)
LIBRARY = str(Path(__file__).resolve().parents[1] / "lib")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "base")


def config(base: Path, output: Path, method: str = "dpo", **settings) -> TrainingConfig:
    given = {"learning_rate": 1e-3, "batch_size": 4, "epochs": 2, "warmup_ratio": 0.0, "arm": "arm", **settings}
    return TrainingConfig(model=str(base), output=output, method=method, **given)


def test_two_processes_train_every_method_to_the_weights_of_one(base, tmp_path):
    arms = [config(base, tmp_path / "two" / m, m, arm=m, cache=tmp_path / "cache2") for m in METHODS]
    results = launch_all([(arm, EXAMPLES) for arm in arms], "cpu2", quiet)
    assert [r.world_size for r in results] == [2] * len(METHODS)
    for method in METHODS:
        one = config(base, tmp_path / "one" / method, method, cache=tmp_path / "cache1")
        result = train(one, EXAMPLES, quiet)
        assert distance(tmp_path / "one" / method, tmp_path / "two" / method) < 2e-5, method
        for a, b in zip(metrics(one.output), metrics(tmp_path / "two" / method), strict=True):
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-4, abs=1e-5)
            assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3, abs=1e-5)
        assert result.logical_tokens == next(r for r in results if r.arm == method).logical_tokens


def test_kind_none_trains_in_this_process(base, tmp_path):
    assert run_training(config(base, tmp_path / "arm"), EXAMPLES, "none", quiet).world_size == 1


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ParameterError, match="'cpu3' is none of none, cpu, cpu2"):
        accelerate_config("cpu3")


def test_a_configuration_that_silently_runs_one_process_is_refused(base, tmp_path):
    path = tmp_path / "multi_cpu.yaml"
    write_text(path, accelerate_config("cpu2").read_text().replace("MULTI_GPU", "MULTI_CPU"))
    told: list[str] = []
    with pytest.raises(StageFailed, match=r"asks for 2 processes, 1 run") as error:
        run_training(config(base, tmp_path / "arm"), EXAMPLES, str(path), told.append)
    assert "training.log" in str(error.value)
    assert not (tmp_path / "arm" / "training.json").exists()


def test_what_went_wrong_in_the_child_is_said_and_an_unchanged_arm_starts_nothing(base, tmp_path):
    with pytest.raises(StageFailed, match="do not fit a row's budget of 50"):
        run_training(config(base, tmp_path / "arm", row_tokens=50), EXAMPLES, "cpu", quiet)
    assert "budget of 50" in (tmp_path / "arm" / "training.log").read_text()
    settings = config(base, tmp_path / "done")
    train(settings, EXAMPLES, quiet)
    assert run_training(settings, EXAMPLES, "cpu2", quiet).skipped
    assert not (tmp_path / "done" / "training.log").exists()


CALLER = """
import sys
from pathlib import Path
from guardalign.encoding import Example
from guardalign.files import read_rows
from guardalign.launch import run_training
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


def wait_for(condition, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def test_a_child_killed_at_work_is_resumed_by_the_next_launch(base, tmp_path):
    settings = config(base, tmp_path / "cut", "kto", epochs=40, save_steps=5, cache=tmp_path / "cache")
    killed: list[int] = []

    def kill_the_workers(line: str) -> None:
        if "step" in line and not killed:
            for process in psutil.Process().children(recursive=True):
                if "guardalign.training" in process.cmdline() and "accelerate.commands.launch" not in process.cmdline():
                    killed.append(process.pid)
                    process.kill()

    with pytest.raises(StageFailed, match="exit code"):
        run_training(settings, EXAMPLES, "cpu", kill_the_workers)
    assert killed
    train(settings, EXAMPLES, quiet)
    train(config(base, tmp_path / "whole", "kto", epochs=40, cache=tmp_path / "cache"), EXAMPLES, quiet)
    assert distance(tmp_path / "cut", tmp_path / "whole") < 2e-5


def test_examples_are_rows_with_stable_names():
    assert Example(**EXAMPLES[0].model_dump()) == EXAMPLES[0]
