"""The series at the smallest size that still runs every notebook: parameters, a base model, and how to start it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from guardalign.config.sections import Phase, Pretraining
from guardalign.world.pretraining import new_model, train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "01_dataset_construction",
    "02_sft",
    "03_flow1_alignment",
    "04_flow2_feedback_alignment",
    "05_method_comparison",
    "06_judging",
    "07_plots",
)
PHASE = Phase(documents=64, documents_per_step=4, learning_rate=1e-3)
SMALL = Pretraining(vocabulary=600, hidden=32, layers=2, heads=2, kv_heads=1, intermediate=64, phases=(PHASE,))
CONVERSATIONS = {"train": 3, "feedback": 2, "validation": 1, "test": 2, "transfer": 1}
PAPERS = yaml.safe_load((ROOT / "params" / "embedded.yaml").read_text(encoding="utf-8"))["study"]


def study(**changes: dict[str, Any]) -> dict[str, Any]:
    """The embedded default's plan with one compared method; ``changes`` are arms to add, or keys to change."""
    arms = {name: arm | {"learning_rate": 1e-3, "beta": 0.1} for name, arm in PAPERS["arms"].items()}
    kept = {name: arm for name, arm in arms.items() if arm.get("stage") != "methods" or name == "dpo"}
    tuned = {name: grid for name, grid in PAPERS["tuning"]["arms"].items() if name in kept}
    return PAPERS | {
        "arms": kept | {name: kept.get(name, {}) | change for name, change in changes.items()},
        "tuning": PAPERS["tuning"] | {"arms": tuned},
    }


def save_base(folder: Path) -> Path:
    """A Mistral with random weights and a tokenizer of the world's text: as fast as it is bad."""
    tokenizer = train_tokenizer(SMALL, sample=40)
    new_model(SMALL, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def parameters(run: Path, base: Path, **changes: Any) -> dict[str, Any]:
    """All sections, tiny; ``changes`` replace whole sections."""
    return {
        "run": str(run),
        "seed": 1,
        "source": {
            "kind": "world",
            "conversations": {"train": 3, "feedback": 2, "validation": 1, "test": 2, "transfer": 1},
        },
        "model": {"name": str(base), "max_length": 2048},
        "training": {"batch_size": 8},
        "study": study(),
        "generation": {"max_new_tokens": 8, "batch_size": 16},
        "judge": {"kind": "embedded", "canaries": 4},
        "launch": {"kind": "none"},
    } | changes


def write_parameters(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "lib")}


def start(
    params: Path, *options: str, checked: bool = False, cluster: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """The command that `make run` gives, in the background; its output is piped as text.

    Whether the machine is large enough is asked only where ``checked``: it takes as long as a stage here does.
    ``cluster`` holds the variables that lead to a scheduler.
    """
    command = [sys.executable, "-m", "guardalign.workflow.cli", "run", str(params), *options]
    variables = environment() | ({} if checked else {"GUARDALIGN_UNCHECKED": "1"}) | dict(cluster or {})
    return subprocess.Popen(
        command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(params: Path, *options: str, checked: bool = False) -> tuple[int, str]:
    """Exit code and output of the series."""
    process = start(params, *options, checked=checked)
    output, _ = process.communicate(timeout=1500)
    return process.returncode, output


def run_stage(notebook: Path, params: Path, *products: Path) -> tuple[int, str]:
    """Exit code and output of one notebook as a stage."""
    command = [sys.executable, "-m", "guardalign.workflow.cli", "stage", str(notebook), str(params)]
    for product in products:
        command += ["--product", str(product)]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout + done.stderr
