"""The table of win rates: one row a comparison, judge and dimension."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from guardalign.judging.verdicts import Verdict
from guardalign.stats.frame import KEYS, MEASURES, as_frame, prompts
from guardalign.stats.intervals import bootstrap
from guardalign.stats.significance import holm, paired_test


def table(
    verdicts: pd.DataFrame | Iterable[Verdict], replicates: int = 10_000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Win rates with intervals, tests and the judge's reliability.

    Columns: comparison, arm_1, arm_2, judge, dimension; for each measure m of :data:`~guardalign.stats.MEASURES`
    ``m``, ``m_low``, ``m_high`` (fractions); ``n`` prompts, ``conversations``, ``seeds``, ``orders`` (asked a prompt),
    ``level``; ``p`` (paired, clustered) and ``p_holm`` (over all rows of this table); ``invalid`` (share of verdicts)
    and ``flips`` (share of prompts whose preference changes with the order; NaN where one order was asked),
    ``first_preferred`` (share of strict preferences that go to the reply shown first).

    ``seed`` is the bootstrap's. Comparisons without one valid verdict have NaN rates and n = 0.
    """
    rows = as_frame(verdicts)
    units = prompts(rows)
    rates = bootstrap(units, KEYS, MEASURES, replicates, seed, level)
    result = _reliability(rows).join(rates)
    tests = {key: paired_test(group) for key, group in units.groupby(KEYS, sort=False)}
    result["p"] = [tests.get(key, float("nan")) for key in result.index]
    result["p_holm"] = holm(result["p"].tolist())
    result["level"] = level
    result[["n", "conversations", "seeds"]] = result[["n", "conversations", "seeds"]].fillna(0).astype(int)
    measured = [column for name in MEASURES for column in (name, f"{name}_low", f"{name}_high")]
    rest = ["n", "conversations", "seeds", "orders", "level", "p", "p_holm", "invalid", "flips", "first_preferred"]
    return result[[*measured, *rest]].reset_index()


def by_seed(verdicts: pd.DataFrame | Iterable[Verdict]) -> pd.DataFrame:
    """Mean of every measure for each seed apart: the spread that training again brings, without intervals."""
    units = prompts(as_frame(verdicts))
    return units.groupby([*KEYS, "seed"], sort=False)[list(MEASURES)].mean().reset_index()


def opponents(rates: pd.DataFrame) -> pd.DataFrame:
    """Paper A's win rate of every arm against each of its opponents, from :func:`table`'s result.

    Columns: arm, opponent, judge, dimension, win, low, high, n, and ``range``: the arm's largest less its smallest
    rate over opponents, on that dimension. A judge that looks at each reply by itself has a range of 0 on the same
    prompts; paper A's one arm met twice moved by 2.7 points in adherence (Table 1: 76.9 and 74.2 %).
    """
    sides = [
        rates.rename(
            columns={
                f"arm_{own}": "arm",
                f"arm_{other}": "opponent",
                f"win_{own}": "win",
                f"win_{own}_low": "low",
                f"win_{own}_high": "high",
            }
        )[["arm", "opponent", "judge", "dimension", "win", "low", "high", "n"]]
        for own, other in ((1, 2), (2, 1))
    ]
    both = pd.concat(sides, ignore_index=True)
    wins = both.groupby(["arm", "judge", "dimension"])["win"]
    return both.assign(range=wins.transform("max") - wins.transform("min"))


def _reliability(rows: pd.DataFrame) -> pd.DataFrame:
    groups = rows.groupby(KEYS, sort=False, observed=True)
    result = pd.DataFrame({"invalid": 1 - groups["valid"].mean(), "orders": groups["order"].nunique()})
    valid = rows[rows["valid"]]
    result["flips"] = _flips(valid)
    decided = valid[valid["preference"] != "tie"]
    first = decided["preference"] == decided["order"].str[0]
    result["first_preferred"] = first.groupby([decided[key] for key in KEYS], sort=False).mean()
    return result


def _flips(valid: pd.DataFrame) -> pd.Series:
    wide = valid.pivot_table(index=[*KEYS, "seed", "pair_id"], columns="order", values="preference", aggfunc="first")
    both = wide.reindex(columns=["12", "21"]).dropna()
    return (both["12"] != both["21"]).groupby(level=KEYS).mean()
