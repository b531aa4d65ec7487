"""A ranking of all arms from all comparisons: Bradley–Terry with ties.

P(i beats j) = π_i / (π_i + π_j + 2ν√(π_i π_j)), P(tie) likewise with 2ν√(π_i π_j) above the line (Davidson 1970),
fitted by evalica's implementation of Newman (2023, JMLR 24). Ties are the bins "both" and
"none". Arms that no chain of comparisons joins cannot be ranked against each other: each connected group is ranked by
itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from guardalign.judging.verdicts import Verdict
from guardalign.stats.frame import as_frame, prompts
from guardalign.stats.intervals import resampled_sums
from guardalign.stats.planning import design_effect

OUTCOMES = ["better_1", "tie", "better_2"]


@dataclass(frozen=True)
class Ranking:
    """``scores``: a row an arm and dimension: dimension, group, arm, rank, strength (log π, mean 0 within the group),
    low, high, wins (expected share of wins plus half the ties against an average arm of the group).
    ``fit``: a row a dimension and group: ties (ν), deviance, scale (design effect), degrees, p, worst (largest gap
    between an observed and a fitted share of an outcome) and where it is. A small p says that one strength an arm
    does not describe who beats whom.
    """

    scores: pd.DataFrame
    fit: pd.DataFrame


def rank(
    verdicts: pd.DataFrame | Iterable[Verdict], replicates: int = 500, seed: int = 0, level: float = 0.95
) -> Ranking:
    """Rank arms on every dimension, with intervals from resampled conversations (and seeds)."""
    rows = as_frame(verdicts)
    if rows["judge"].nunique() > 1:
        raise ValueError(f"rank the arms of one judge at a time, not of {sorted(rows['judge'].unique())}")
    units = prompts(rows)
    units = units.assign(tie=units["both"] + units["none"])
    scores, fits = [], []
    for dimension, of_dimension in units.groupby("dimension", sort=False):
        for group, members in enumerate(_groups(of_dimension), start=1):
            names = {"dimension": dimension, "group": group}
            counts, table = _counts(members)
            strength, ties = _solve(counts, table)
            low, high = _intervals(members, counts, replicates, seed, level)
            scores.append(_score_rows(strength, low, high, ties).assign(**names))
            fits.append(names | _goodness(counts, table, strength, ties, members))
    columns = ["dimension", "group", "arm", "rank", "strength", "low", "high", "wins"]
    return Ranking(pd.concat(scores, ignore_index=True)[columns], pd.DataFrame(fits))


def probabilities(strength_1: float, strength_2: float, ties: float) -> np.ndarray:
    """P(1 better), P(tie), P(2 better) of log-strengths under Davidson's model."""
    parts = np.array([np.exp(strength_1), 2 * ties * np.exp((strength_1 + strength_2) / 2), np.exp(strength_2)])
    return parts / parts.sum()


def _groups(units: pd.DataFrame) -> list[pd.DataFrame]:
    import networkx

    graph = networkx.Graph(list(units[["arm_1", "arm_2"]].drop_duplicates().itertuples(index=False, name=None)))
    return [units[units["arm_1"].isin(arms)] for arms in networkx.connected_components(graph)]


