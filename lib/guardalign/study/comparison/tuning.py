"""The tuned protocol: every method gets the same budget, chosen on the validation split by one rule, then runs anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import pandas as pd

from guardalign.config.params import Params
from guardalign.files import RunFolder, read_rows
from guardalign.study.comparison import protocol
from guardalign.study.comparison.answers import Written
from guardalign.study.comparison.jobs import Job, arm_job, with_beta
from guardalign.study.comparison.protocol import Outcome
from guardalign.world.twins import twin


def scores(run: RunFolder, outcomes: Sequence[Outcome], pairs: dict[str, protocol.Splits]) -> pd.DataFrame:
    """One row a candidate: task, method, rate, β, and its win rate against the validation split's preferred replies."""
    rows = []
    for outcome in outcomes:
        job = outcome.job
        read = twin(job.task).read
        preferred = [read(each.prompt, each.chosen.strip()).score for each in pairs[job.task][job.split]]
        written = read_rows(protocol.Place(run, job).answers, Written)
        own = [read(e.prompt, each.text).score for e, each in zip(pairs[job.task][job.split], written, strict=True)]
        wins = [0.5 + 0.5 * ((a > b) - (a < b)) for a, b in zip(own, preferred, strict=True)]
        rows.append({
            "task": job.task, "arm": job.arm.split("_lr")[0], "learning_rate": job.learning_rate, "beta": job.beta,
            "win": sum(wins) / len(wins), "prompts": len(wins), "seconds": outcome.seconds,
        })  # fmt: skip
    return pd.DataFrame(rows)


def choose(table: pd.DataFrame) -> pd.DataFrame:
    """For each task and method the candidate that wins most.

    The same rule for every method; of equals the one with the smaller rate, then the larger β: the one that stays
    closer to the SFT model.
    """
    ordered = table.sort_values(["win", "learning_rate", "beta"], ascending=[False, True, False])
    return ordered.groupby(["task", "arm"], sort=False).first().reset_index()


def tuned_jobs(settings: Params, chosen: pd.DataFrame) -> list[Job]:
    """Every method with its own rate and β, on every task and the tuning section's seeds."""
    tasks, found = protocol.section(settings), []
    for seed in (tasks.tuning and tasks.tuning.seeds) or tasks.seeds:
        for row in chosen.to_dict("records"):
            name, rate = str(row["arm"]), float(row["learning_rate"])
            job = arm_job(name, tasks.methods[name], tasks.identical, str(row["task"]), seed, "tuned")
            found.append(with_beta(job.model_copy(update={"learning_rate": rate}), float(row["beta"])))
    return found


def run_tuned(
    settings: Params, run: RunFolder, log: Callable[[str], object] = print, pool: Executor | None = None
) -> tuple[pd.DataFrame, list[Outcome]]:
    """The tuning budget, what it chose (a row a task and method), and the tuned arms' outcomes."""
    tried = protocol.run_tuning(settings, run, log, pool)
    pairs = protocol.all_pairs(settings)
    table = scores(run, tried, pairs)
    picked = choose(table)
    return table, protocol.run_jobs(settings, run, tuned_jobs(settings, picked), pairs, log, pool)
