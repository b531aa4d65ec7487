"""Learning rate and β of each arm, chosen by how good its candidates' replies to the validation split are.

A candidate is the arm itself at another rate and β. It starts where the arm starts, with that start's choice where
it is tuned too. A choice at the edge of its grid adds a value beyond it, by the grid's own factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from guardalign.config.plan import CARE, Arm, Grid, Plan
from guardalign.errors import InputError, ParameterError
from guardalign.files import RunFolder
from guardalign.judging.choice import chosen_judge
from guardalign.judging.verdicts import Verdict
from guardalign.study import tasks
from guardalign.study.jobs import Job, Log, jobs_of, run_jobs
from guardalign.study.run import Study

RESAMPLES = 1_000
KEYS = ["task", "arm"]
OPTIONS = {"slic": ("slic_delta", 10.0), "ppo_offline": ("ppo_kl_weight", 1.0)}
"""The option used in place of β by methods without β, and its factor: SLiC's margin is 1 at β = 0.1."""
Grids = dict[tuple[str, str], Grid]


@dataclass(frozen=True)
class Tuned:
    """``tried``: a row per candidate. ``choice``: a row per task and arm. ``plans``: by task, with the choices."""

    tried: pd.DataFrame
    choice: pd.DataFrame
    plans: dict[str, Plan]


def candidate(arm: Arm, rate: float, beta: float, count: int | None = None) -> Arm:
    """The arm at another rate and β, on its first ``count`` pairs (default: all); otherwise unchanged."""
    option = OPTIONS.get(arm.method)
    changes: dict[str, Any] = {"learning_rate": rate, "beta": beta}
    changes |= {"options": arm.options | {option[0]: option[1] * beta}} if option else {}
    changes |= {"pairs": arm.pairs.model_copy(update={"count": count})} if count else {}
    return arm.model_copy(update=changes)


def tune(study: Study, log: Log = print) -> Tuned:
    """Tune the arms that the plan names, on every task of the plan, with the first seed.

    Raises ParameterError if the plan tunes none or nothing judges replies, InputError without a validation split.
    """
    plan = study.plan
    study.settings.check_tuning()
    assert plan.tuning is not None
    for task in plan.tasks:
        _check(Study(study.settings, study.run, task, study.data))
    plans, tried, choices = dict.fromkeys(plan.tasks, plan), [], []
    for depth in sorted({plan.depth(name) for name in plan.tuning.arms}):
        level = {name: grid for name, grid in plan.tuning.arms.items() if plan.depth(name) == depth}
        table, choice = _tuned(study, plans, {(task, name): level[name] for task in plans for name in level}, log)
        tried.append(table)
        choices.append(choice)
        for row in choice.to_dict("records"):
            task, name = row["task"], row["arm"]
            arm = candidate(plan.arms[name], row["learning_rate"], row["beta"])
            plans[task] = plans[task].model_copy(update={"arms": plans[task].arms | {name: arm}})
    choice = pd.concat(choices, ignore_index=True)
    arms = pd.DataFrame([plan.arms[name].model_dump(include={"method", "start"}) for name in choice["arm"]])
    return Tuned(pd.concat(tried, ignore_index=True), pd.concat([choice, arms], axis=1), plans)


def _check(study: Study) -> None:
    if not study.rows("validation"):
        raise InputError("there is no validation split to tune on: give source.conversations (or shares) a validation")
    if study.task != CARE and not tasks.reader_of(study.settings, study.task):
        raise ParameterError(f"{study.task} has no judge here that could choose between candidates")


