"""Benchmarks import what there is, and the page's tables are those of the committed results."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import pytest

from series import ROOT

BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_finds_all_that_it_imports(path, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [path.name])
    assert runpy.run_path(str(path), run_name="imported")["__doc__"]


def test_the_page_shows_the_training_speeds_that_are_committed():
    module = runpy.run_path(str(ROOT / "benchmarks" / "speed_table.py"), run_name="imported")
    page, tables = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8"), module["committed"]()
    assert tables and all("× as fast" in table for table in tables)
    assert module["filled"](page, tables) == page


def test_the_calculator_agrees_with_what_torch_counts(tmp_path):
    # In a process of its own: the benchmark replaces methods of torch.
    code = f"""
import memory, pathlib
memory.CASES = {{name: memory.CASES[name] for name in ("full, bf16", "LoRA, nf4")}}
memory.main(4, results=pathlib.Path({str(tmp_path / "memory.json")!r}))
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "benchmarks", check=True, timeout=600)
    cases = json.loads((tmp_path / "memory.json").read_text())["cases"]
    assert len(cases) == 2 and all(abs(case["error"]) < 0.15 for case in cases.values())
