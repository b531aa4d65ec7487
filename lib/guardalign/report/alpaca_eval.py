"""A comparison's replies as AlpacaEval's files, and AlpacaEval's figures from the annotations next to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from guardalign.config.params import Params
from guardalign.data.tasks import Instruction, load_instructions
from guardalign.files import RunFolder
from guardalign.stats import alpaca
from guardalign.study.jobs import Job
from guardalign.study.tasks import reader_of

OUTPUTS, ANNOTATIONS = "model_outputs.json", "annotations.json"
Compared = dict[tuple[str, int], list[alpaca.Annotation]]
"""Annotations by arm and seed: to AlpacaEval each of them is a model."""


def exchange(root: Path, protocol: str, jobs: Sequence[Job], rows: pd.DataFrame) -> Compared:
    """Write one task's replies, and the preferred ones, in AlpacaEval's format, with annotations where the task has a
    judge here (``rows`` is ``comparison.frame``'s); return the annotations found, by this judge or AlpacaEval's own.

    Answers to AlpacaEval's own instructions are written for its judge.
    """
    study, folder = jobs[0].study, root / protocol / jobs[0].study.task
    asked = [
        Instruction(
            id=each.id, dataset=study.task, instruction=each.prompt, output=each.chosen.strip(), generator="preferred"
        )
        for each in study.rows(jobs[0].split)
    ]
    alpaca.write_outputs(folder / "reference_outputs.json", asked, [each.output for each in asked], "preferred")
    found: Compared = {}
    for job in jobs:
        arm_folder, texts = folder / job.arm / f"seed-{job.seed}", [each.text for each in job.replies]
        alpaca.write_outputs(arm_folder / OUTPUTS, asked, texts, job.arm)
        if reader_of(study.settings, study.task):
            wins = rows[(rows["arm"] == job.arm) & (rows["seed"] == job.seed)]["win"]
            annotations = [
                alpaca.Annotation(
                    instruction=each.instruction, output_1=each.output, generator_1="preferred", output_2=text,
                    generator_2=job.arm, preference=1 + win, annotator="embedded", dataset=study.task,
                )
                for each, text, win in zip(asked, texts, wins, strict=True)
            ]  # fmt: skip
            alpaca.write_annotations(arm_folder / ANNOTATIONS, annotations)
        if judged := _judged(arm_folder):
            found[job.arm, job.seed] = judged
        if answered := job.instructed:
            name = f"{study.task}-{job.arm}"
            path = root / "instructions" / protocol / name / OUTPUTS
            alpaca.write_outputs(path, load_instructions(str(job.instructions)), [each.text for each in answered], name)
    return found


def _judged(folder: Path) -> list[alpaca.Annotation]:
    """The annotations of the outputs in a folder; none if nothing was judged, or if it was another model's outputs."""
    path, outputs = folder / ANNOTATIONS, folder / OUTPUTS
    if not (path.exists() and outputs.exists()):
        return []
    judged = alpaca.read_annotations(path)
    written = {(row["instruction"], row["output"]) for row in json.loads(outputs.read_text(encoding="utf-8"))}
    if written.issuperset((each.instruction, each.output_2) for each in judged):
        return judged
    print(f"{path} is left out: it judges other outputs than those in {OUTPUTS} beside it")
    return []


def length_controlled(annotations: Mapping[tuple[str, int], Sequence[alpaca.Annotation]], task: str) -> pd.DataFrame:
    """AlpacaEval's win rate, its standard error and length-controlled win rate of each arm (%), means over seeds.

    The standard error is of one seed's model, over prompts. The difficulty of a prompt is estimated from all arms'
    wins on it.
    """
    wins = {name: pd.Series({each.instruction: each.win for each in rows}) for name, rows in annotations.items()}
    difficulty = alpaca.estimated_difficulty(pd.DataFrame(wins))
    table = []
    for (arm, _), compared in annotations.items():
        raw = alpaca.win_rate(compared)
        controlled = alpaca.length_controlled(compared, [float(difficulty[each.instruction]) for each in compared])
        table.append({
            "task": task, "arm": arm, "win_rate": raw.win_rate, "standard_error": raw.standard_error,
            "length_controlled": controlled.win_rate, "length_coefficient": controlled.length,
        })  # fmt: skip
    return pd.DataFrame(table).groupby(["task", "arm"], sort=False).mean().reset_index()


def leaderboard(settings: Params, run: RunFolder) -> pd.DataFrame:
    """AlpacaEval proper: a row per task and arm, from its judge's ``annotations.json`` next to an arm's answers.

    Win rate, standard error and length-controlled win rate (%) as on its leaderboard; empty if it has not judged.
    """
    rows = []
    for task, source in (settings.tasks.sources if settings.tasks else {}).items():
        folder = run.root / "alpaca_eval" / "instructions"
        for arm_folder in sorted(folder.glob(f"*/{task}-*")) if source.instructions else []:
            if judged := _judged(arm_folder):
                known, arm = load_instructions(str(source.instructions)), arm_folder.name.removeprefix(f"{task}-")
                found = alpaca.leaderboard_row(judged, known, source.anchors or alpaca.ANCHORS_HUB)
                rows.append({"task": task, "protocol": arm_folder.parent.name, "arm": arm} | found)
    return pd.DataFrame(rows)
