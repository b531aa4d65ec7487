"""Agreement of judges: with one another, with people, and with pairs whose better side is known.

People are judges like any other: their answers are rows of the same frame, under their name.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from guardalign.stats.inference import standard_error

UNIT = ["comparison", "seed", "pair_id", "dimension"]


def kappa(rows: pd.DataFrame, judge_a: str, judge_b: str) -> pd.DataFrame:
    """Cohen's κ of two judges' four bins, a row per dimension: ``kappa``, ``agreement`` (share equal), ``n``.

    Units are prompts that both judged; of a judge asked in both orders, the first counts. κ is NaN if both judges
    gave one and the same bin throughout (agreement by chance is 1).
    """
    result = []
    for dimension, group in _wide(rows).groupby(level="dimension", sort=False):
        both = group.reindex(columns=[judge_a, judge_b]).dropna()
        found = cohens_kappa(both[judge_a].tolist(), both[judge_b].tolist(), range(len(both)))
        result.append({"dimension": dimension} | {name: found[name] for name in ("kappa", "agreement", "n")})
    return pd.DataFrame(result)


def cohens_kappa(
    one: Sequence[Hashable], two: Sequence[Hashable], clusters: Sequence[Hashable], level: float = 0.95
) -> dict[str, float]:
    """Cohen's κ of two judges' answers to the same units: ``kappa``, ``kappa_low``, ``kappa_high``, ``agreement``
    (share equal), ``n`` (units), ``clusters``.

    Units of a cluster (a conversation) may depend on each other: the variance is that of the clusters' sums of κ's
    influence values; with one unit per cluster it is that of Fleiss, Cohen & Everitt (1969, *Psychological Bulletin*
    72:323-327). The interval is by t on the scale of artanh κ, so it stays within -1 and 1; where the judges never
    differ it reaches as far down as the exact binomial one does after as many equal clusters. κ is NaN if both gave
    one and the same answer throughout, the interval also if one of them did, or for fewer than two clusters.
    """
    codes = pd.factorize(np.concatenate([np.asarray(one, dtype=object), np.asarray(two, dtype=object)]))[0]
    first, second = codes[: len(codes) // 2], codes[len(codes) // 2 :]
    members, names = pd.factorize(np.asarray(clusters, dtype=object))
    n, count = len(first), len(names)
    equal = (first == second).astype(float)
    found = {"kappa": np.nan, "kappa_low": np.nan, "kappa_high": np.nan}
    if len(set(codes)) > 1:
        share_1, share_2 = (np.bincount(each, minlength=codes.max() + 1) / n for each in (first, second))
        same, chance = equal.mean(), share_1 @ share_2
        kappa = (same - chance) / (1 - chance)
        moves_chance = share_2[first] + share_1[second] - 2 * chance
        influence = (equal - same) / (1 - chance) - moves_chance * (1 - same) / (1 - chance) ** 2
        error, degrees = standard_error(np.bincount(members, influence, count)[None] * count / n)
        if count < 2 or len(set(first)) == 1 or len(set(second)) == 1:
            low = high = np.nan
        elif same < 1:
            reach = stdtrit(degrees, 0.5 + level / 2) * error / (1 - kappa**2)
            low, high = np.tanh(np.arctanh(kappa) + reach * np.array([-1, 1]))
        else:
            low, high = 1 - (1 - ((1 - level) / 2) ** (1 / count)) / (1 - chance), 1.0
        found = {"kappa": float(kappa), "kappa_low": float(max(low, -1)), "kappa_high": float(high)}
    return found | {"agreement": float(equal.mean()) if n else np.nan, "n": n, "clusters": count}


def krippendorff_alpha(rows: pd.DataFrame) -> pd.DataFrame:
    """Krippendorff's nominal α over all judges' bins, a row per dimension: ``alpha``, ``judges``, ``n`` (units of two
    or more judges). Judges may have judged different prompts. NaN if no unit has two judges or all bins are one.
    """
    import evalica

    result = []
    for dimension, group in _wide(rows).groupby(level="dimension", sort=False):
        shared = group[group.notna().sum(axis=1) >= 2]
        varied = shared.stack().nunique() > 1
        alpha = evalica.alpha(shared.T).alpha if varied else np.nan
        result.append({"dimension": dimension, "alpha": alpha, "judges": group.shape[1], "n": len(shared)})
    return pd.DataFrame(result)


def gold_accuracy(rows: pd.DataFrame, better: str = "chosen", worse: str = "rejected") -> pd.DataFrame:
    """How often a judge puts the data's better reply above the worse one, a row per judge and dimension.

    ``rows`` are verdicts on the arms ``better`` and ``worse``. ``accuracy``: share of valid verdicts whose preference
    is the better reply; ``separated``: share whose bin says that it alone is acceptable; ``n``, ``invalid``.
    """
    forward = rows[(rows["arm_1"] == better) & (rows["arm_2"] == worse)]
    turned = rows[(rows["arm_1"] == worse) & (rows["arm_2"] == better)]
    both = pd.concat([forward.assign(side="1"), turned.assign(side="2")])
    valid = both[both["valid"]]
    marked = valid.assign(
        accuracy=valid["preference"] == valid["side"], separated=valid["bin"] == valid["side"] + " better"
    )
    by = ["judge", "dimension"]
    result = marked.groupby(by, sort=False)[["accuracy", "separated"]].mean()
    result["n"] = marked.groupby(by).size()
    result["invalid"] = 1 - both.groupby(by)["valid"].mean()
    return result.reset_index()


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per :data:`UNIT`, a column per judge: the bin of its first order."""
    valid = rows[rows["valid"]].sort_values("order", kind="stable")
    return valid.pivot_table(index=UNIT, columns="judge", values="bin", aggfunc="first", sort=False)
