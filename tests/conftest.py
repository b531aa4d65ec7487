"""What holds for every test, in every worker."""

import gc
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before torch is imported: workers share the cores, and a test that forks would wait for ever for threads it has lost.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has SIGINT ignored, children inherit that, and then no test can
# interrupt one: give it back its usual meaning.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

gc.disable()  # what test modules import is there to stay: looking through it meanwhile is a sixth of the collection

LONGEST = (
    "test_series", "test_comparison", "test_llm_series", "test_slurm", "test_launch", "test_own_data", "test_training",
    "test_estimate", "test_report",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """A worker takes one file at a time: the longest come first, so that none is left running alone at the end."""
    order = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
        if made.returncode:
            pytest.skip("a small disk can be mounted by root alone")
        return folder

    yield mount
    subprocess.run(["umount", "-l", folder], capture_output=True)
