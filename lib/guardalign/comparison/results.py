"""From outcomes to what a person reads: the run's tables, and files for AlpacaEval."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from guardalign import alpaca
from guardalign.comparison import protocol, tables, tuning
from guardalign.comparison.jobs import SFT
from guardalign.comparison.protocol import Outcome
from guardalign.encoding import Example
from guardalign.files import RunFolder, write_text
from guardalign.params import Params
from guardalign.task_sections import Tasks
from guardalign.tasks import Instruction
from guardalign.world.twins import TWINS


def write(settings: Params, run: RunFolder, outcomes: Sequence[Outcome], protocol_name: str) -> pd.DataFrame:
    """Write a protocol's tables and return the summary; ``protocol_name`` prefixes the files (identical, tuned).

    ``<protocol>_methods.csv``: win rates and all other measures with intervals, diversity, cost and AlpacaEval's
    figures; ``<protocol>_pairs.csv``: all arms against each other; ``alpaca_eval/<protocol>/<task>/<arm>/``: the first
    seed's outputs and annotations in AlpacaEval's format.
    """
    tasks = protocol.section(settings)
    pairs = protocol.all_pairs(tasks)
    rows, extra = [], []
    for task in tasks.sources:
        settled = [
            (each, protocol.answers_in(run, each.job, pairs[task])) for each in outcomes if each.job.task == task
        ]
        read = TWINS[task].read if tasks.sources[task].kind == "twin" else None
        own = tables.frame(settled, pairs[task]["test"], read)
        rows.append(own)
        beside = tables.diversity(settled).merge(tables.cost([each for each, _ in settled]), on=["task", "arm"])
        if read:
            found = tables.annotated(own, settled, pairs[task]["test"])
            beside = beside.merge(tables.length_controlled(own, found, task), on=["task", "arm"])
            _for_alpaca_eval(run, f"{protocol_name}/{task}", found, tasks, pairs[task]["test"])
        extra.append(beside)
    everything = pd.concat(rows, ignore_index=True)
    summary = tables.summary(everything, settings.report).merge(pd.concat(extra), on=["task", "arm"])
    write_text(run.tables(f"{protocol_name}_methods.csv"), summary.to_csv(index=False))
    if everything["score"].notna().all():
        between = tables.against_each_other(everything, settings.report)
        write_text(run.tables(f"{protocol_name}_pairs.csv"), between.to_csv(index=False))
    return summary


def _for_alpaca_eval(
    run: RunFolder,
    place: str,
    found: dict[str, list[alpaca.Annotation]],
    tasks: Tasks,
    examples: Sequence[Example],
) -> None:
    instructions = [
        Instruction(
            id=each.id,
            dataset=place.split("/")[-1],
            instruction=each.prompt,
            output=each.chosen.strip(),
            generator="preferred",
        )
        for each in examples
    ]
    for arm, compared in found.items():
        first = compared[: len(examples)]
        folder = run.root / "alpaca_eval" / place / arm
        alpaca.write_outputs(folder / "model_outputs.json", instructions, [each.output_2 for each in first], arm)
        alpaca.write_annotations(folder / "annotations.json", first)


def carry_out(settings: Params, run: RunFolder) -> None:
    """Run both protocols as far as they are not done yet, and write every table."""
    outcomes = protocol.run_identical(settings, run)
    write(settings, run, outcomes, "identical")
    if protocol.section(settings).tuning:
        table, tuned = tuning.run_tuned(settings, run)
        write_text(run.tables("tuning.csv"), table.to_csv(index=False))
        started = [each for each in outcomes if each.job.arm == SFT]
        write(settings, run, [*started, *tuned], "tuned")
    run.record("comparison", parameters=settings.sections())
