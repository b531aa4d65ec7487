"""Do judges agree: with one another, with people, with pairs whose better side is known?

People are judges like any other: their answers are rows of the same frame, under their name.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

UNIT = ["comparison", "seed", "pair_id", "dimension"]


def kappa(rows: pd.DataFrame, judge_a: str, judge_b: str) -> pd.DataFrame:
    """Cohen's κ of two judges' four bins, a row per dimension: ``kappa``, ``agreement`` (share equal), ``n``.

    Units are prompts that both judged; a judge asked in both orders speaks by the first. κ is NaN if both judges
    gave one and the same bin throughout (agreement by chance is 1).
    """
    from sklearn.metrics import cohen_kappa_score  # a second to import, for a table that few runs have

    result = []
    for dimension, group in _wide(rows).groupby(level="dimension", sort=False):
        both = group.reindex(columns=[judge_a, judge_b]).dropna()
        a, b = both[judge_a], both[judge_b]
        varied = np.unique(both).size > 1
        found = {"kappa": float(cohen_kappa_score(a, b)) if varied else np.nan, "agreement": float((a == b).mean())}
        result.append({"dimension": dimension, **found, "n": len(both)})
    return pd.DataFrame(result)


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
    own = pd.concat([forward.assign(side="1"), turned.assign(side="2")])
    valid = own[own["valid"]]
    marked = valid.assign(
        accuracy=valid["preference"] == valid["side"], separated=valid["bin"] == valid["side"] + " better"
    )
    by = ["judge", "dimension"]
    result = marked.groupby(by, sort=False)[["accuracy", "separated"]].mean()
    result["n"] = marked.groupby(by).size()
    result["invalid"] = 1 - own.groupby(by)["valid"].mean()
    return result.reset_index()


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per :data:`UNIT`, a column per judge: the bin of its first order."""
    valid = rows[rows["valid"]].sort_values("order", kind="stable")
    return valid.pivot_table(index=UNIT, columns="judge", values="bin", aggfunc="first", sort=False)
