"""Children end with their parent, however it ends; locks are held by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from guardalign import processes

TREE = """
import subprocess, sys, time
from guardalign import processes
source = "import os, time; os.write(1, b'%d ' % os.getpid() + bytes([10])); time.sleep(60)"
child = processes.start([sys.executable, "-c", source])
try:
    processes.wait(child)
except processes.Ended as ended:
    sys.exit(128 + ended.signal_number)
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


def gone(pid, within=10.0):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_child_ends_with_its_parent(number):
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux ends children of a killed parent")
    parent = subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.send_signal(number)
    assert parent.wait(10) == (128 + number if number != signal.SIGKILL else -number)
    assert gone(child)


def test_a_tree_ends_even_where_a_process_ignores_the_request():
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    processes.end_tree(child.pid, patience=0.3)
    assert gone(child.pid)
    processes.end_tree(child.pid)


def test_the_exit_code_comes_back_and_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    assert processes.wait(processes.start([sys.executable, "-c", "raise SystemExit(7)"])) == 7
    assert signal.getsignal(signal.SIGTERM) is before


SEVERAL = """
import signal, subprocess, sys
from guardalign import processes
source = "import os, time; os.write(1, b'%d ' % os.getpid() + bytes([10])); time.sleep(60)"
children = [processes.start([sys.executable, "-c", source]) for _ in range(2)]
try:
    processes.wait_for_any(children, signal.SIGTERM)
except processes.Ended as ended:
    sys.exit(128 + ended.signal_number)
"""


def test_of_several_children_the_one_that_ended_comes_back():
    slow = processes.start([sys.executable, "-c", "import time; time.sleep(60)"])
    quick = processes.start([sys.executable, "-c", "raise SystemExit(3)"])
    assert processes.wait_for_any([slow, quick], signal.SIGTERM) is quick and quick.returncode == 3
    processes.end_tree(slow.pid)


def test_several_children_end_with_their_parent():
    parent = subprocess.Popen([sys.executable, "-c", SEVERAL], stdout=subprocess.PIPE, text=True)
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.terminate()
    assert parent.wait(60) == 128 + signal.SIGTERM
    assert all(gone(pid) for pid in children)


CALLS_OFF = """
import time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("called off", flush=True)
"""
ASKS = """
import signal, sys
from guardalign import processes
child = processes.start([sys.executable, "-c", sys.argv[1]])
try:
    processes.wait(child, ask=signal.SIGINT)
except processes.Ended:
    sys.exit(5)
"""


def test_a_child_with_remote_work_gets_its_own_signal_first():
    parent = subprocess.Popen([sys.executable, "-c", ASKS, CALLS_OFF], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    parent.terminate()
    assert parent.wait(60) == 5 and parent.stdout.read() == "called off\n"


def test_a_lost_parent_ends_the_child():
    child = processes.start([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(processes.Ended):
        processes.wait(child, parent=os.getppid() + 1)
    assert gone(child.pid)


def test_locks_are_exclusive_or_shared(tmp_path):
    path = tmp_path / "deep" / ".lock"
    with processes.locked(path) as first:
        assert first is not None
        with processes.locked(path) as second:
            assert second is None
        with processes.locked(path, shared=True) as third:
            assert third is None
    with processes.locked(path, shared=True) as first, processes.locked(path, shared=True) as second:
        assert first is not None and second is not None
        with processes.locked(path) as third:
            assert third is None


def test_peak_memory_is_the_processes_own_and_not_its_starters():
    ballast = bytearray(300 * 2**20)
    ask = "from guardalign.processes import peak_resident; {}; print(peak_resident() // 2**20)"
    small, large = (
        int(subprocess.run([sys.executable, "-c", ask.format(own)], capture_output=True, check=True).stdout)
        for own in ("pass", "b = bytearray(200 * 2**20)")
    )
    assert 0 < small < 150 and 200 <= large - small <= 220 and processes.peak_resident() > len(ballast)


STATE = """
import atexit, gc, os, signal, sys, warnings
def state():
    handlers = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
    return (atexit._ncallbacks(), gc.get_threshold(), gc.isenabled(), gc.get_freeze_count(), dict(os.environ),
            list(warnings.filters), handlers, sys.excepthook, sys.getrecursionlimit())
before = state()
import guardalign, guardalign.config.params, guardalign.files, guardalign.processes, guardalign.workflow.cli
changed = [i for i, (a, b) in enumerate(zip(before, state())) if a != b]
sys.exit(f"changed: {changed}" if changed else 0)
"""


def test_importing_the_package_changes_nothing_in_the_interpreter():
    """The package and what needs no heavy library, which may do as they like."""
    subprocess.run([sys.executable, "-c", STATE], check=True, timeout=60)


def test_what_is_started_here_gets_the_environment_it_needs(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    ask = "import os; print(os.environ['GOMP_SPINCOUNT'], os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    child = processes.start([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True)
    assert child.communicate(timeout=60)[0].split() == ["7", processes.DEFAULTS["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]]
