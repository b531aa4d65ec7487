"""From outcomes to what a person reads: the run's tables, and files for AlpacaEval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from guardalign import alpaca
from guardalign.comparison import protocol, reading, tables, tuning
from guardalign.comparison.jobs import SFT
from guardalign.comparison.protocol import Outcome
from guardalign.encoding import Example
from guardalign.files import RunFolder, write_text
from guardalign.params import Params
from guardalign.tasks import Instruction
from guardalign.world.twins import TWINS

ANNOTATIONS = "annotations.json"


def write(settings: Params, run: RunFolder, outcomes: Sequence[Outcome], protocol_name: str) -> pd.DataFrame:
    """Write a protocol's tables and return the summary; ``protocol_name`` prefixes the files (identical, tuned).

    ``<protocol>_methods.csv``: win rates and all other measures with intervals, diversity, cost and AlpacaEval's
    figures; ``<protocol>_pairs.csv``: all arms against each other; ``alpaca_eval/<protocol>/<task>/<arm>/``: the first
    seed's outputs in AlpacaEval's format, with annotations by the twins' judge. A task without a judge here is judged
    by running ``alpaca_eval`` on the outputs and putting its ``annotations.json`` beside them.
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
        found = tables.annotated(own, settled, pairs[task]["test"]) if read else _annotations(folder)
        if found:
            beside = beside.merge(tables.length_controlled(found, task), on=["task", "arm"], how="left")
        if read:
            for arm, compared in found.items():
                alpaca.write_annotations(folder / arm / ANNOTATIONS, compared[: len(pairs[task]["test"])])
        extra.append(beside)
    everything = pd.concat(rows, ignore_index=True)
    summary = tables.summary(everything, settings.report).merge(pd.concat(extra), on=["task", "arm"])
    write_text(run.tables(f"{protocol_name}_methods.csv"), summary.to_csv(index=False))
    if everything["score"].notna().all():
        between = tables.against_each_other(everything, settings.report)
        write_text(run.tables(f"{protocol_name}_pairs.csv"), between.to_csv(index=False))
    return summary


def _outputs(folder: Path, task: str, settled: Sequence[tables.Settled], examples: Sequence[Example]) -> None:
    """The first seed's replies, and the preferred ones, in AlpacaEval's format: for its judge, or any that reads it."""
    asked = [
        Instruction(
            id=each.id, dataset=task, instruction=each.prompt, output=each.chosen.strip(), generator="preferred"
        )
        for each in examples
    ]
    first = min(outcome.job.seed for outcome, _ in settled)
    alpaca.write_outputs(folder / "reference_outputs.json", asked, [each.output for each in asked], "preferred")
    for outcome, answers in settled:
        if outcome.job.seed == first:
            place = folder / outcome.job.arm / "model_outputs.json"
            alpaca.write_outputs(place, asked, [each.text for each in answers], outcome.job.arm)


def _annotations(folder: Path) -> dict[str, list[alpaca.Annotation]]:
    """What AlpacaEval's judge said of each arm, where its ``annotations.json`` was put beside the outputs."""
    return {path.parent.name: alpaca.read_annotations(path) for path in sorted(folder.glob(f"*/{ANNOTATIONS}"))}


def _paper_b(settings: Params, run: RunFolder, outcomes: Sequence[Outcome], summary: pd.DataFrame) -> None:
    """Paper B's three tables with this run's numbers, and which arms raise the held-out preference accuracy."""
    made = {
        "table1": reading.settings_beside_paper(settings),
        "table2": reading.dynamics(run, [each.job for each in outcomes if each.job.arm != SFT]),
        "table3_identical": reading.table_3(summary),
        "gains": reading.gains(summary),
    }
    for name, table in made.items():
        write_text(run.tables(f"{name}.csv"), table.to_csv(index=False))


def carry_out(settings: Params, run: RunFolder) -> None:
    """Run both protocols as far as they are not done yet, and write every table."""
    outcomes = protocol.run_identical(settings, run)
    _paper_b(settings, run, outcomes, write(settings, run, outcomes, "identical"))
    if protocol.section(settings).tuning:
        table, tuned = tuning.run_tuned(settings, run)
        write_text(run.tables("tuning.csv"), table.to_csv(index=False))
        started = [each for each in outcomes if each.job.arm == SFT]
        summary = write(settings, run, [*started, *tuned], "tuned")
        write_text(run.tables("table3_tuned.csv"), reading.table_3(summary).to_csv(index=False))
    run.record("comparison", parameters=settings.sections())
