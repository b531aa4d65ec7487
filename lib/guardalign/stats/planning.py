"""How small a difference the judged prompts could have shown, and how many prompts a wished precision needs."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import numpy as np
import pandas as pd

from guardalign.judging.verdicts import Verdict
from guardalign.stats.frame import KEYS, as_frame, prompts


def sample_size(rate: float, half_width: float, design_effect: float = 1.0, level: float = 0.95) -> int:
    """Prompts for an interval of ``rate`` ± ``half_width`` (fractions), by statsmodels, times the design effect.

    The design effect is how much the prompts of one conversation resemble each other: 1 if not at all (Kish 1965).
    """
    if not 0 < half_width < 1:
        raise ValueError(f"half_width is a fraction between 0 and 1, not {half_width}")
    from statsmodels.stats.proportion import samplesize_confint_proportion

    return ceil(samplesize_confint_proportion(rate, half_width, alpha=1 - level) * max(design_effect, 1e-9))


def planning(
    verdicts: pd.DataFrame | Iterable[Verdict], half_width: float = 0.03, power: float = 0.8, level: float = 0.95
) -> pd.DataFrame:
    """One row a comparison, judge and dimension: what these data can and cannot show.

    ``design_effect`` of the net preference; ``minimum_detectable``: the net preference that a paired test at 1 −
    ``level`` finds with probability ``power``; ``prompts_needed`` for win_1 ± ``half_width``. One seed at a time is
    planned for: prompts of several seeds are averaged first.
    """
    units = prompts(as_frame(verdicts))
    per_prompt = units.groupby([*KEYS, "conversation_id", "pair_id"], sort=False)[["net", "win_1"]].mean().reset_index()
    rows = [
        dict(zip(KEYS, key, strict=True)) | _plan(group, half_width, power, level)
        for key, group in per_prompt.groupby(KEYS, sort=False)
    ]
    return pd.DataFrame(rows)


def design_effect(values: np.ndarray, clusters: np.ndarray) -> float:
    """Variance of the mean with clusters, over the variance if prompts were independent; 1 where undefined."""
    n, count = len(values), len(np.unique(clusters))
    if n < 2 or count < 2 or np.ptp(values) == 0:
        return 1.0
    sums = pd.Series(values - values.mean()).groupby(clusters).sum().to_numpy()
    return float(count / (count - 1) * (sums**2).sum() / n / values.var(ddof=1))


def _plan(group: pd.DataFrame, half_width: float, power: float, level: float) -> dict[str, float]:
    clusters = group["conversation_id"].to_numpy()
    net, win = group["net"].to_numpy(), group["win_1"].to_numpy()
    effect = design_effect(net, clusters)
    spread = float(net.std(ddof=1)) if len(net) > 1 else float("nan")
    detectable = float("nan")
    if len(net) / effect > 2 and spread > 0:
        from statsmodels.stats.power import TTestPower

        solved = TTestPower().solve_power(nobs=len(net) / effect, alpha=1 - level, power=power)
        detectable = spread * float(np.ravel(solved)[0])
    needed = sample_size(float(win.mean()), half_width, design_effect(win, clusters), level)
    return {
        "n": len(net),
        "design_effect": effect,
        "minimum_detectable": detectable,
        "prompts_needed": needed,
        "half_width": half_width,
        "power": power,
    }
