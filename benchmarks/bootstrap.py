"""How fast the bootstrap is, and whether its intervals cover the truth where turns of a conversation are alike.

    python benchmarks/bootstrap.py            # both, some minutes
    python benchmarks/bootstrap.py --quick    # fewer simulations

Truth is known because the verdicts are simulated: each reply is acceptable with a set probability, and the turns of a
conversation share a part of what decides it (probit, ``correlation``). The naive interval (Wilson's, by statsmodels)
takes every prompt for independent.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from guardalign.judging.verdicts import DIMENSIONS  # noqa: E402
from guardalign.stats import MEASURES, bootstrap  # noqa: E402

RATE = 0.7


def speed(replicates: int = 10_000, comparisons: int = 10, conversations: int = 1_000, turns: int = 5) -> float:
    """Seconds for all measures of all comparisons and dimensions, from prompts to intervals; median of three."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [[f"arm{c}" for c in range(comparisons)], DIMENSIONS, range(conversations), range(turns)],
        names=["comparison", "dimension", "conversation_id", "turn"],
    )
    prompts = index.to_frame(index=False).assign(seed=0)
    for measure in MEASURES:
        prompts[measure] = rng.random(len(prompts))
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        bootstrap(prompts, ["comparison", "dimension"], MEASURES, replicates)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def simulated(conversations: int, seeds: int, correlation: float, seed_spread: float, rng: np.random.Generator):
    """Prompts of one comparison: each conversation has 1–10 turns; ``seed_spread`` is the probit effect of training."""
    turns = rng.integers(1, 11, size=conversations)
    owner = np.repeat(np.arange(conversations), turns)
    shared = rng.normal(size=conversations)[owner] * np.sqrt(correlation)
    frames = []
    for seed in range(seeds):
        own = rng.normal(size=len(owner)) * np.sqrt(1 - correlation)
        threshold = norm.ppf(RATE) * np.sqrt(1 + seed_spread**2) + rng.normal() * seed_spread
        won = (shared + own < threshold).astype(float)
        frames.append(pd.DataFrame({"conversation_id": owner, "seed": seed, "win_1": won, "group": 0}))
    return pd.concat(frames, ignore_index=True)


def coverage(simulations: int, conversations: int, seeds: int, correlation: float, seed_spread: float) -> dict:
    """Share of simulations whose 95 % interval holds RATE: clustered bootstrap and naive."""
    rng = np.random.default_rng(1)
    clustered = naive = 0
    for simulation in range(simulations):
        prompts = simulated(conversations, seeds, correlation, seed_spread, rng)
        row = bootstrap(prompts, ["group"], ["win_1"], 1_000, seed=simulation).iloc[0]
        clustered += row["win_1_low"] <= RATE <= row["win_1_high"]
        low, high = proportion_confint(int(prompts["win_1"].sum()), len(prompts), method="wilson")
        naive += low <= RATE <= high
    return {
        "conversations": conversations,
        "seeds": seeds,
        "correlation": correlation,
        "seed spread": seed_spread,
        "clustered": clustered / simulations,
        "naive": naive / simulations,
        "simulations": simulations,
    }


CASES = [
    (100, 1, 0.0, 0.0),
    (100, 1, 0.3, 0.0),
    (100, 1, 0.6, 0.0),
    (300, 1, 0.6, 0.0),
    (50, 1, 0.6, 0.0),
    (100, 3, 0.6, 0.0),
    (100, 3, 0.6, 0.1),
    (100, 3, 0.6, 0.3),
    (100, 5, 0.6, 0.3),
    (100, 10, 0.6, 0.3),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 simulations a case in place of 2,000")
    simulations = 200 if parser.parse_args().quick else 2_000
    print(f"10,000 replicates of 10 comparisons x 3 dimensions x 1,000 conversations: {speed():.2f} s")
    table = pd.DataFrame([coverage(simulations, *case) for case in CASES])
    print(f"coverage of nominal 95 % intervals (simulation error +/- {196 * np.sqrt(0.0475 / simulations):.1f} points)")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3f}"))


if __name__ == "__main__":
    main()
