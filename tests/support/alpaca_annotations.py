"""Made-up AlpacaEval annotations: a judge that likes longer answers, draws, and a few failed comparisons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

COUNT = 805


def difficulty(count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(1).normal(size=count)


def annotations(strength: float, verbosity: float, seed: int, failed: int = 5, count: int = COUNT) -> list[dict]:
    """Rows in AlpacaEval's format; ``strength`` in log-odds, ``verbosity`` the model's length over the baseline's."""
    rng = np.random.default_rng(seed)
    baseline = rng.integers(200, 3000, count)
    model = (baseline * verbosity * rng.uniform(0.5, 1.5, count)).astype(int)
    odds = strength + 0.8 * difficulty(count) - 1.5 * np.tanh((baseline - model) / 900) + rng.normal(0, 1.5, count)
    preference = np.round(1 + 1 / (1 + np.exp(-odds)), 6)
    preference[rng.choice(count, 20, replace=False)] = 0.0
    rows = [
        {
            "instruction": f"Instruction {i}",
            "output_1": "b" * int(baseline[i]),
            "generator_1": "baseline",
            "output_2": "m" * int(model[i]),
            "generator_2": "model",
            "annotator": "made_up",
            "dataset": "made_up",
            "preference": float(preference[i]),
        }
        for i in range(count)
    ]
    for i in rng.choice(count, failed, replace=False):
        rows[i]["preference"] = None
    return rows


def anchors(count: int = COUNT) -> pd.DataFrame:
    """The baseline asked to be brief, and to be verbose, against itself."""
    rng = np.random.default_rng(2)
    parts = []
    for length in (-1.0, 1.0):
        delta = length * rng.uniform(0.2, 2.0, count)
        odds = -1.2 * np.tanh(delta) + rng.normal(0, 1, count)
        parts.append(
            pd.DataFrame(
                {
                    "preference": 1 / (1 + np.exp(-odds)),
                    "index": np.arange(count),
                    "std_delta_len": delta,
                    "instruction_difficulty": difficulty(count),
                    "not_gamed_baseline": False,
                    "model": "baseline_verbose" if length < 0 else "baseline_concise",
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path
