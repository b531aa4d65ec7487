"""Do 95 % intervals hold the truth in 95 % of studies? A simulation of the inference engine.

    python benchmarks/coverage.py                  # 4,000 studies per case, a minute; writes results/coverage.csv
    python benchmarks/coverage.py --studies 400    # a quick look, written nowhere

A study draws conversations of one to eight prompts and trains seeds whose true rates differ. A reply is acceptable
where a standard normal lies below its arm's threshold; that normal is part the conversation's, part the prompt's and
part the reply's own, so replies to a prompt agree and so do the prompts of a conversation. What is estimated is the
mean over all prompts, seeds and conversations that could have been drawn:

* ``difference``: two arms' acceptable replies on the same prompts, −1, 0 (a tie) or 1;
* ``rate``: one arm's acceptable replies;
* ``gaps``: the difference, where every seed misses a fifth of the conversations.

142 of the 150 cases lie within 93 to 98 %. The others, 90.6 to 92.6 %, are single rates of 95 %: with seeds that differ
by 5 points, whose rates are then skewed (many at 99 %, a few at 80 %) so that three to ten of them say little about
their mean; and with 48 conversations, of which a few long ones decide how often a rare failure is seen.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from guardalign.stats.inference import DIFFERENCE, SHARE, estimate  # noqa: E402

SEEDS, CONVERSATIONS, SPREADS = (1, 3, 5, 10), (48, 100, 200), (0.0, 0.02, 0.05)
KINDS = {
    "difference": (0.60, 0.50),
    "difference near the ceiling": (0.96, 0.94),
    "gaps": (0.60, 0.50),
    "rate": (0.70,),
    "rate near the ceiling": (0.95,),
}
OF_CONVERSATION, OF_PROMPT, OF_ARM = 0.25, 0.25, 0.15  # shares of the variance behind a reply; the rest is its own
AIM = (0.93, 0.98)


def thresholds(rate: float, spread: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Seeds' thresholds: their rates have mean ``rate`` and, to first order, standard deviation ``spread``."""
    scale = spread / norm.pdf(norm.ppf(rate))
    return norm.ppf(rate) * np.sqrt(1 + scale**2) + scale * rng.normal(size=shape)


def cells(
    kind: str, studies: int, seeds: int, conversations: int, spread: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sums and numbers of prompts, both (studies, seeds, conversations)."""
    rates = KINDS[kind]
    turns = rng.integers(1, 9, size=conversations)
    owner, starts = np.repeat(np.arange(conversations), turns), np.cumsum(turns) - turns

    def normal(per: int) -> np.ndarray:
        drawn = rng.standard_normal((studies, 1, per), dtype=np.float32)
        return drawn[..., owner] if per == conversations else drawn

    shared = np.sqrt(OF_CONVERSATION) * normal(conversations) + np.sqrt(OF_PROMPT) * normal(len(owner))
    sums = np.zeros((studies, seeds, conversations))
    for rate, sign in zip(rates, (1, -1), strict=False):
        own = rng.standard_normal((studies, seeds, len(owner)), dtype=np.float32)
        reply = shared + np.sqrt(OF_ARM) * normal(conversations)
        reply = reply + np.sqrt(1 - OF_CONVERSATION - OF_PROMPT - OF_ARM) * own
        kept = reply < thresholds(rate, spread / np.sqrt(len(rates)), (studies, seeds, 1), rng)
        sums += sign * np.add.reduceat(kept, starts, axis=-1, dtype=float)
    counts = np.broadcast_to(turns.astype(float), sums.shape)
    if kind == "gaps":
        there = rng.random(sums.shape) > 0.2
        return sums * there, counts * there
    return sums, counts


def coverage(kind: str, seeds: int, conversations: int, spread: float, studies: int) -> dict[str, object]:
    """Share of studies whose interval holds the truth, median half width in points, median degrees of freedom."""
    rng = np.random.default_rng([seeds, conversations, round(1000 * spread), list(KINDS).index(kind)])
    rates = KINDS[kind]
    truth, bounds = (rates[0] - rates[1], DIFFERENCE) if len(rates) == 2 else (rates[0], SHARE)
    held, widths, degrees = [], [], []
    for _ in range(0, studies, 200):  # in parts that fit in memory
        found = estimate(*cells(kind, 200, seeds, conversations, spread, rng), bounds)
        held.append((found.low <= truth) & (truth <= found.high))
        widths.append(50 * (found.high - found.low))
        degrees.append(found.degrees)
    return {
        "measure": kind,
        "seeds": seeds,
        "conversations": conversations,
        "seed SD, points": 100 * spread,
        "coverage": np.mean(held),
        "half width, points": np.median(widths),
        "degrees": np.median(degrees),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4_000, help="simulated studies per case (default 4,000)")
    studies = parser.parse_args().studies
    cases = [case for case in product(KINDS, SEEDS, CONVERSATIONS, SPREADS) if case[1] > 1 or case[3] == 0]
    table = pd.DataFrame([coverage(*case, studies) for case in cases]).round(
        {"coverage": 3, "half width, points": 1, "degrees": 0}
    )
    print(table.to_string(index=False))
    outside = table[~table["coverage"].between(*AIM)]
    print(f"\n{len(outside)} of {len(table)} cases outside {AIM[0]:.0%} to {AIM[1]:.0%}")
    print(outside.to_string(index=False))
    if studies >= 4_000:
        table.to_csv(ROOT / "benchmarks" / "results" / "coverage.csv", index=False)


if __name__ == "__main__":
    main()
