"""GPU slots leased by real processes; the slots are only names, so no GPU is needed."""

from __future__ import annotations

import subprocess
import sys
import time

import nbformat
import pytest

from guardalign import processes
from guardalign.errors import GuardalignError
from guardalign.launch import slots
from series import ROOT, environment, parameters, write_parameters

HOLD = """
import sys
from guardalign.launch import slots
with slots.leased(int(sys.argv[1])) as lease:
    print(lease.environment["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.readline()
"""
HOLD_IN_A_CHILD = """
import subprocess, sys
from guardalign.launch import slots
with slots.leased(1) as lease:
    child = subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=lease.descriptors)
    print(lease.environment["CUDA_VISIBLE_DEVICES"], flush=True)
    child.wait()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A machine with two slots of its own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv(slots.VARIABLE, "5,GPU-a1")
    yield
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def job(place):
    """Starts jobs that hold so many slots until told to go; whatever is left of them is ended."""
    started = []

    def start(count, source=HOLD):
        child = subprocess.Popen(
            [sys.executable, "-c", source, str(count)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            pipe.close()


def go(child):
    child.communicate("\n", timeout=60)


def slot_of(child):
    return child.stdout.readline().strip()


def wait_for_the_turn_to_be_taken(folder, seconds=300.0):
    """Return once a job stands first in the row for slots."""
    (path,) = folder.glob("guardalign-gpus-*/turn.lock")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with processes.locked(path) as free:
            if free is None:
                return
        time.sleep(0.05)
    raise TimeoutError("nobody waits")


def test_two_jobs_never_share_a_slot_and_a_third_waits_for_one(job):
    first, second = job(1), job(1)
    assert {slot_of(first), taken := slot_of(second)} == {"5", "GPU-a1"}
    third = job(1)
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(timeout=3)
    go(second)
    assert slot_of(third) == taken


def test_a_killed_job_frees_its_slot(job):
    both = job(2)
    assert slot_of(both) == "5,GPU-a1"
    both.kill()
    assert slot_of(job(1)) in ("5", "GPU-a1")


def test_a_slot_is_taken_as_long_as_anything_of_its_job_lives(job):
    first = job(1, HOLD_IN_A_CHILD)
    taken = slot_of(first)
    first.kill()
    first.wait()
    second = job(1)
    assert slot_of(second) != taken
    third = job(1)
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(timeout=3)
    first.stdin.close()  # ends the child, which reads the same pipe
    assert slot_of(third) == taken


def test_a_job_that_needs_all_slots_is_not_passed_over(job, tmp_path):
    first, second = job(1), job(1)
    slots_of_both = {slot_of(first), slot_of(second)}
    all_of_them = job(2)
    wait_for_the_turn_to_be_taken(tmp_path)
    late = job(1)
    go(first)
    with pytest.raises(subprocess.TimeoutExpired):
        late.wait(timeout=3)
    go(second)
    assert set(slot_of(all_of_them).split(",")) == slots_of_both
    go(all_of_them)
    assert slot_of(late) in slots_of_both


def test_more_than_there_are_is_refused_and_none_shows_none(place, monkeypatch):
    with pytest.raises(GuardalignError, match=r"needs 4 GPUs and GUARDALIGN_GPUS names 2"), slots.leased(4):
        pass
    with slots.leased(0) as lease:
        assert lease.environment == {"CUDA_VISIBLE_DEVICES": ""} and not lease.descriptors
    monkeypatch.delenv(slots.VARIABLE)
    with slots.leased(4) as lease:
        assert lease.environment == {}


TRAINS, ANSWERS, READS = ("model", "training", "launch"), ("model", "generation"), ("run", "model", "report")


@pytest.mark.parametrize(
    "shown, kind, count",
    [
        (TRAINS, "ddp", 4),
        (TRAINS, "multi_node", 8),
        (TRAINS, "gpu", 1),
        (TRAINS, "cpu2", 0),
        (ANSWERS, "ddp", 1),
        (READS, "ddp", 0),
        (TRAINS, "none", 1),
    ],
)
def test_a_stage_needs_what_its_launch_takes(place, shown, kind, count):
    assert slots.needed(shown, {"kind": kind}) == count


def test_without_named_slots_only_a_launch_asks_for_gpus(monkeypatch):
    monkeypatch.delenv(slots.VARIABLE, raising=False)
    assert slots.needed(TRAINS, {"kind": "none"}) == 0 and slots.needed(TRAINS, {"kind": "gpu"}) == 1


MEET = """
import os, pathlib, time
own, other = pathlib.Path(folder) / os.environ["CUDA_VISIBLE_DEVICES"], pathlib.Path(folder)
own.mkdir()
end = time.monotonic() + 200
while len(list(other.iterdir())) < 2 and time.monotonic() < end:
    time.sleep(0.1)
pathlib.Path(product).write_text(own.name)
"""


def test_two_stages_at_once_see_different_gpus(place, tmp_path):
    """Each stage waits within its lease until it meets the other, so both hold one at the same time."""
    (tmp_path / "met").mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    running = []
    for name in ("one", "two"):
        params = write_parameters(tmp_path / f"{name}.yaml", parameters(tmp_path / name, tmp_path / "model"))
        product = tmp_path / f"{name}.txt"
        shown = nbformat.v4.new_code_cell('run = "x"\ntraining = {}', metadata={"tags": ["parameters"]})
        source = nbformat.v4.new_code_cell(f"folder, product = {str(tmp_path / 'met')!r}, {str(product)!r}\n{MEET}")
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[shown, source], metadata=kernel), path)
        command = [sys.executable, "-m", "guardalign.workflow.run_notebook", str(path), "--params", str(params)]
        command += ["--product", str(product)]
        running.append(subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True))
    for child in running:
        output, _ = child.communicate(timeout=600)
        assert child.returncode == 0, output
    assert {(tmp_path / f"{name}.txt").read_text() for name in ("one", "two")} == {"5", "GPU-a1"}
