"""A comparison of methods on several tasks, carried out: arms settled, the run's tables, and files for AlpacaEval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from guardalign.config.params import Params
from guardalign.config.plan import Plan
from guardalign.data.examples import Example
from guardalign.data.tasks import Instruction, load_instructions
from guardalign.errors import ParameterError
from guardalign.files import RunFolder, write_text
from guardalign.report.comparison import dynamics, findings, reading, showing, tables
from guardalign.stats import alpaca
from guardalign.study.run import Study
from guardalign.study.settle import Job, jobs_of, settle
from guardalign.study.tasks import reader_of
from guardalign.study.tuning import tune

ANNOTATIONS = "annotations.json"


def carry_out(settings: Params, run: RunFolder) -> None:
    """Settle the plan on its tasks, then the tuned arms with a rate and β of their own, and write every table.

    Raises ParameterError if the plan names no tasks of the section ``tasks``.
    """
    if settings.tasks is None:
        raise ParameterError("a comparison needs a `tasks` section, as in params/comparison.yaml")
    run.record("comparison", parameters=settings.sections())
    plan = settings.study
    summary = _settled(settings, run, dict.fromkeys(plan.tasks, plan), list(plan.arms), "identical")
    made = {
        "table1": reading.settings_beside_paper(settings),
        "table2": dynamics.table_2(dynamics.curves(run)),
        "table3_identical": reading.table_3(summary),
        "gains": findings.gains(summary),
    }
    if plan.tuning:
        tuned = tune(Study(settings, run))
        made |= {"tuning": tuned.tried, "tuning_choice": tuned.choice}
        own = _settled(settings, run, tuned.plans, list(plan.tuning.arms), "tuned")
        made |= {"table3_tuned": reading.table_3(own), "gains_tuned": findings.gains(own)}
    if not (judged := instructions(settings, run)).empty:
        made["alpaca_eval"] = judged
    for name, table in made.items():
        write_text(run.tables(f"{name}.csv"), table.to_csv(index=False))
    showing.save_figures(run)


def _settled(
    settings: Params, run: RunFolder, plans: dict[str, Plan], names: Sequence[str], protocol: str
) -> pd.DataFrame:
    """Settle the arms on every task, write ``<protocol>_methods.csv`` (all measures with intervals, diversity, cost,
    AlpacaEval's figures) and ``<protocol>_pairs.csv`` (all arms against each other), and return the former."""
    folder = run if protocol == "identical" else RunFolder(run.root / protocol)
    jobs = {
        task: jobs_of(Study(settings.model_copy(update={"study": plan}), folder, task), names)
        for task, plan in plans.items()
    }
    outcomes = iter(settle([job for own in jobs.values() for job in own], settings.study.workers))
    rows, extra = [], []
    for task, own in jobs.items():
        found = tables.frame(own)
        beside = tables.beside(own, [next(outcomes) for _ in own])
        annotations = _exchanged(run.root / "alpaca_eval" / protocol / task, own, found)
        _instructed(run.root / "alpaca_eval" / "instructions" / protocol, own)
        if annotations:
            beside = beside.merge(tables.length_controlled(annotations, task), on=tables.KEYS, how="left")
        rows.append(found)
        extra.append(beside)
    everything = pd.concat(rows, ignore_index=True)
    summary = tables.summary(everything, settings.report.level).merge(pd.concat(extra), on=tables.KEYS)
    write_text(run.tables(f"{protocol}_methods.csv"), summary.to_csv(index=False))
    if everything["score"].notna().all():
        between = tables.against_each_other(everything, settings.report.level)
        write_text(run.tables(f"{protocol}_pairs.csv"), between.to_csv(index=False))
    return summary


def _exchanged(folder: Path, jobs: Sequence[Job], rows: pd.DataFrame) -> tables.Compared:
    """Write all replies, and the preferred ones, in AlpacaEval's format, with annotations where the task has a judge
    here; return the annotations found there, by this judge or by AlpacaEval's own."""
    study = jobs[0].study
    examples: list[Example] = study.rows(jobs[0].split)
    asked = [
        Instruction(
            id=each.id, dataset=study.task, instruction=each.prompt, output=each.chosen.strip(), generator="preferred"
        )
        for each in examples
    ]
    alpaca.write_outputs(folder / "reference_outputs.json", asked, [each.output for each in asked], "preferred")
    judged = tables.annotated(rows, jobs) if reader_of(study.settings, study.task) else {}
    found: tables.Compared = {}
    for job in jobs:
        place = folder / job.arm / f"seed-{job.seed}"
        alpaca.write_outputs(place / "model_outputs.json", asked, [each.text for each in job.replies], job.arm)
        if (job.arm, job.seed) in judged:
            alpaca.write_annotations(place / ANNOTATIONS, judged[job.arm, job.seed])
        if (place / ANNOTATIONS).exists():
            found[job.arm, job.seed] = alpaca.read_annotations(place / ANNOTATIONS)
    return found


def _instructed(folder: Path, jobs: Sequence[Job]) -> None:
    """Write the arms' answers to AlpacaEval's instructions as files for its judge."""
    for job in jobs:
        if answered := job.instructed:
            name = f"{job.study.task}-{job.arm}"
            texts = [reply.text for reply in answered]
            asked = load_instructions(str(job.instructions))
            alpaca.write_outputs(folder / name / "model_outputs.json", asked, texts, name)


def instructions(settings: Params, run: RunFolder) -> pd.DataFrame:
    """AlpacaEval proper: what its judge's ``annotations.json`` beside an arm's answers come to, a row per task and arm.

    Win rate, standard error and length-controlled win rate (%) as on its leaderboard; empty if it has not judged.
    """
    rows = []
    for task, source in (settings.tasks.sources if settings.tasks else {}).items():
        folder = run.root / "alpaca_eval" / "instructions"
        for path in sorted(folder.glob(f"*/{task}-*/{ANNOTATIONS}")) if source.instructions else []:
            arm = path.parent.name.removeprefix(f"{task}-")
            known = load_instructions(str(source.instructions))
            found = alpaca.leaderboard_row(alpaca.read_annotations(path), known, source.anchors or alpaca.ANCHORS_HUB)
            rows.append({"task": task, "protocol": path.parent.parent.name, "arm": arm} | found)
    return pd.DataFrame(rows)
