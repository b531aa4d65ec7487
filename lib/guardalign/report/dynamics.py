"""How training went: every arm's curves, and paper B's Table 2 (its observations) next to them."""

from __future__ import annotations

import pandas as pd

from guardalign.config.plan import Arm, Plan
from guardalign.files import RunFolder
from guardalign.losses import METHODS
from guardalign.training.arm_folder import METRICS, read_metrics

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


def curves(run: RunFolder, plan: Plan) -> pd.DataFrame:
    """One row per training step of every arm of the plan: task, seed, arm, method, beta, step, and measures.

    ``margin`` is β·Δ and ``kl`` the mean log π/r of the batch's replies (nats per reply, r the SFT model); ``entropy``
    is a mean over reply tokens (nats). Methods that have no reference get rewards and margin from an arm that has one
    and sees the same batches: the same pairs from the same start.
    """
    parts = []
    for task in plan.tasks:
        for path in sorted((run.root / task).glob(f"**/models/*/{METRICS}")):
            if arm := plan.arms.get(path.parent.name):
                seed = path.parents[2].name.partition("seed-")[2]  # of one seed among several, seed-<n>
                rows = pd.DataFrame(read_metrics(path.parent)).assign(task=task, seed=int(seed or 0), arm=arm.name)
                parts.append(rows.assign(method=arm.method, beta=arm.beta))
    found = pd.concat(parts, ignore_index=True)
    return found.groupby(["task", "seed"], sort=False, group_keys=False)[list(found)].apply(_with_rewards, plan)


def _with_rewards(curves: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """One task and seed: the reference's log-probs of each step's batch, taken from an arm that has them."""
    curves = curves.reindex(columns=[*curves, *(name for name in (*_REWARDS, "margin", "kl") if name not in curves)])
    paired = curves[curves["method"].isin([name for name, method in METHODS.items() if method.replies == "pair"])]
    rewarded = paired.dropna(subset=_REWARDS)
    lenders = {_batches(plan.arms[arm]): arm for arm in reversed(rewarded["arm"].unique())}
    for arm, steps in paired.drop(rewarded.index).groupby("arm", sort=False):
        lender = rewarded[rewarded["arm"] == lenders.get(_batches(plan.arms[str(arm)]))].set_index("step")
        for reward, logps in zip(_REWARDS, ("logps_chosen", "logps_rejected"), strict=True):
            reference = lender[logps] - lender[reward] / lender["beta"]
            curves.loc[steps.index, reward] = steps["beta"] * (steps[logps] - steps["step"].map(reference))
        rewards = curves.loc[steps.index, _REWARDS]
        curves.loc[steps.index, "margin"] = rewards["reward_chosen"] - rewards["reward_rejected"]
        curves.loc[steps.index, "kl"] = rewards.sum(axis=1, skipna=False) / 2 / steps["beta"]
    return curves


def _batches(arm: Arm) -> tuple[object, ...]:
    """Arms of which this is equal see the same batches, and have the same reference if they have one."""
    return arm.start, arm.reference or arm.start, arm.seed, arm.pairs


def table_2(steps: pd.DataFrame) -> pd.DataFrame:
    """Paper B's Table 2 next to this run's curves: a row per task and arm, a mean over seeds.

    Each measure's mean over the first and the last fifth of the steps.
    """
    rows = []
    for (task, arm, _), curve in steps[steps["arm"] != "sft"].groupby(["task", "arm", "seed"], sort=False):
        measured = curve[[name for name in MEASURES if name in curve]].dropna(axis=1, how="all")
        fifth = max(1, len(measured) // 5)
        ends = {"first": measured[:fifth].mean(), "last": measured[-fifth:].mean()}
        row = {f"{name} {end}": values[name] for name in map(str, measured) for end, values in ends.items()}
        rows.append({"task": task, "arm": arm} | row)
    table = pd.DataFrame(rows).groupby(["task", "arm"], sort=False).mean().reset_index()
    return table.assign(paper=table["arm"].map(OBSERVED).fillna("not in the paper"))


def same_loss(steps: pd.DataFrame) -> pd.DataFrame:
    """The largest ``difference`` between the losses of ``kto_tanh`` and ``kto_doubled`` at a step, by task and seed,
    where both ran.

    1 − tanh(u) = 2 (1 − σ(2u)): KTO (tanh) is KTO at doubled β, its terms twice.
    """
    losses = steps.pivot(index=["task", "seed", "step"], columns="arm", values="loss")
    apart = losses.reindex(columns=["kto_tanh", "kto_doubled"]).diff(axis=1)["kto_doubled"].abs().dropna()
    return apart.groupby(["task", "seed"]).agg(steps="size", difference="max").reset_index()
