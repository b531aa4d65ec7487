"""The table of win rates: one row per comparison, judge and dimension."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from guardalign.stats.frame import KEYS, MEASURES, prompts
from guardalign.stats.inference import holm
from guardalign.stats.intervals import means

TESTED = "adherence"
"""The dimension that the contrasts are about."""


def table(rows: pd.DataFrame, level: float = 0.95, contrasts: Sequence[tuple[str, str]] = ()) -> pd.DataFrame:
    """Win rates with intervals, the tests of the contrasts, and the judge's reliability; ``rows`` as of ``frame``.

    Columns: comparison, arm_1, arm_2, judge, dimension; for each measure m of :data:`~guardalign.stats.MEASURES`
    ``m``, ``m_low``, ``m_high`` (fractions); ``n`` prompts, ``conversations``, ``seeds``, ``orders`` (asked per
    prompt), ``level``; ``p`` and ``p_holm`` of net = 0 for the ``contrasts`` (in either order of the arms) on
    adherence, corrected over a judge's contrasts, NaN for all other rows, which are exploration and have intervals
    only; ``clear``: the interval of net excludes 0 and, for a contrast, ``p_holm`` < 1 − ``level``; ``invalid`` (share
    of verdicts) and ``flips`` (share of prompts whose preference changes with the order; NaN if one order was
    asked), ``first_preferred`` (share of strict preferences that go to the reply shown first).

    Comparisons without one valid verdict have NaN rates and n = 0.
    """
    rates = means(prompts(rows), KEYS, MEASURES, level)
    result = _reliability(rows).reset_index().merge(rates, how="left", on=KEYS)
    named = {frozenset(pair) for pair in contrasts}
    tested = [frozenset(pair) in named for pair in zip(result["arm_1"], result["arm_2"], strict=True)]
    result["p"] = result["net_p"].where(pd.Series(tested, dtype=bool) & (result["dimension"] == TESTED))
    for _, judge_rows in result.groupby("judge"):
        result.loc[judge_rows.index, "p_holm"] = holm(judge_rows["p"].to_numpy())
    excluded = (result["net_low"] > 0) | (result["net_high"] < 0)
    result["clear"] = excluded & ~(result["p_holm"] >= 1 - level)
    result["level"] = level
    counts = ["n", "conversations", "seeds"]
    result[counts] = result[counts].fillna(0).astype(int)
    measured = [f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")]
    rest = ["orders", "level", "p", "p_holm", "clear", "invalid", "flips", "first_preferred"]
    return result[[*KEYS, *measured, *counts, *rest]]


def opponents(rates: pd.DataFrame) -> pd.DataFrame:
    """Paper A's win rate of every arm against each of its opponents, from :func:`table`'s result.

    Columns: arm, opponent, judge, dimension, win, low, high, n, and ``range``: the arm's largest minus its smallest
    rate over opponents, on that dimension. A judge that assesses each reply on its own has a range of 0 on the same
    prompts; paper A's one arm met twice moved by 2.7 points in adherence (Table 1: 76.9 and 74.2 %).
    """
    sides = []
    for side, other in ("12", "21"):
        names = {f"arm_{side}": "arm", f"arm_{other}": "opponent"}
        names |= {f"win_{side}": "win", f"win_{side}_low": "low", f"win_{side}_high": "high"}
        sides.append(rates[[*names, "judge", "dimension", "n"]].rename(columns=names))
    columns = ["arm", "opponent", "judge", "dimension", "win", "low", "high", "n"]
    both = pd.concat(sides, ignore_index=True)[columns]
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
