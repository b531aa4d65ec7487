"""A ranking of all arms from all comparisons: Bradley–Terry with ties.

P(i beats j) = π_i / (π_i + π_j + 2ν√(π_i π_j)), P(tie) likewise with 2ν√(π_i π_j) above the line (Davidson 1970,
*JASA* 65:317–328), fitted by evalica's implementation of Newman (2023, JMLR 24). Ties are the bins "both" and "none".
Intervals come from the inference engine, applied to each cell's influence on the log-strengths: its score times the
inverse of the information (Huber 1967). Strengths are finite only among arms of which each leads to every other by a
chain of wins and ties (Ford 1957, *American Mathematical Monthly* 64:28–33): each such group is ranked separately.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components
from scipy.special import stdtrit

from guardalign.stats.frame import prompts
from guardalign.stats.inference import Floats, standard_error
from guardalign.stats.intervals import cells

OUTCOMES = ["better_1", "tie", "better_2"]


@dataclass(frozen=True)
class Ranking:
    """``scores``: a row per arm and dimension: dimension, group, arm, rank, strength (log π, mean 0 within the group),
    low, high, wins (expected share of wins plus half the ties against an average arm of the group).
    ``fit``: a row per dimension and group: ties (ν), worst (largest gap between an observed and a fitted share of an
    outcome) and where it is. A wide gap means that one strength per arm does not describe the outcomes.
    """

    scores: pd.DataFrame
    fit: pd.DataFrame


def rank(rows: pd.DataFrame, level: float = 0.95) -> Ranking:
    """Rank arms on every dimension; ``rows`` as of ``frame``. Raises ValueError if they are of several judges."""
    if rows["judge"].nunique() > 1:
        raise ValueError(f"rank the arms of one judge at a time, not of {sorted(rows['judge'].unique())}")
    units = _oriented(prompts(rows))
    scores, fits = [], []
    for dimension, of_dimension in units.groupby("dimension", sort=False):
        for group, (arms, members) in enumerate(_groups(of_dimension), start=1):
            names = {"dimension": dimension, "group": group}
            table, fit = _ranked(arms, members, level)
            scores.append(table.assign(**names))
            fits.append(names | fit)
    columns = ["dimension", "group", "arm", "rank", "strength", "low", "high", "wins"]
    return Ranking(pd.concat(scores, ignore_index=True)[columns], pd.DataFrame(fits))


def probabilities(strength_1: float, strength_2: float, ties: float) -> Floats:
    """P(1 better), P(tie), P(2 better) of log-strengths under Davidson's model."""
    parts = np.array([np.exp(strength_1), 2 * ties * np.exp((strength_1 + strength_2) / 2), np.exp(strength_2)])
    return parts / parts.sum()


def strengths(arms: list[str], pairs: list[tuple[str, str]], counts: Floats) -> tuple[Floats, float]:
    """Log-strengths (arms,) of mean 0 and ν, from (pairs, 3) counts of :data:`OUTCOMES`, by evalica."""
    import evalica

    numbers = {arm: index for index, arm in enumerate(arms)}  # evalica looks up numbers much faster than text
    found = evalica.newman(
        [numbers[one] for one, _ in pairs for _ in OUTCOMES],
        [numbers[two] for _, two in pairs for _ in OUTCOMES],
        [evalica.Winner.X, evalica.Winner.Draw, evalica.Winner.Y] * len(pairs),  # in the order of OUTCOMES
        weights=counts.ravel().tolist(),
        tolerance=1e-8,
        limit=2_000,
    )
    logs = np.log(found.scores.sort_index().to_numpy())
    return logs - logs.mean(), float(found.v)


def _oriented(units: pd.DataFrame) -> pd.DataFrame:
    """Each pair of arms in one order, so that (a, b) and (b, a) are one comparison."""
    units = units.assign(tie=units["both"] + units["none"])
    turned = units["arm_1"] > units["arm_2"]
    swapped = {"arm_1": "arm_2", "arm_2": "arm_1", "better_1": "better_2", "better_2": "better_1"}
    return pd.concat([units[~turned], units[turned].rename(columns=swapped)], ignore_index=True)


