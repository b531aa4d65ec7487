"""The papers' tables with this run's numbers next to them: kept in separate columns.

Numbers of this run are named ``here``, with an interval; the papers' are named ``paper``. Another model, other data and
another judge separate the two: they show whether the pattern is the same, not whether a number is reproduced.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from guardalign import papers, stats
from guardalign.generation.replystats import collapse
from guardalign.judging.verdicts import DIMENSIONS


def table_1(rates: pd.DataFrame) -> pd.DataFrame:
    """Paper A's Table 1, long: flow, panel, arm, opponent, dimension, here, here_low, here_high, n, paper (in %).

    ``rates`` is ``stats.table``'s result for one judge. What this run lacks is NaN.
    """
    ends = ["here", "here_low", "here_high", "n"]
    published = papers.table_1().melt(["flow", "panel", "arm"], var_name="dimension", value_name="paper")
    rows = []
    for row in published.to_dict("records"):
        pair = papers.PANELS[row["panel"]]
        side = 1 + pair.index(row["arm"])
        wanted = (rates["arm_1"] == pair[0]) & (rates["arm_2"] == pair[1]) & (rates["dimension"] == row["dimension"])
        measured = rates.loc[wanted, [f"win_{side}", f"win_{side}_low", f"win_{side}_high", "n"]].set_axis(ends, axis=1)
        rows.append(row | {"opponent": pair[2 - side], "n": 0} | (measured.iloc[0].to_dict() if len(measured) else {}))
    table = pd.DataFrame(rows, columns=["flow", "panel", "arm", "opponent", "dimension", *ends, "paper"])
    table = table.assign(n=table["n"].astype(int), **{name: 100 * table[name] for name in ends[:3]})
    order = {name: rank for rank, name in enumerate(("4a", "4b", "3a", *DIMENSIONS))}
    return table.sort_values(["panel", "dimension"], key=lambda each: each.map(order), kind="stable", ignore_index=True)


def against_preferred(rates: pd.DataFrame) -> pd.DataFrame:
    """How often each method's reply beats the data's preferred one in adherence, ties half: what ``table_3`` takes.

    ``rates`` is ``stats.table``'s result of comparisons ``<arm>-vs-chosen``. Methods are named as paper B names
    them; an arm it does not have keeps its name.
    """
    rows = rates[(rates["dimension"] == "adherence") & (rates["arm_2"] == "chosen") & (rates["n"] > 0)]
    found = rows[["arm_1", "strict", "strict_low", "strict_high"]].set_axis(["method", "win", "low", "high"], axis=1)
    return found.replace({"method": papers.B_METHODS | {"M_1SFT": papers.B_METHODS["sft"]}}).reset_index(drop=True)


def table_3(rates: pd.DataFrame) -> pd.DataFrame:
    """Paper B's Table 3 next to this run's methods: method, source, here, here_low, here_high, hh, hh_low, … (in %).

    ``rates`` has ``method`` (as the paper spells it), ``win``, ``low`` and ``high`` (fractions, against the preferred
    reply). Methods of one side only are kept, with NaN on the other.
    """
    ends = {"win": "here", "low": "here_low", "high": "here_high"}
    scaled = 100 * rates.set_index("method").rename(columns=ends)
    published = papers.table_3().set_index("method").add_prefix("paper ")
    order = list(dict.fromkeys([*published.index, *scaled.index]))
    return published.join(scaled, how="outer").loc[order].reset_index()


MEASURES = {
    "adherence": "all guardrails kept",
    "applications": "guardrail applications kept",
    "naturalness": "natural",
    "hallucination": "nothing invented",
}
"""What is measured of a reply, in words; all but ``applications`` are shares of prompts."""


def differences(
    rates: pd.DataFrame, exchanged: pd.DataFrame | None = None, named: Collection[tuple[str, str]] = ()
) -> pd.DataFrame:
    """Paired differences of every comparison, arm 2 minus arm 1, in points: a row per comparison and measure.

    Columns: arm_1, arm_2, named (in either order of the arms in ``named``), measure, difference, low, high, p (Holm's
    correction over the contrasts named beforehand; NaN for the others), prompts (of one seed), seeds, conversations,
    judge. ``rates`` is ``stats.table``'s result, ``exchanged`` that of ``stats.exchanged``.
    """
    known = rates[rates["n"] > 0]
    table = pd.DataFrame({
        "arm_1": known["arm_1"], "arm_2": known["arm_2"], "measure": known["dimension"],
        "difference": -100 * known["net"], "low": -100 * known["net_high"], "high": -100 * known["net_low"],
        "p": known["p_holm"], "prompts": (known["n"] / known["seeds"]).round().astype(int), "seeds": known["seeds"],
        "conversations": known["conversations"], "judge": known["judge"],
    })  # fmt: skip
    if exchanged is not None and len(exchanged):
        applications = exchanged.assign(measure="applications", p=float("nan"), difference=100 * exchanged["net"])
        applications = applications.assign(
            low=100 * applications["net_low"],
            high=100 * applications["net_high"],
            prompts=(applications["applications"] / applications["seeds"]).round().astype(int),
        )
        table = pd.concat([table, applications[list(table.columns)]], ignore_index=True)
    wanted = {frozenset(pair) for pair in named}
    pairs = zip(table["arm_1"], table["arm_2"], strict=True)
    return table.assign(named=[frozenset(pair) in wanted for pair in pairs])


def arms(rows: pd.DataFrame, kept: pd.DataFrame | None = None, level: float = 0.95) -> pd.DataFrame:
    """What each arm keeps: a row per arm and measure, with arm, measure, value, low, high, n, conversations, seeds.

    ``rows`` is ``stats.frame``'s result of one judge; a reply that was judged in several comparisons counts once, with
    the mean of its verdicts. ``kept`` is ``stats.adherence``'s result, which adds guardrail applications.
    """
    by = ["dimension", "seed", "conversation_id", "pair_id"]
    valid = rows[rows["valid"]]
    sides = [valid[[*by, f"arm_{side}", f"win_{side}"]].set_axis([*by, "arm", "value"], axis=1) for side in (1, 2)]
    once = pd.concat(sides).groupby(["arm", *by], sort=False)["value"].mean().reset_index()
    table = stats.means(once, ["arm", "dimension"], {"value": stats.SHARE}, level)
    table = table.rename(columns={"dimension": "measure", "value_low": "low", "value_high": "high"})
    if kept is not None and len(kept):
        names = {"kept": "value", "kept_low": "low", "kept_high": "high", "applications": "n"}
        applications = kept[kept["arm"].isin(set(table["arm"]))].rename(columns=names).assign(measure="applications")
        table = pd.concat([applications, table], ignore_index=True)
    columns = ["arm", "measure", "value", "low", "high", "n", "conversations", "seeds"]
    order = {name: rank for rank, name in enumerate(("applications", *DIMENSIONS))}
    return table[columns].sort_values("measure", key=lambda each: each.map(order), kind="stable", ignore_index=True)


def collapsed(statistics: pd.DataFrame) -> dict[str, str]:
    """Collapsed arms, and the shares of their replies in words; ``statistics`` is ``replystats.reply_statistics``'s."""
    shares = collapse(statistics)
    kinds = {"cut_off": "cut off", "repetitive": "repeat themselves", "empty": "empty"}
    return {
        row["arm"]: ", ".join(f"{100 * row[kind]:.0f} % {text}" for kind, text in kinds.items() if row[kind] >= 0.005)
        for row in shares[shares["collapsed"]].to_dict("records")
    }


def of_methods(held_out: pd.DataFrame, statistics: pd.DataFrame) -> pd.DataFrame:
    """The held-out figures of each arm with its replies' mean length (words), repetition and share cut off.

    ``held_out`` is ``heldout.table``'s result, ``statistics`` ``replystats.reply_statistics``'s.
    """
    means = statistics.assign(cut_off=~statistics["finished"]).groupby("arm")[["words", "repetition", "cut_off"]].mean()
    return held_out.merge(means, left_on="arm", right_index=True, how="left", validate="one_to_one")
