"""How training went: every arm's curves, and paper B's Table 2 (its observations) next to them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from guardalign.files import RunFolder
from guardalign.losses import METHODS
from guardalign.report.comparison import SFT
from guardalign.study.plan import recorded

OBSERVED = {
    "ppo_offline": "unstable: entropy fluctuates, the critic’s loss stagnates",
    "dpo": "margins grow steadily, with occasional jumps",
    "slic": "hardly tells good from bad; rewards and gradient norms vary",
    "ipo_sum": "modest: rewards in a narrow range, little gain in accuracy",
    "kto": "stable; gradient norms grow",
    "kto_tanh": "as logistic, with less variable rewards and loss",
}
"""Paper B's Table 2, in short."""
MEASURES = ("loss", "margin", "accuracy", "grad_norm", "entropy", "kl", "critic_loss")
_REWARDS = ["reward_chosen", "reward_rejected"]


def curves(run: RunFolder) -> pd.DataFrame:
    """One row per training step of every arm of the run's plan: task, seed, arm, method, beta, step, and measures.

    ``margin`` is β·Δ and ``kl`` the mean log π/r of the batch's replies (nats per reply, r the SFT model); ``entropy``
    is a mean over reply tokens (nats). Methods that have no reference get rewards and margin from an arm that drew the
    same batches and has one. Empty if nothing was run.
    """
    plan, parts = recorded(run.facts), []
    for task in plan.tasks if plan else ():
        for path in sorted((run.root / task).glob("**/models/*/metrics.jsonl")):
            arm = plan.arms.get(path.parent.name) if plan else None
            if arm is not None:
                place = path.parents[2].name  # of one seed among several, seed-<n>
                seed = int(place.removeprefix("seed-")) if place.startswith("seed-") else 0
                facts: dict[str, Any] = {
                    "task": task,
                    "seed": seed,
                    "arm": arm.name,
                    "method": arm.method,
                    "beta": arm.beta,
                }
                parts.append(pd.read_json(path, lines=True).assign(**facts))
    if not parts:
        return pd.DataFrame()
    found = pd.concat(parts, ignore_index=True)
    return found.groupby(["task", "seed"], sort=False, group_keys=False)[list(found)].apply(_with_rewards)


def _with_rewards(own: pd.DataFrame) -> pd.DataFrame:
    """One task and seed: the reference's log-probs of each step's batch, read off an arm that has them."""
    paired = [name for name, method in METHODS.items() if method.replies == "pair"]
    known = own[own["method"].isin(paired)].dropna(subset=[name for name in _REWARDS if name in own])
    missing = own["method"].isin(paired) & ~own.index.isin(known.index)
    if known.empty or not missing.any():
        return own
    frozen = known[known["arm"] == known["arm"].iloc[0]].drop_duplicates("step").set_index("step")
    own = own.copy()
    for reward, logps in zip(_REWARDS, ("logps_chosen", "logps_rejected"), strict=True):
        reference = frozen[logps] - frozen[reward] / frozen["beta"]
        own.loc[missing, reward] = own["beta"] * (own[logps] - own["step"].map(reference))
    own.loc[missing, "margin"] = own["reward_chosen"] - own["reward_rejected"]
    own.loc[missing, "kl"] = (own["reward_chosen"] + own["reward_rejected"]) / 2 / own["beta"]
    return own


def table_2(steps: pd.DataFrame) -> pd.DataFrame:
    """Paper B's Table 2 next to this run's curves: a row per task and arm, a mean over seeds.

    Each measure's mean over the first and the last fifth of the steps.
    """
    rows = []
    for (task, arm, _), curve in steps[steps["arm"] != SFT].groupby(["task", "arm", "seed"], sort=False):
        fifth = max(1, len(curve) // 5)
        row: dict[str, object] = {"task": task, "arm": arm}
        for name in MEASURES:
            if name in curve and curve[name].notna().any():
                row |= {f"{name} first": curve[name][:fifth].mean(), f"{name} last": curve[name][-fifth:].mean()}
        rows.append(row)
    table = pd.DataFrame(rows).groupby(["task", "arm"], sort=False).mean().reset_index()
    return table.assign(paper=table["arm"].map(OBSERVED).fillna("not in the paper"))


def same_loss(steps: pd.DataFrame, one: str = "kto_tanh", other: str = "kto_doubled") -> pd.DataFrame:
    """The losses of two arms step by step, where both ran: task, seed, step, the two, and their ``difference``."""
    found = [steps[steps["arm"] == arm].set_index(["task", "seed", "step"])["loss"] for arm in (one, other)]
    table = pd.concat(found, axis=1, keys=[one, other], join="inner").reset_index()
    return table.assign(difference=(table[one] - table[other]).abs())