def _groups(units: pd.DataFrame) -> list[tuple[list[str], pd.DataFrame]]:
    sums = units.groupby(["arm_1", "arm_2"], sort=False)[OUTCOMES].sum()
    arms = list(dict.fromkeys(arm for pair in sums.index for arm in pair))
    leads = np.zeros((len(arms), len(arms)))
    for (one, two), (better_1, tie, better_2) in zip(sums.index, sums.to_numpy(), strict=True):
        leads[arms.index(one), arms.index(two)] = better_1 + tie
        leads[arms.index(two), arms.index(one)] = better_2 + tie
    labels = connected_components(leads, connection="strong")[1]
    groups = [[arm for arm, label in zip(arms, labels, strict=True) if label == group] for group in pd.unique(labels)]
    return [(members, units[units["arm_1"].isin(members) & units["arm_2"].isin(members)]) for members in groups]


def _ranked(arms: list[str], units: pd.DataFrame, level: float) -> tuple[pd.DataFrame, dict[str, object]]:
    """The group's rows of scores, and its fit."""
    if len(arms) == 1:
        alone = {"arm": arms, "rank": 1, "strength": 0.0, "low": np.nan, "high": np.nan, "wins": 0.5}
        return pd.DataFrame(alone), {"ties": np.nan, "worst": np.nan, "where": ""}
    pairs = list(dict.fromkeys(zip(units["arm_1"], units["arm_2"], strict=True)))
    pair_index = pd.Series(list(zip(units["arm_1"], units["arm_2"], strict=True))).map(pairs.index).to_numpy()
    columns = {
        f"{pair} {outcome}": np.where(pair_index == pair, units[outcome], 0.0)
        for pair in range(len(pairs))
        for outcome in OUTCOMES
    }
    sums, _ = cells(units[["seed", "conversation_id"]].reset_index(drop=True).assign(**columns), list(columns))
    observed = sums.reshape(len(pairs), 3, *sums.shape[1:])
    counts = observed.sum((2, 3))
    logs, ties = strengths(arms, pairs, counts)
    ends = [(arms.index(one), arms.index(two)) for one, two in pairs]
    fitted = np.array([probabilities(logs[one], logs[two], ties) for one, two in ends])
    error, degrees = standard_error(_influence(observed, fitted, ends, len(arms)))
    reach = stdtrit(degrees, 0.5 + level / 2) * error
    table = pd.DataFrame({"arm": arms, "strength": logs, "low": logs - reach, "high": logs + reach})
    table["wins"] = [float(probabilities(value, 0.0, ties) @ [1, 0.5, 0]) for value in logs]
    table = table.sort_values("strength", ascending=False, kind="stable")
    gaps = np.abs(counts / counts.sum(1, keepdims=True) - fitted)
    pair, outcome = np.unravel_index(int(gaps.argmax()), gaps.shape)
    where = f"{pairs[pair][0]} vs {pairs[pair][1]}: {OUTCOMES[outcome]}"
    return table.assign(rank=np.arange(1, len(arms) + 1)), {"ties": ties, "worst": float(gaps.max()), "where": where}


def _influence(observed: Floats, fitted: Floats, ends: list[tuple[int, int]], arms: int) -> Floats:
    """Residuals (arms, seeds, conversations) whose mean has the variance of the log-strengths.

    ``observed`` is (pairs, 3, seeds, conversations), ``fitted`` (pairs, 3). Parameters are the log-strengths and
    log ν; an outcome's sufficient statistics are linear: a win counts for its side, a tie half for both and for ν.
    """
    statistics = np.zeros((len(ends), 3, arms + 1))
    for pair, (one, two) in enumerate(ends):
        statistics[pair, 0, one] = statistics[pair, 2, two] = statistics[pair, 1, arms] = 1.0
        statistics[pair, 1, [one, two]] = 0.5
    expected = np.einsum("po,pok->pk", fitted, statistics)
    score = np.einsum("posc,pok->ksc", observed, statistics) - np.einsum("posc,pk->ksc", observed, expected)
    around = statistics - expected[:, None]
    information = np.einsum("p,po,pok,pol->kl", observed.sum((1, 2, 3)), fitted, around, around)
    seeds, conversations = observed.shape[2:]
    return seeds * conversations * np.tensordot(np.linalg.pinv(information)[:arms], score, axes=1)
