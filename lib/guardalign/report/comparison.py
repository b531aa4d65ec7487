"""Runs a comparison of methods on several tasks: the arms, then the run's tables and figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from guardalign import papers, stats
from guardalign.config.params import Params
from guardalign.config.plan import Arm, Plan
from guardalign.errors import ParameterError
from guardalign.files import RunFolder, write_text
from guardalign.generation.replystats import reply_statistics
from guardalign.losses import METHODS
from guardalign.report import alpaca_eval, dynamics, figures
from guardalign.study import heldout, tasks
from guardalign.study.jobs import Job, Outcome, jobs_of, run_jobs
from guardalign.study.run import Study
from guardalign.study.tuning import tune
from guardalign.world.twins import TWINS

SFT = "sft"
"""The arm that all others start from."""
KEYS = ("task", "arm")
MEASURES = {
    "win": stats.SHARE, "score": stats.UNBOUNDED, "kl": stats.UNBOUNDED, "entropy": stats.UNBOUNDED,
    "words": stats.UNBOUNDED, "tokens": stats.UNBOUNDED, "repetition": stats.SHARE, "cut_off": stats.SHARE,
}  # fmt: skip
ONLINE = ("reward_accuracy", "replies_drawn", "policy_passes", "reference_passes", "reward_passes")
COSTS = (
    *KEYS, "win_rate", "standard_error", "length_controlled", "words", "repetition", "distinct_2", "kl", "seconds",
    "memory_gib", "policy_passes", "reference_passes", "reward_passes", "replies_drawn", "reward_accuracy",
)  # fmt: skip
TWIN = "Twins of the paper’s tasks in the embedded world, judged by reading the text; not the paper’s data."
NEARLY_ALL, FAR = 0.95, 1.0
"""Of ``gains``: an accuracy of the SFT model, and nats per reply token from it, as ``kl``."""


def carry_out(settings: Params, run: RunFolder) -> None:
    """Run the plan on its tasks, then the tuned arms with a rate and β of their own; write every table and figure.

    Raises ParameterError if the plan names no tasks of the section ``tasks``, or no arm starts from ``SFT``.
    """
    if settings.tasks is None:
        raise ParameterError("a comparison needs a `tasks` section, as in params/comparison.yaml")
    if not any(arm.start == SFT for arm in settings.study.arms.values()):
        raise ParameterError(f"a comparison needs an arm `{SFT}` and others that start from it")
    run.record("comparison", parameters=settings.sections())
    plan = settings.study
    summary = _outcomes(settings, run, dict.fromkeys(plan.tasks, plan), list(plan.arms), "identical")
    steps, tuned = dynamics.curves(run, plan), None
    results = {
        "table1": settings_beside_paper(settings),
        "table2": dynamics.table_2(steps),
        "table3_identical": table_3(summary),
        "gains": gains(summary),
        "same_loss": dynamics.same_loss(steps),
        "costs": summary[[name for name in COSTS if name in summary]],
    }
    if plan.tuning:
        chosen = tune(Study(settings, run))
        tuned = _outcomes(settings, run, chosen.plans, list(plan.tuning.arms), "tuned")
        results |= {"tuning": chosen.tried, "tuning_choice": chosen.choice}
        results |= {"table3_tuned": table_3(tuned), "gains_tuned": gains(tuned)}
    if not (judged := alpaca_eval.leaderboard(settings, run)).empty:
        results["alpaca_eval"] = judged
    for name, table in results.items():
        write_text(run.tables(f"{name}.csv"), table.to_csv(index=False))
    _draw(run, summary, tuned, steps, settings.report.level)


def _outcomes(
    settings: Params, run: RunFolder, plans: dict[str, Plan], names: Sequence[str], protocol: str
) -> pd.DataFrame:
    """Run the arms on every task; write ``<protocol>_methods.csv``, which is returned (all measures with intervals,
    diversity, cost, AlpacaEval's figures), ``<protocol>_pairs.csv`` (all arms against each other) and
    ``<protocol>_decided.csv`` (the pairs whose interval excludes ½)."""
    folder = run if protocol == "identical" else RunFolder(run.root / protocol)
    jobs = {
        task: jobs_of(Study(settings.model_copy(update={"study": plan}), folder, task), names)
        for task, plan in plans.items()
    }
    outcomes = iter(run_jobs([job for task_jobs in jobs.values() for job in task_jobs], settings.study.workers))
    rows, extra = [], []
    for task, task_jobs in jobs.items():
        rows.append(frame(task_jobs))
        more = beside(task_jobs, [next(outcomes) for _ in task_jobs])
        if found := alpaca_eval.exchange(run.root / "alpaca_eval", protocol, task_jobs, rows[-1]):
            more = more.merge(alpaca_eval.length_controlled(found, task), on=KEYS, how="left")
        extra.append(more)
    level, tables = settings.report.level, []
    for each in rows:  # a task that nothing reads here has no wins
        measures = {name: bounds for name, bounds in MEASURES.items() if each[name].notna().all()}
        tables.append(heldout.table(each, level, KEYS, measures))
    table = pd.concat(tables, ignore_index=True).merge(pd.concat(extra), on=KEYS)
    write_text(run.tables(f"{protocol}_methods.csv"), table.to_csv(index=False))
    if read := [each for each in rows if each["win"].notna().all()]:
        pairs = against_each_other(pd.concat(read, ignore_index=True), level)
        clear = pairs[(pairs["win_low"] > 0.5) | (pairs["win_high"] < 0.5)]
        write_text(run.tables(f"{protocol}_pairs.csv"), pairs.to_csv(index=False))
        write_text(run.tables(f"{protocol}_decided.csv"), clear.to_csv(index=False))
    return table


def frame(jobs: Sequence[Job]) -> pd.DataFrame:
    """One row per arm, seed and prompt of one task: ``heldout.rows``, the reply's statistics and its distance.

    ``win``: 1, ½ or 0 against the data's preferred reply, by the judge's ``score`` (NaN without a judge).
    """
    study, parts = jobs[0].study, []
    examples = study.rows(jobs[0].split)
    read = tasks.reader_of(study.settings, study.task)

    def scores(texts: Iterable[str]) -> list[float]:
        return [read(e.prompt, text).score if read else np.nan for e, text in zip(examples, texts, strict=True)]

    preferred = scores(each.chosen.strip() for each in examples)
    starts = {job.arm: job.planned.start for job in jobs}
    for seed in dict.fromkeys(job.seed for job in jobs):
        seed_jobs = [job for job in jobs if job.seed == seed]
        scored = heldout.rows({job.arm: job.scores for job in seed_jobs}, starts, seed)
        for job in seed_jobs:
            replies = job.replies
            score = scores(reply.text for reply in replies)
            part = scored[scored["arm"] == job.arm].reset_index(drop=True)
            form = reply_statistics(replies)[["words", "tokens", "repetition", "finished"]]
            apart = pd.DataFrame([each.model_dump(exclude={"id"}) for each in job.distances])
            won = pd.DataFrame({"score": score, "win": tasks.wins(score, preferred)})
            parts.append(pd.concat([part, form, apart, won], axis=1))
    joined = pd.concat(parts, ignore_index=True)
    return joined.assign(task=study.task, cut_off=1.0 - joined["finished"])


def against_each_other(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Every two arms of a task on the same prompts and seeds: how often ``arm_1`` scores higher (ties count half).

    All of it is exploration: ``win`` has an interval (``win_low``, ``win_high``) and no test.
    """
    parts = []
    for task, task_rows in rows.groupby("task", sort=False):
        scores = task_rows.pivot(index=["seed", "conversation_id"], columns="arm", values="score")
        for one, two in combinations(dict.fromkeys(task_rows["arm"]), 2):
            won = pd.Series(tasks.wins(scores[one], scores[two]), index=scores.index, name="win").reset_index()
            parts.append(won.assign(task=task, arm_1=one, arm_2=two))
    by = ["task", "arm_1", "arm_2"]
    return stats.means(pd.concat(parts), by, {"win": stats.SHARE}, level).drop(columns="win_p")


def beside(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """What each arm's training cost (seconds, GiB at most, tokens, replies scored per pair) and how diverse its replies
    are (distinct-1, distinct-2), means over seeds.

    The online arm's passes are over the same pairs: its own replies are drawn for their prompts.
    """
    costs = {"task", "arm", "steps", "seconds", "memory_gib", "logical_tokens", "unique_tokens"}
    rows = [
        outcome.model_dump(include=costs)
        | passes(job.planned)
        | {name: outcome.facts[name] for name in ONLINE if name in outcome.facts}
        | {f"distinct_{n}": distinct((reply.text for reply in job.replies), n) for n in (1, 2)}
        for job, outcome in zip(jobs, outcomes, strict=True)
    ]
    return pd.DataFrame(rows).groupby(list(KEYS), sort=False).mean().reset_index()


def passes(arm: Arm) -> dict[str, int]:
    """Replies per pair through the policy (forward and backward) and through the reference (once, cached)."""
    if arm.method == "rlhf":
        return {}
    method = METHODS[arm.method]
    replies = (1 if method.replies == "chosen" else 2) + 2 * method.mismatched
    return {"policy_passes": replies, "reference_passes": replies if method.reference else 0}


def distinct(texts: Iterable[str], n: int) -> float:
    """Distinct n-grams of words over all n-grams of all texts (Li et al. 2016, distinct-n); NaN without any."""
    words = [re.findall(r"\w+", text.lower()) for text in texts]
    grams = [gram for tokens in words for gram in zip(*(tokens[start:] for start in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def gains(summary: pd.DataFrame) -> pd.DataFrame:
    """Which arms raise held-out accuracy above the SFT model's: a row per task and arm.

    ``raised`` if the interval of ``lead`` is above zero; elsewhere ``why`` gives what the other numbers show.
    ``summary`` is a protocol's ``_methods.csv``.
    """
    start = summary[summary["arm"] == SFT].set_index("task")["accuracy"]
    table = summary[summary["arm"] != SFT].reset_index(drop=True)
    reasons = {
        "": table["lead_low"] > 0,
        "the SFT model already prefers nearly every chosen reply": table["task"].map(start) >= NEARLY_ALL,
        "margins shrink": table["gain_high"] < 0.5,
        "accuracy falls": table["lead_high"] < 0,
        "no more margins grow than shrink, as far as can be told": table["gain_low"] <= 0.5,
        "moves far, and loses as many pairs as it wins": table["kl"] > FAR,
    }
    why = np.select(list(reasons.values()), list(reasons), "margins grow; no change of accuracy detected")
    columns = [*KEYS, "lead", "lead_low", "lead_high", "gain", "kl"]
    return table[columns].assign(raised=table["lead_low"] > 0, why=why)


def settings_beside_paper(settings: Params) -> pd.DataFrame:
    """Paper B's Table 1 and this run's settings."""
    arm = next(each for each in settings.study.arms.values() if each.start == SFT)
    rows = [
        ("base model", "Mistral-7B-v0.1", settings.model.name),
        ("batch size (pairs)", 64, settings.training.batch_size),
        ("learning rate", 5e-7, arm.learning_rate),
        ("epochs", 1, arm.epochs),
        ("optimizer", "rmsprop", settings.training.optimizer),
        ("β", 0.1, arm.beta),
        ("prompt (tokens)", 256, "no limit of its own"),
        ("prompt + reply (tokens)", 512, settings.model.max_length),
        ("temperature", 0, f"{settings.generation.temperature:g}"),
        ("prompts judged", 128, settings.tasks.test if settings.tasks else 0),
        ("seeds", 1, max(1, len(settings.study.seeds))),
    ]
    return pd.DataFrame(rows, columns=["setting", "paper B", "here"])


def table_3(summary: pd.DataFrame) -> pd.DataFrame:
    """Paper B's win rates and those on the twins, in %: two kinds of column that never mix.

    The twins are not the paper's data; only the order of the methods can be compared.
    """
    here = summary.assign(method=summary["arm"].map(papers.B_METHODS).fillna(summary["arm"]))
    printed = papers.table_3().set_index("method").reindex(here["method"].unique()).rename_axis("method")
    columns: dict[str, pd.Series] = {}
    for name, task in TWINS.items():
        task_rates = here[here["task"] == name].set_index("method")
        if len(task_rates) and "win" in task_rates:
            columns |= {
                f"{name} {end}".strip(): 100 * task_rates[f"win{end and '_' + end}"] for end in ("", "low", "high")
            }
        columns[f"paper: {task.like}"] = printed[task.column]
    return pd.DataFrame(columns, index=printed.index).reset_index()


def _draw(run: RunFolder, summary: pd.DataFrame, tuned: pd.DataFrame | None, steps: pd.DataFrame, level: float) -> None:
    profile, methods = run.root.name, summary[summary["arm"] != SFT]
    note = "Share of held-out pairs whose chosen reply has the higher log-probability, less the SFT model’s share."
    drawn = figures.tasks(methods, "lead", 0.0, "gain in preference accuracy", tuned, profile, note, level)
    figures.save(drawn, summary, run.figures("accuracy"))
    if "win" in summary:
        note = f"Share of prompts whose reply reads better than the data’s preferred one, ties half. {TWIN}"
        drawn = figures.tasks(
            summary.dropna(subset=["win"]), "win", 0.5, "beats the preferred reply", tuned, profile, note, level
        )
        figures.save(drawn, summary, run.figures("win_rates"))
    figures.save(figures.task_costs(methods, profile), summary, run.figures("cost"))
    drawn = figures.dynamics(steps, dynamics.OBSERVED, profile)
    figures.save(drawn, dynamics.table_2(steps), run.figures("dynamics"))
