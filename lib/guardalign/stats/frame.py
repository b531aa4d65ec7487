"""Verdicts as a tidy frame, and the measures that are averaged over it.

Measures of one verdict on one dimension, all in [0, 1] but ``net`` in [-1, 1]:

=============  =========================================================================================
``win_1``      arm 1 is better or both are acceptable: paper A's win rate of arm 1 (the sides add to more than 1)
``win_2``      the same for arm 2
``strict``     arm 1 better 1, arm 2 better 0, both and none ½: the usual win rate, sides add to 1
``net``        1 better − 2 better; it equals win_1 − win_2, and 2·strict − 1
``preferred``  the judge's own preference, ties ½; also given if both or none are acceptable
``better_1``, ``both``, ``none``, ``better_2``   paper A's four bins, which add to 1
=============  =========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from guardalign.judging.verdicts import DIMENSIONS, DimensionVerdict, Verdict
from guardalign.stats.inference import DIFFERENCE, SHARE, Bounds

MEASURES: dict[str, Bounds] = {
    name: DIFFERENCE if name == "net" else SHARE
    for name in ("win_1", "win_2", "strict", "net", "preferred", "better_1", "both", "none", "better_2")
}
KEYS = ["comparison", "arm_1", "arm_2", "judge", "dimension"]


def frame(verdicts: Iterable[Verdict], seed: int = 0) -> pd.DataFrame:
    """One row per verdict and dimension.

    Columns: comparison, arm_1, arm_2, judge, seed, pair_id, conversation_id, order, dimension, valid, bin,
    preference, and :data:`MEASURES` (NaN if the verdict is invalid). ``seed`` names the training run that the
    verdicts belong to; frames of several seeds are joined with ``pandas.concat``.
    """
    rows = [row for verdict in verdicts for row in _rows(verdict, seed)]
    columns = ["comparison", "arm_1", "arm_2", "judge", "seed", "pair_id", "conversation_id", "order", "dimension"]
    table = pd.DataFrame(rows, columns=[*columns, "valid", "bin", "preference", *MEASURES])
    return table.astype({measure: float for measure in MEASURES} | {"valid": bool})


def prompts(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per prompt, seed, judge and dimension: the mean over its valid verdicts (the orders it was asked in)."""
    by = [*KEYS, "seed", "conversation_id", "pair_id"]
    return rows[rows["valid"]].groupby(by, sort=False, observed=True)[list(MEASURES)].mean().reset_index()


def _rows(verdict: Verdict, seed: int) -> list[dict[str, Any]]:
    names = ("arm_1", "arm_2", "judge", "pair_id", "conversation_id", "order")
    common = {name: getattr(verdict, name) for name in names}
    common |= {"comparison": f"{verdict.arm_1}-vs-{verdict.arm_2}", "seed": seed}
    if verdict.invalid is not None:
        return [common | {"dimension": dimension, "valid": False} for dimension in DIMENSIONS]
    return [
        common
        | {"dimension": name, "valid": True, "bin": judgement.bin, "preference": judgement.preference}
        | _measures(judgement)
        for name, judgement in verdict.dimensions.items()
    ]


def _measures(judgement: DimensionVerdict) -> dict[str, float]:
    """:data:`MEASURES` of one dimension of one verdict."""
    better_1, better_2 = judgement.bin == "1 better", judgement.bin == "2 better"
    net = float(better_1) - float(better_2)
    return {
        "win_1": float(judgement.acceptable_1),
        "win_2": float(judgement.acceptable_2),
        "strict": (1 + net) / 2,
        "net": net,
        "preferred": {"1": 1.0, "tie": 0.5, "2": 0.0}[judgement.preference],
        "better_1": float(better_1),
        "both": float(judgement.bin == "both"),
        "none": float(judgement.bin == "none"),
        "better_2": float(better_2),
    }
