"""How training went: every arm's curves, and paper B's Table 2 (its observations) beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from guardalign.files import RunFolder, read_rows
from guardalign.losses import METHODS
from guardalign.study.comparison.jobs import SFT
from guardalign.study.comparison.protocol import Outcome, Place

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
_KEYS = ("task", "seed", "protocol", "arm", "method", "beta")
_REWARDS = ["reward_chosen", "reward_rejected"]


def curves(run: RunFolder) -> pd.DataFrame:
    """One row a training step of every arm but the tuning candidates: task, seed, protocol, arm, step, and measures.

    ``margin`` is β·Δ and ``kl`` the mean log π/r of the batch's replies (nats a reply, r the SFT model); ``entropy`` is
    a mean over reply tokens (nats). Methods that have no reference get rewards and margin from an arm that drew the
    same batches and has one. Empty where nothing was run.
    """
    parts = list(_read(run))
    if not parts:
        return pd.DataFrame()
    found = pd.concat(parts, ignore_index=True)
    return found.groupby(["task", "seed"], sort=False, group_keys=False)[list(found)].apply(_with_rewards)


def _read(run: RunFolder) -> Iterator[pd.DataFrame]:
    for path in sorted(run.root.glob("outcomes/*/*/*/*.jsonl")):
        (outcome,) = read_rows(path, Outcome)
        job = outcome.job
        if job.protocol != "tuning" and (metrics := Place(run, job).metrics).exists():
            yield pd.read_json(metrics, lines=True).assign(**{name: getattr(job, name) for name in _KEYS})


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
    """Paper B's Table 2 beside this run's curves: a row a task and arm at identical settings, a mean over seeds.

    Each measure's mean over the first and the last fifth of the steps.
    """
    part = steps[(steps["protocol"] != "tuned") & (steps["arm"] != SFT)]
    rows = []
    for (task, arm, _), curve in part.groupby(["task", "arm", "seed"], sort=False):
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
    found = [
        steps[(steps["arm"] == arm) & (steps["protocol"] != "tuned")].set_index(["task", "seed", "step"])["loss"]
        for arm in (one, other)
    ]
    table = pd.concat(found, axis=1, keys=[one, other], join="inner").reset_index()
    return table.assign(difference=(table[one] - table[other]).abs())
