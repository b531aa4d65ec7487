"""Outcomes in, tables out: win rates with intervals, all arms against each other, cost, and AlpacaEval's figures.

Every arm of a task answers the same prompts; each prompt is a conversation of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from guardalign import stats
from guardalign.config.plan import Arm
from guardalign.generation.replystats import reply_statistics
from guardalign.losses import METHODS
from guardalign.stats import alpaca
from guardalign.study import heldout, tasks
from guardalign.study.settle import Job, Outcome

_WORD = re.compile(r"\w+")
KEYS = ["task", "arm"]
MEASURES = {
    "win": stats.SHARE, "score": stats.UNBOUNDED, "accuracy": stats.SHARE, "accuracy_gain": stats.DIFFERENCE,
    "margin_gain": stats.SHARE, "nll": stats.UNBOUNDED, "kl": stats.UNBOUNDED, "entropy": stats.UNBOUNDED,
    "words": stats.UNBOUNDED, "tokens": stats.UNBOUNDED, "repetition": stats.SHARE, "cut_off": stats.SHARE,
}  # fmt: skip
GAINS = {"lead": "accuracy_gain", "gain": "margin_gain"}
ONLINE = ("reward_accuracy", "replies_drawn", "policy_passes", "reference_passes", "reward_passes")


def frame(jobs: Sequence[Job]) -> pd.DataFrame:
    """One row per arm, seed and prompt of one task.

    ``win``: 1, ½ or 0 against the data's preferred reply, by the judge's ``score`` (NaN without a judge).
    ``accuracy``: the chosen reply has the higher log-prob; ``accuracy_gain`` its difference from the arm's start;
    ``margin_gain``: the log-prob margin grew over the start's; both are NaN for arms of the base model. ``nll`` is of
    the chosen reply, nats per token.
    """
    study, parts = jobs[0].study, []
    examples = study.rows(jobs[0].split)
    read = tasks.reader_of(study.settings, study.task)
    preferred = [read(each.prompt, each.chosen.strip()).score if read else np.nan for each in examples]
    starts = {job.arm: job.planned.start for job in jobs}
    for seed in dict.fromkeys(job.seed for job in jobs):
        own = [job for job in jobs if job.seed == seed]
        scored = heldout.rows({job.arm: job.scores for job in own}, starts, seed).rename(columns=GAINS)
        scored.loc[~scored["started"], list(GAINS.values())] = np.nan
        for job in own:
            replies = job.replies
            score = [read(e.prompt, r.text).score if read else np.nan for e, r in zip(examples, replies, strict=True)]
            part = scored[scored["arm"] == job.arm].reset_index(drop=True)
            form = reply_statistics(replies)[["words", "tokens", "repetition", "finished"]]
            apart = pd.DataFrame([each.model_dump(exclude={"id"}) for each in job.distances])
            won = pd.DataFrame({"score": score, "win": tasks.wins(score, preferred)})
            parts.append(pd.concat([part, form, apart, won], axis=1))
    joined = pd.concat(parts, ignore_index=True)
    return joined.assign(task=study.task, cut_off=1.0 - joined["finished"]).drop(columns=["started", "finished"])


def summary(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """One row per task and arm: the mean of every measure and its interval (``_low``, ``_high``), n and seeds."""
    starting = rows["accuracy_gain"].isna()
    measures = {name: bounds for name, bounds in MEASURES.items() if rows.loc[~starting, name].notna().all()}
    table = stats.means(rows.fillna(dict.fromkeys(GAINS.values(), 0.0)), KEYS, measures, level)
    table = table.drop(columns=[f"{name}_p" for name in measures])
    gains = [f"{name}{end}" for name in GAINS.values() for end in ("", "_low", "_high")]
    table.loc[table["arm"].isin(rows.loc[starting, "arm"]), gains] = np.nan
    return table


def against_each_other(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Every two arms of a task on the same prompts and seeds: how often ``arm_1`` scores higher (ties count half).

    All of it is exploration: ``win`` has an interval (``win_low``, ``win_high``) and no test.
    """
    parts = []
    for task, own in rows.groupby("task", sort=False):
        scores = own.pivot(index=["seed", "conversation_id"], columns="arm", values="score")
        for one, two in combinations(dict.fromkeys(own["arm"]), 2):
            won = pd.Series(tasks.wins(scores[one], scores[two]), index=scores.index, name="win").reset_index()
            parts.append(won.assign(task=task, arm_1=one, arm_2=two))
    by = ["task", "arm_1", "arm_2"]
    return stats.means(pd.concat(parts), by, {"win": stats.SHARE}, level).drop(columns="win_p")


