"""Findings, as sentences from the numbers: which arms prefer the better reply more often, which do not, and why."""

from __future__ import annotations

import pandas as pd

from guardalign.report.comparison import RLHF, SFT
from guardalign.report.figures.looks import plain as label
from guardalign.report.figures.words import interval

NEARLY_ALL = 0.95
REPETITIVE = 0.4
NO_ROOM = "nothing to gain: the SFT model prefers the chosen reply of {start:.0%} of the pairs already"
TOO_LITTLE = "the right way, but too little ({grew:.0%} of the margins grew, KL {kl:.2g} nats per token)"
STILL = "hardly moves: {grew:.0%} of the margins grew, KL {kl:.2g} nats per token"
WRONG = "pushes the wrong way: only {grew:.0%} of the margins grew, KL {kl:.2g} nats per token"
FAR = "went far (KL {kl:.2g} nats per token) and lost as many pairs as it won"
FAR_KL = 1.0


def gains(summary: pd.DataFrame) -> pd.DataFrame:
    """Which arms raise held-out preference accuracy above the SFT model's: one row per task and arm.

    ``raised`` if the interval of ``accuracy_gain`` is above zero; elsewhere ``why`` gives what the other numbers
    show. ``summary`` is a protocol's ``_methods.csv``.
    """
    start = summary[summary["arm"] == SFT].set_index("task")["accuracy"]
    table = summary[summary["arm"] != SFT].reset_index(drop=True)
    table = table.assign(raised=table["accuracy_gain_low"] > 0, start=table["task"].map(start))
    why = ["" if row["raised"] else _why(row) for _, row in table.iterrows()]
    columns = ["task", "arm", "accuracy_gain", "accuracy_gain_low", "accuracy_gain_high", "raised"]
    return table[columns].assign(why=why)


def _why(row: pd.Series) -> str:
    if row["start"] >= NEARLY_ALL:
        reason = NO_ROOM
    elif row["margin_gain_high"] < 0.5:
        reason = WRONG
    elif row["margin_gain_low"] <= 0.5:
        reason = STILL
    else:
        reason = FAR if row["kl"] > FAR_KL else TOO_LITTLE
    return reason.format(start=row["start"], grew=row["margin_gain"], kl=row["kl"])


def sentences(table: pd.DataFrame, arms: list[str] | None = None) -> str:
    """``gains``'s table as a Markdown list, one item per task; of only ``arms``, if given."""
    shown = table if arms is None else table[table["arm"].isin(arms)]
    points = []
    for task, own in shown.groupby("task", sort=False):
        count = f"{int(own['raised'].sum())} of {len(own)} arms"
        points.append(f"* **{task}**: {count} raise held-out preference accuracy with an interval above zero.")
        points += [f"    * not {label(row['arm'])} ({_points(row)}): {row['why']}." for row in _unraised(own)]
    return "\n".join(points)


def _unraised(table: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in table[~table["raised"]].to_dict("records")]


def _points(row: dict[str, object]) -> str:
    low, value, high = (float(str(row[f"accuracy_gain{end}"])) for end in ("_low", "", "_high"))
    return f"{interval(value, low, high, 1, signed=True)} points"


def degeneration(summary: pd.DataFrame) -> str:
    """Whether any arm ends in degenerate text: one sentence with the largest share of repeated 3-grams."""
    worst = summary.sort_values("repetition").iloc[-1]
    most = f"{worst['repetition']:.0%} of 3-grams are repeated within a reply ({label(worst['arm'])}, {worst['task']})"
    bad = summary[summary["repetition"] > REPETITIVE]
    if bad.empty:
        return f"No arm ends in degenerate text: at most {most}."
    names = ", ".join(f"{label(row['arm'])} ({row['task']})" for _, row in bad.iterrows())
    return f"Degenerate text: {names}; at most {most}."


def decided(pairs: pd.DataFrame) -> str:
    """Which methods are better than which: the pairs whose interval excludes 50 %, one item per task."""
    points = []
    for task, own in pairs.groupby("task", sort=False):
        clear = own[(own["win_low"] > 0.5) | (own["win_high"] < 0.5)]
        points.append(f"* **{task}**: {len(clear)} of {len(own)} intervals exclude 50 %.")
        for arm in dict.fromkeys([*own["arm_1"], *own["arm_2"]]):
            beaten = [
                *clear[(clear["arm_1"] == arm) & (clear["win"] > 0.5)]["arm_2"],
                *clear[(clear["arm_2"] == arm) & (clear["win"] < 0.5)]["arm_1"],
            ]
            points += [f"    * {label(arm)} beats {', '.join(map(label, beaten))}."] if beaten else []
    return "\n".join(points)


def reward_model(summary: pd.DataFrame) -> str:
    """How often the online arm's reward model is right on held-out pairs, and what the arm costs relative to DPO."""
    own = summary[summary["arm"] == RLHF].set_index("task")
    right = ", ".join(f"{row['reward_accuracy']:.0%} in {task}" for task, row in own.iterrows())
    text = f"The reward model prefers the chosen reply of {right} (held-out pairs)."
    if "dpo" in set(summary["arm"]):
        times = own["seconds"].mean() / summary[summary["arm"] == "dpo"]["seconds"].mean()
        text += f" The online arm takes {times:.1f} times as long as DPO."
    return text
