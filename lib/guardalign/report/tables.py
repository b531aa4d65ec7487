"""The papers' tables with this run's numbers beside them: two columns that never mix.

Numbers of this run are named ``here``, with an interval; the papers' are named ``paper``. Another model, other data and
another judge lie between the two: they show whether the pattern is the same, not whether a number is reproduced.
"""

from __future__ import annotations

import pandas as pd

from guardalign import papers
from guardalign.judging.verdicts import DIMENSIONS


def table_1(rates: pd.DataFrame) -> pd.DataFrame:
    """Paper A's Table 1, long: flow, panel, arm, opponent, dimension, here, here_low, here_high, n, paper (in %).

    ``rates`` is ``stats.table``'s result for one judge. What this run lacks is NaN.
    """
    published = papers.table_1().melt(["flow", "panel", "arm"], var_name="dimension", value_name="paper")
    rows = []
    for row in published.itertuples(index=False):
        arm_1, arm_2 = papers.PANELS[str(row.panel)]
        own, opponent = ("1", arm_2) if row.arm == arm_1 else ("2", arm_1)
        here = rates[(rates["arm_1"] == arm_1) & (rates["arm_2"] == arm_2) & (rates["dimension"] == row.dimension)]
        measured = (
            [float("nan")] * 3
            if here.empty
            else [100 * float(here[f"win_{own}{end}"].iloc[0]) for end in ("", "_low", "_high")]
        )
        n = 0 if here.empty else int(here["n"].iloc[0])
        rows.append((row.flow, row.panel, row.arm, opponent, row.dimension, *measured, n, row.paper))
    columns = ["flow", "panel", "arm", "opponent", "dimension", "here", "here_low", "here_high", "n", "paper"]
    table = pd.DataFrame(rows, columns=columns)
    table["dimension"] = pd.Categorical(table["dimension"], DIMENSIONS, ordered=True)
    places = pd.Categorical(table["panel"], ["4a", "4b", "3a"], ordered=True)
    return (
        table.assign(place=places)
        .sort_values(["place", "dimension"], kind="stable")
        .drop(columns="place")
        .astype({"dimension": str})
        .reset_index(drop=True)
    )


def against_preferred(rates: pd.DataFrame) -> pd.DataFrame:
    """How often each method's reply beats the data's preferred one in adherence, ties half: what ``table_3`` takes.

    ``rates`` is ``stats.table``'s result of comparisons ``<arm>-vs-chosen``. Methods are named as paper B names
    them; an arm it does not have keeps its name.
    """
    rows = rates[(rates["dimension"] == "adherence") & (rates["arm_2"] == "chosen") & (rates["n"] > 0)]
    names = papers.B_METHODS | {"M_1SFT": papers.B_METHODS["sft"]}
    found = rows[["arm_1", "strict", "strict_low", "strict_high"]].set_axis(["method", "win", "low", "high"], axis=1)
    return found.assign(method=[names.get(arm, arm) for arm in found["method"]]).reset_index(drop=True)


def table_3(here: pd.DataFrame) -> pd.DataFrame:
    """Paper B's Table 3 beside this run's methods: method, source, here, here_low, here_high, hh, hh_low, … (in %).

    ``here`` has ``method`` (as the paper spells it), ``win``, ``low`` and ``high`` (fractions, against the preferred
    reply). Methods of one side only are kept, with NaN on the other.
    """
    scaled = pd.DataFrame(
        {
            "method": here["method"],
            "here": 100 * here["win"],
            "here_low": 100 * here["low"],
            "here_high": 100 * here["high"],
        }
    )
    published = papers.table_3().rename(columns=lambda name: name if name == "method" else f"paper {name}")
    order = list(dict.fromkeys([*published["method"], *scaled["method"]]))
    return published.merge(scaled, on="method", how="outer").set_index("method").loc[order].reset_index()
