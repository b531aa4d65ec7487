"""Do judges agree: with one another, with people, with pairs whose better side is known?

People are judges like any other: their answers are rows of the same frame, under their name.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from krippendorff import alpha

from guardalign.judging.verdicts import BINS

UNIT = ["comparison", "seed", "pair_id", "order", "dimension"]


def kappa(rows: pd.DataFrame, judge_a: str, judge_b: str, orders: bool = False) -> pd.DataFrame:
    """Cohen's κ of two judges' four bins, a row a dimension: ``kappa``, ``agreement`` (share equal), ``n``.

    Units are prompts that both judged; ``orders=True`` also matches the order, otherwise a judge asked twice speaks
    by its first order. κ is NaN where both judges gave one and the same bin throughout (agreement by chance is 1).
    """
    from sklearn.metrics import cohen_kappa_score  # a second to import, for a table that few runs have

    wide = _wide(rows[rows["judge"].isin([judge_a, judge_b])], orders)
    result = []
    for dimension, group in wide.groupby(level="dimension", sort=False):
        both = group.reindex(columns=[judge_a, judge_b]).dropna()
        codes = [both[judge].map(BINS.index).to_numpy() for judge in (judge_a, judge_b)]
        varied = len(both) > 0 and len(np.unique(np.concatenate(codes))) > 1
        result.append(
            {
                "dimension": dimension,
                "kappa": float(cohen_kappa_score(*codes)) if varied else float("nan"),
                "agreement": float(np.mean(codes[0] == codes[1])) if len(both) else float("nan"),
                "n": len(both),
            }
        )
    return pd.DataFrame(result)


def krippendorff_alpha(rows: pd.DataFrame, orders: bool = False) -> pd.DataFrame:
    """Krippendorff's nominal α over all judges' bins, a row a dimension: ``alpha``, ``judges``, ``n`` (units of two
    or more judges). Judges may have judged different prompts. NaN where no unit has two judges or all bins are one.
    """
    result = []
    for dimension, group in _wide(rows, orders).groupby(level="dimension", sort=False):
        codes = group.apply(lambda column: column.map(BINS.index, na_action="ignore")).to_numpy(dtype=float)
        shared = (~np.isnan(codes)).sum(1) >= 2
        values = codes[shared]
        varied = shared.any() and len(np.unique(values[~np.isnan(values)])) > 1
        result.append(
            {
                "dimension": dimension,
                "alpha": float(alpha(reliability_data=values.T, level_of_measurement="nominal"))
                if varied
                else float("nan"),
                "judges": codes.shape[1],
                "n": int(shared.sum()),
            }
        )
    return pd.DataFrame(result)


def gold_accuracy(rows: pd.DataFrame, better: str = "chosen", worse: str = "rejected") -> pd.DataFrame:
    """How often a judge puts the data's better reply above the worse one, a row a judge and dimension.

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


def _wide(rows: pd.DataFrame, orders: bool) -> pd.DataFrame:
    unit = UNIT if orders else [name for name in UNIT if name != "order"]
    return (
        rows[rows["valid"]]
        .sort_values("order", kind="stable")
        .pivot_table(index=unit, columns="judge", values="bin", aggfunc="first", sort=False)
    )
