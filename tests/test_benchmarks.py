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


def test_the_page_shows_the_speeds_that_are_committed():
    module = runpy.run_path(str(ROOT / "benchmarks" / "speed_table.py"), run_name="imported")
    page = module["PAGE"].read_text(encoding="utf-8")
    assert "× as fast" in page and module["filled"](page) == page


def test_what_a_gpu_is_measured_with_can_be_rehearsed_without_one(tmp_path):
    options = "--machine rehearsal --small --steps 1 --profiles paper --results"
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), *options.split(), str(tmp_path)]
    subprocess.run(command, check=True, timeout=600)
    measured = json.loads((tmp_path / "scale-rehearsal.json").read_text())
    assert set(measured["profiles"]["paper"]) >= {"training", "writing"}
    assert max(measured["gpu_against_cpu"].values()) < 1e-3


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