def distinct(texts: Iterable[str], n: int) -> float:
    """Different n-grams of words over all n-grams of all texts (Li et al. 2016, distinct-n); NaN without any."""
    grams: list[tuple[str, ...]] = []
    for text in texts:
        words = _WORD.findall(text.lower())
        grams += zip(*(words[i:] for i in range(n)), strict=False)
    return len(set(grams)) / len(grams) if grams else float("nan")


def passes(arm: Arm) -> dict[str, int]:
    """Replies per pair through the policy (forward and backward) and through the reference (once, cached)."""
    if arm.method == "rlhf":
        return {}
    method = METHODS[arm.method]
    replies = (1 if method.replies == "chosen" else 2) + 2 * method.mismatched
    return {"policy_passes": replies, "reference_passes": replies if method.reference else 0}


def beside(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """What each arm's training cost (seconds, GiB at most, tokens, replies scored per pair) and how diverse its replies
    are (distinct-1, distinct-2), means over seeds.

    The online arm's passes are over the same pairs: its own replies are drawn for their prompts.
    """
    costs = {"steps", "seconds", "memory_gib", "logical_tokens", "unique_tokens"}
    rows = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        texts = [reply.text for reply in job.replies]
        rows.append(
            {"task": outcome.task, "arm": outcome.arm}
            | outcome.model_dump(include=costs)
            | passes(job.planned)
            | {name: outcome.facts[name] for name in ONLINE if name in outcome.facts}
            | {f"distinct_{n}": distinct(texts, n) for n in (1, 2)}
        )
    return pd.DataFrame(rows).groupby(KEYS, sort=False).mean().reset_index()


Compared = dict[tuple[str, int], list[alpaca.Annotation]]
"""AlpacaEval's annotations by arm and seed: to AlpacaEval each of them is a model."""


def annotated(rows: pd.DataFrame, jobs: Sequence[Job]) -> Compared:
    """The judge's comparisons with the preferred replies as AlpacaEval's annotations."""
    known = {each.id: each for each in jobs[0].study.rows(jobs[0].split)}
    found: Compared = {}
    for job in jobs:
        own = rows[(rows["arm"] == job.arm) & (rows["seed"] == job.seed)].set_index("conversation_id")["win"]
        found[job.arm, job.seed] = [
            alpaca.Annotation(
                instruction=known[reply.pair_id].prompt,
                output_1=known[reply.pair_id].chosen.strip(),
                generator_1="preferred",
                output_2=reply.text,
                generator_2=job.arm,
                preference=1 + float(own[reply.conversation_id]),
                annotator="embedded",
                dataset=job.study.task,
            )
            for reply in job.replies
        ]
    return found


def length_controlled(found: Compared, task: str) -> pd.DataFrame:
    """AlpacaEval's win rate, its standard error and length-controlled win rate of each arm (%), means over seeds.

    The standard error is of one seed's model, over prompts. The difficulty of a prompt is estimated from all arms'
    wins on it.
    """
    wins = {name: pd.Series({each.instruction: each.win for each in own}) for name, own in found.items()}
    difficulty = alpaca.estimated_difficulty(pd.DataFrame(wins))
    table = []
    for (arm, _), compared in found.items():
        raw = alpaca.win_rate(compared)
        hardness = [float(difficulty[each.instruction]) for each in compared]
        controlled = alpaca.length_controlled(compared, hardness)
        table.append({
            "task": task, "arm": arm, "win_rate": raw.win_rate, "standard_error": raw.standard_error,
            "length_controlled": controlled.win_rate, "length_coefficient": controlled.length,
        })  # fmt: skip
    return pd.DataFrame(table).groupby(KEYS, sort=False).mean().reset_index()