def _counts(units: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The comparisons' arms and the (comparisons, 3) counts of outcomes."""
    sums = units.groupby(["arm_1", "arm_2"], sort=False)[OUTCOMES].sum()
    return sums.index.to_frame(index=False), sums.to_numpy()


def _solve(arms: pd.DataFrame, counts: np.ndarray) -> tuple[pd.Series, float]:
    import evalica

    names = list(dict.fromkeys([*arms["arm_1"], *arms["arm_2"]]))
    number = {name: at for at, name in enumerate(names)}  # evalica looks up numbers much faster than text
    # Half an outcome each way keeps strengths finite where an arm never won (Firth-like; vanishes with n).
    filled = counts + 0.5
    result = evalica.newman(
        [number[name] for name in arms["arm_1"] for _ in OUTCOMES],
        [number[name] for name in arms["arm_2"] for _ in OUTCOMES],
        [evalica.Winner.X, evalica.Winner.Draw, evalica.Winner.Y] * len(arms),  # in the order of OUTCOMES
        weights=filled.ravel().tolist(),
        tolerance=1e-8,
        limit=2_000,
    )
    logs = np.log(result.scores.sort_index().to_numpy())
    return pd.Series(logs - logs.mean(), names), float(result.v)


def _intervals(
    units: pd.DataFrame, arms: pd.DataFrame, replicates: int, seed: int, level: float
) -> tuple[pd.Series, pd.Series]:
    cells = (
        units.groupby(["seed", "conversation_id", "arm_1", "arm_2"], sort=False)[OUTCOMES]
        .sum()
        .unstack(["arm_1", "arm_2"], fill_value=0.0)
    )
    cells = cells[[(outcome, *pair) for pair in arms.itertuples(index=False, name=None) for outcome in OUTCOMES]]
    seeds, conversations = cells.index.unique(0), cells.index.unique(1)
    cube = cells.reindex(pd.MultiIndex.from_product([seeds, conversations]), fill_value=0.0).to_numpy()
    sums = resampled_sums(
        cube.reshape(len(seeds), len(conversations), -1), replicates, np.random.default_rng(seed)
    ).reshape(replicates, len(arms), len(OUTCOMES))
    # As many outcomes as were seen: the half added to each would otherwise weigh more in a replicate.
    sums *= cube.sum() / sums.sum((1, 2), keepdims=True)
    strengths = pd.DataFrame([_solve(arms, counts)[0] for counts in sums])
    tail = (1 - level) / 2
    return strengths.quantile(tail), strengths.quantile(1 - tail)


def _score_rows(strength: pd.Series, low: pd.Series, high: pd.Series, ties: float) -> pd.DataFrame:
    table = pd.DataFrame({"strength": strength, "low": low, "high": high}).sort_values("strength", ascending=False)
    table["wins"] = [float(np.dot(probabilities(value, 0.0, ties), [1, 0.5, 0])) for value in table["strength"]]
    table["rank"] = np.arange(1, len(table) + 1)
    return table.rename_axis("arm").reset_index()


def _goodness(
    arms: pd.DataFrame, counts: np.ndarray, strength: pd.Series, ties: float, units: pd.DataFrame
) -> dict[str, object]:
    """Deviance against the saturated model, divided by the mean design effect (Rao & Scott 1984, first order)."""
    from scipy import stats

    fitted = np.array(
        [probabilities(strength[first], strength[second], ties) for first, second in arms.itertuples(index=False)]
    )
    totals = counts.sum(1, keepdims=True)
    expected = fitted * totals
    with np.errstate(divide="ignore", invalid="ignore"):
        deviance = 2 * float(np.nansum(np.where(counts > 0, counts * np.log(counts / expected), 0.0)))
    effects = [
        design_effect(group["net"].to_numpy(), group["conversation_id"].to_numpy())
        for _, group in units.groupby(["arm_1", "arm_2"], sort=False)
    ]
    scale = max(float(np.mean(effects)), 1e-9)
    degrees = 2 * len(arms) - len(strength)
    gaps = np.abs(counts / totals - fitted)
    place = np.unravel_index(int(gaps.argmax()), gaps.shape)
    pair = arms.iloc[int(place[0])]
    return {
        "ties": ties,
        "deviance": deviance,
        "scale": scale,
        "degrees": degrees,
        "p": float(stats.chi2.sf(deviance / scale, degrees)) if degrees > 0 else float("nan"),
        "worst": float(gaps.max()),
        "where": f"{pair['arm_1']} vs {pair['arm_2']}: {OUTCOMES[int(place[1])]}",
    }
