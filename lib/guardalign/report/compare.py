"""Runs side by side: the same comparison, dimension and measure, columns per run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from guardalign.files import write_text
from guardalign.report import html
from guardalign.report.readable import readable
from guardalign.report.results import Results, load


def compare(runs: Sequence[str | Path | Results], output: str | Path = "compare.html") -> Path:
    """Write a page with the win rates of two or more runs side by side, and the parameters in which they differ."""
    results = [run if isinstance(run, Results) else load(run) for run in runs]
    names = [result.name for result in results]
    if len(set(names)) < len(names):
        names = [str(result.root) for result in results]
    page = html.render(
        "compare.html",
        names=names,
        judges=[result.judge for result in results],
        rates=rates_by_run(results, names),
        parameters=differing(results, names),
    )
    write_text(Path(output), page)
    return Path(output)


def rates_by_run(results: Sequence[Results], names: Sequence[str]) -> pd.DataFrame:
    """A row per comparison (arm_1, arm_2) and dimension; each run's win rates, difference and prompts, readable."""
    columns = []
    for result, name in zip(results, names, strict=True):
        keys = pd.MultiIndex.from_frame(result.rates[["arm_1", "arm_2", "dimension"]])
        columns.append(readable(result.rates, ("win_1", "win_2", "net", "n")).set_axis(keys).add_suffix(f" · {name}"))
    return pd.concat(columns, axis=1).fillna("not in this run").reset_index()


def differing(results: Sequence[Results], names: Sequence[str]) -> pd.DataFrame:
    """Parameters, by dotted name, that are not the same in all runs: a column per run."""
    flat = pd.json_normalize([result.parameters for result in results]).astype(str).replace("nan", "–")
    table = flat.set_axis(list(names)).T.rename_axis("parameter").sort_index()
    return table[table.nunique(axis=1) > 1].reset_index()
