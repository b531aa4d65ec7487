"""From outcomes to what a person reads: the run's tables, and files for AlpacaEval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from guardalign.config.params import Params
from guardalign.data.examples import Example
from guardalign.data.tasks import Instruction, load_instructions
from guardalign.files import RunFolder, write_text
from guardalign.report.comparison import findings, reading, showing
from guardalign.stats import alpaca
from guardalign.study.comparison import dynamics, protocol, tables, tuning
from guardalign.study.comparison.jobs import SFT
from guardalign.study.comparison.protocol import Outcome
from guardalign.world.twins import TWINS

ANNOTATIONS = "annotations.json"


def write(settings: Params, run: RunFolder, outcomes: Sequence[Outcome], protocol_name: str) -> pd.DataFrame:
    """Write a protocol's tables and return the summary; ``protocol_name`` prefixes the files (identical, tuned).

    ``<protocol>_methods.csv``: win rates and all other measures with intervals, diversity, cost and AlpacaEval's
    figures; ``<protocol>_pairs.csv``: all arms against each other; ``alpaca_eval/<protocol>/<task>/<arm>/seed-<n>/``:
    the outputs in AlpacaEval's format, with annotations by the twins' judge. A task without a judge here is judged by
    running ``alpaca_eval`` on the outputs and putting its ``annotations.json`` beside them.
    """
    tasks = protocol.section(settings)
    pairs = protocol.all_pairs(settings)
    rows, extra = [], []
    for task in tasks.sources:
        settled = [
            (each, protocol.answers_in(run, each.job, pairs[task])) for each in outcomes if each.job.task == task
        ]
        read = TWINS[task].read if tasks.sources[task].kind == "twin" else None
        own = tables.frame(settled, pairs[task]["test"], read)
        rows.append(own)
        beside = tables.diversity(settled).merge(tables.cost([each for each, _ in settled]), on=["task", "arm"])
        folder = run.root / "alpaca_eval" / protocol_name / task
        _outputs(folder, task, settled, pairs[task]["test"])
        if read:
            for (arm, seed), compared in tables.annotated(own, settled, pairs[task]["test"]).items():
                alpaca.write_annotations(_of(folder, arm, seed) / ANNOTATIONS, compared)
        if found := _annotations(folder, settled):
            beside = beside.merge(tables.length_controlled(found, task), on=["task", "arm"], how="left")
        extra.append(beside)
    everything = pd.concat(rows, ignore_index=True)
    summary = tables.summary(everything, settings.report).merge(pd.concat(extra), on=["task", "arm"])
    write_text(run.tables(f"{protocol_name}_methods.csv"), summary.to_csv(index=False))
    if everything["score"].notna().all():
        between = tables.against_each_other(everything, settings.report)
        write_text(run.tables(f"{protocol_name}_pairs.csv"), between.to_csv(index=False))
    return summary


def _of(folder: Path, arm: str, seed: int) -> Path:
    return folder / arm / f"seed-{seed}"


def _outputs(folder: Path, task: str, settled: Sequence[tables.Settled], examples: Sequence[Example]) -> None:
    """All replies, and the preferred ones, in AlpacaEval's format: for its judge, or any that reads it."""
    asked = [
        Instruction(
            id=each.id, dataset=task, instruction=each.prompt, output=each.chosen.strip(), generator="preferred"
        )
        for each in examples
    ]
    alpaca.write_outputs(folder / "reference_outputs.json", asked, [each.output for each in asked], "preferred")
    for outcome, answers in settled:
        place = _of(folder, outcome.job.arm, outcome.job.seed) / "model_outputs.json"
        alpaca.write_outputs(place, asked, [each.text for each in answers], outcome.job.arm)


def _annotations(folder: Path, settled: Sequence[tables.Settled]) -> tables.Compared:
    """What a judge said of each arm and seed, where its ``annotations.json`` lies beside the outputs."""
    names = [(outcome.job.arm, outcome.job.seed) for outcome, _ in settled]
    places = {name: _of(folder, *name) / ANNOTATIONS for name in names}
    return {name: alpaca.read_annotations(place) for name, place in places.items() if place.exists()}


def instructions(settings: Params, run: RunFolder) -> pd.DataFrame:
    """AlpacaEval proper: what its judge's ``annotations.json`` beside an arm's answers come to, a row a task and arm.

    Win rate, standard error and length-controlled win rate (%) as on its leaderboard; empty where it has not judged.
    """
    rows = []
    for task, source in protocol.section(settings).sources.items():
        folder = run.root / "alpaca_eval" / "instructions"
        for path in sorted(folder.glob(f"*/{task}-*/{ANNOTATIONS}")) if source.instructions else []:
            arm = path.parent.name.removeprefix(f"{task}-")
            known = load_instructions(str(source.instructions))
            found = alpaca.leaderboard_row(alpaca.read_annotations(path), known, source.anchors or alpaca.ANCHORS_HUB)
            rows.append({"task": task, "protocol": path.parent.parent.name, "arm": arm} | found)
    return pd.DataFrame(rows)


def _paper_b(settings: Params, run: RunFolder, summary: pd.DataFrame) -> None:
    """Paper B's three tables with this run's numbers, and which arms raise the held-out preference accuracy."""
    made = {
        "table1": reading.settings_beside_paper(settings),
        "table2": dynamics.table_2(dynamics.curves(run)),
        "table3_identical": reading.table_3(summary),
        "gains": findings.gains(summary),
    }
    for name, table in made.items():
        write_text(run.tables(f"{name}.csv"), table.to_csv(index=False))


def carry_out(settings: Params, run: RunFolder) -> None:
    """Run both protocols as far as they are not done yet, and write every table."""
    with protocol.crew(settings) as pool:
        outcomes = protocol.run_identical(settings, run, pool=pool)
        _paper_b(settings, run, write(settings, run, outcomes, "identical"))
        if protocol.section(settings).tuning:
            table, tuned = tuning.run_tuned(settings, run, pool=pool)
            write_text(run.tables("tuning.csv"), table.to_csv(index=False))
            started = [each for each in outcomes if each.job.arm == SFT]
            summary = write(settings, run, [*started, *tuned], "tuned")
            write_text(run.tables("table3_tuned.csv"), reading.table_3(summary).to_csv(index=False))
            write_text(run.tables("gains_tuned.csv"), findings.gains(summary).to_csv(index=False))
    judged = instructions(settings, run)
    if not judged.empty:
        write_text(run.tables("alpaca_eval.csv"), judged.to_csv(index=False))
    showing.save_figures(run)
    run.record("comparison", parameters=settings.sections())
