"""The report of a run without a judge: which of the data's replies each arm prefers, and no further claim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from guardalign.report import figures, words
from guardalign.report.about import about, drawn
from guardalign.report.drawing import Drawing, reply_lengths, training
from guardalign.report.html import asset, environment
from guardalign.report.results import Results
from guardalign.study.plan import BASE, Plan

EXAMPLES = 30
CONTENTS = (
    ("arms", "All arms"),
    ("figures", "Figures"),
    ("examples", "Examples"),
    ("about", "Data, cost, environment"),
)
SHOWN = ("judging", "held_out", "sft", "flow1", "flow2")


def drawings(results: Results) -> Iterator[Drawing]:
    """The page's figures. Raises MissingStage without scores."""
    table = results.held_out
    yield Drawing("held_out", table, lambda: figures.held_out(table, profile=results.name))
    yield from reply_lengths(results)
    yield from training(results)


def render(results: Results, figure_names: list[str], beside: Path) -> str:
    """The whole page as text; links are relative to the folder ``beside``. Raises MissingStage without scores."""
    table = results.held_out
    return environment().get_template("unjudged.html").render(
        name=results.name,
        css=Markup(asset("page.css")),
        script_hashes=Markup("'none'"),
        headline=_headline(table, results.plan),
        finding=words.held_out(table),
        remark=words.training_seeds(len(results.verdicts)),
        contents=CONTENTS,
        level=f"{100 * results.level:.0f} %",
        pairs=int(table["n"].max()),
        rows=table.to_dict("records"),
        others=list(drawn(results, figure_names, beside).values()),
        examples=_examples(results, list(table["arm"])),
        **about(results, SHOWN, beside),
    )  # fmt: skip


def _headline(table: pd.DataFrame, plan: Plan | None) -> Markup | str:
    """The first aligned arm next to the fine-tuned one it started from, as in paper A's Figure 4; else the finding."""
    rows = {str(row["arm"]): row for _, row in table.iterrows()}
    for name, arm in plan.arms.items() if plan else ():
        if arm.method != "sft" and {name, arm.start} <= rows.keys() and arm.start != BASE:
            return words.lead(rows[name], rows[arm.start])
    return words.held_out(table)


def _examples(results: Results, arms: list[str]) -> list[dict[str, Any]]:
    """Prompts of the test split, taken evenly, with every arm's reply."""
    names = [arm for arm in arms if arm in results.arms]
    answered = {pair_id for _, pair_id in results.texts}
    pairs = [pair for pair in results.pairs.values() if pair.split == "test" and pair.id in answered]
    return [
        {"pair": pair, "replies": [(arm, results.texts.get((arm, pair.id), "")) for arm in names]}
        for pair in pairs[:: max(1, -(-len(pairs) // EXAMPLES))]
    ]
