"""What tools can see of the repository: lint, format, types, and tables that are made from committed results."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from series import ROOT


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "mypy"])
def test_the_tools_find_nothing(command):
    done = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_readme_shows_the_training_speeds_that_are_committed():
    spec = importlib.util.spec_from_file_location("readme_table", ROOT / "benchmarks" / "readme_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page, tables = (ROOT / "README.md").read_text(encoding="utf-8"), module.committed()
    assert tables and all("× as fast" in table for table in tables)
    assert module.filled(page, tables) == page