def _tuned(study: Study, plans: Mapping[str, Plan], grids: Grids, log: Log) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates and choices of arms that do not start from each other, grids widened as often as the plan allows."""
    assert study.plan.tuning is not None
    for _ in range(study.plan.tuning.widen + 1):
        judged = _judged(study, plans, grids, log)
        choice = choose(judged)
        chosen = choice.set_index(KEYS)
        wider = {key: widened(grid, chosen.loc[[key]].iloc[0]) for key, grid in grids.items()}
        if wider == grids:
            break
        grids = wider
    by = [*KEYS, "method", "start", "learning_rate", "beta"]
    table = judged.groupby(by, sort=False).agg(worth=("value", "mean"), prompts=("value", "size")).reset_index()
    return table, choice


def _judged(study: Study, plans: Mapping[str, Plan], grids: Grids, log: Log) -> pd.DataFrame:
    """Run all candidates of the grids, and judge what they wrote: a row per candidate and validation prompt."""
    assert study.plan.tuning is not None
    jobs: list[Job] = []
    names: dict[tuple[str, str], str] = {}
    for task, plan in plans.items():
        candidates = {}
        for (grid_task, name), grid in grids.items():
            arm = plan.arms[name]
            for rate, beta in product(grid.rates, grid.betas or (arm.beta,)) if grid_task == task else ():
                label = f"{name}.lr{rate:g}.beta{beta:g}"
                candidates[label] = candidate(arm, rate, beta, study.plan.tuning.pairs)
                names[task, label] = name
        update = {"arms": plan.arms | candidates, "keep": False, "seeds": study.seeds[:1]}
        settings = study.settings.model_copy(update={"study": plan.model_copy(update=update)})
        tuning_study = Study(settings, RunFolder(study.run.root / "tuning"), task, study.data or study.run)
        jobs += jobs_of(tuning_study, list(candidates), "validation", measured=False)
    run_jobs(jobs, study.plan.workers, log)
    found = []
    for job in jobs:
        key = (job.study.task, job.arm)
        if key in names:  # not an arm that a candidate starts from
            facts = job.planned.model_dump(include={"method", "start", "learning_rate", "beta"})
            found.append(values(job).assign(task=job.study.task, arm=names[key], **facts))
    return pd.concat(found, ignore_index=True)


def values(job: Job) -> pd.DataFrame:
    """What each of a job's replies is worth: conversation_id and ``value``.

    Own data: ``worth``. A twin: 1, ½ or 0 against the preferred reply. Replies without a verdict are left out.
    """
    study, rows, replies = job.study, job.study.rows(job.split), job.replies
    if read := tasks.reader_of(study.settings, study.task) if study.task != CARE else None:
        scores = [read(row.prompt, reply.text).score for row, reply in zip(rows, replies, strict=True)]
        best = [read(row.prompt, row.chosen.strip()).score for row in rows]
        worths = list(zip([row.conversation_id for row in rows], tasks.wins(scores, best), strict=True))
    else:
        judge = chosen_judge(study.settings.judge, study.run.root.parent / "llm")
        assert judge is not None
        items = [(row, reply.text, row.chosen) for row, reply in zip(rows, replies, strict=True)]
        verdicts = [each for each in judge.compare(items, job.arm, "chosen") if not each.invalid]
        worths = [(each.conversation_id, worth(each)) for each in verdicts]
    return pd.DataFrame(worths, columns=["conversation_id", "value"])


def worth(verdict: Verdict) -> float:
    """What the first reply is worth: 0 if it is unnatural or invents something; else the share of its due guardrails
    that it keeps, or 0 or 1 where the judge read no single guardrails.

    The share separates candidates with fewer prompts than "all guardrails kept" does.
    """
    found = verdict.dimensions
    if not (found["naturalness"].acceptable_1 and found["hallucination"].acceptable_1):
        return 0.0
    read = verdict.reply_1.guardrails if verdict.reply_1 else ()
    due = [each.status == "complied" for each in read if each.status in ("complied", "broken")]
    return sum(due) / len(due) if due else float(found["adherence"].acceptable_1)


def choose(worth: pd.DataFrame) -> pd.DataFrame:
    """For each task and arm the candidate whose replies are worth most: learning_rate, beta, ``worth``, ``agreement``,
    ``rim``.

    Of equals the one with the smaller rate, then the larger β: the one that stays closer to its reference.
    ``agreement``: how often the same candidate is chosen when conversations are resampled with replacement. ``rim``:
    the rate, or β, is the smallest or largest of those tried.
    """
    rows = []
    for (task, arm), worths in worth.groupby(KEYS, sort=False):
        sums, counts = (
            worths.pivot_table("value", ["learning_rate", "beta"], "conversation_id", how, fill_value=0).sort_index(
                level=["learning_rate", "beta"], ascending=[True, False]
            )
            for how in ("sum", "count")
        )
        means = sums.sum(axis=1) / counts.sum(axis=1)
        best = int(np.argmax(means.to_numpy()))
        size = sums.shape[1]
        drawn = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), RESAMPLES)
        again = (drawn @ sums.to_numpy().T / np.maximum(drawn @ counts.to_numpy().T, 1)).argmax(axis=1)
        rate, beta = means.index[best]
        tried = [sorted(set(means.index.get_level_values(axis))) for axis in (0, 1)]
        ends = [{each[0], each[-1]} if len(each) > 1 else set() for each in tried]
        rows.append({
            "task": task, "arm": arm, "learning_rate": rate, "beta": beta, "worth": means.iloc[best],
            "agreement": float((again == best).mean()), "candidates": len(means),
            "rim": rate in ends[0] or beta in ends[1],
        })  # fmt: skip
    return pd.DataFrame(rows)


def widened(grid: Grid, choice: pd.Series) -> Grid:
    """The grid, with a value added beyond each end that was chosen; unchanged if the choice is inside."""
    rates, betas = _beyond(grid.rates, choice["learning_rate"]), _beyond(grid.betas, choice["beta"])
    return Grid(rates=tuple(rate for rate in rates if rate < 1), betas=tuple(beta for beta in betas if beta <= 100))


def _beyond(values: tuple[float, ...], chosen: float) -> tuple[float, ...]:
    ordered = sorted(values)
    for end, next_to_it in ((ordered[0], ordered[1:2]), (ordered[-1], ordered[-2:-1])) if ordered else ():
        if next_to_it and chosen == end:
            return (*values, float(f"{end**2 / next_to_it[0]:.3g}"))
    return values
