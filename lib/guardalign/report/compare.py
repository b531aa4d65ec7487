"""Runs side by side: the same comparison, dimension and measure, one column per run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from guardalign.files import RunFolder, write_text
from guardalign.report.html import asset, environment
from guardalign.report.results import Results, load, parameters


def compare(runs: Sequence[RunFolder | str | Path], output: str | Path = "compare.html") -> Path:
    """Write a page with the win rates of two or more runs side by side, and the parameters in which they differ."""
    results = [load(run.root if isinstance(run, RunFolder) else run) for run in runs]
    page = environment().get_template("compare.html").render(
        css=Markup(asset("page.css")),
        script_hashes=Markup("'none'"),
        names=names(results),
        judges=[result.judge for result in results],
        rows=_rows(results),
        parameters=differing(results),
    )  # fmt: skip
    write_text(Path(output), page)
    return Path(output)


def names(results: Sequence[Results]) -> list[str]:
    """The runs' names; their paths where two have the same."""
    plain = [result.name for result in results]
    return plain if len(set(plain)) == len(plain) else [str(result.root) for result in results]


def side_by_side(results: Sequence[Results]) -> pd.DataFrame:
    """Long: comparison, arm_1, arm_2, dimension, run (place from 0), and ``stats.table``'s columns."""
    return pd.concat([result.rates.assign(run=place) for place, result in enumerate(results)], ignore_index=True)


def differing(results: Sequence[Results]) -> list[tuple[str, list[str]]]:
    """Parameters, by dotted name, that are not the same in all runs."""
    flat = [_flat(parameters(result)) for result in results]
    keys = sorted(set().union(*flat))
    rows = [(key, [str(one.get(key, "–")) for one in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _rows(results: Sequence[Results]) -> list[dict[str, Any]]:
    together = side_by_side(results)
    rows = []
    for (one, two, dimension), group in together.groupby(["arm_1", "arm_2", "dimension"], sort=False):
        cells = {row["run"]: row for row in group.to_dict("records")}
        rows.append({
            "arm_1": one, "arm_2": two, "dimension": dimension,
            "cells": [cells.get(place) for place in range(len(results))],
        })  # fmt: skip
    return rows


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
