"""What every report contains besides its results: data, cost, environment, parameters, notebooks; and its figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import yaml

from guardalign.report import notebooks, svg
from guardalign.report.drawing import training_cost
from guardalign.report.results import Results, parameters


def about(results: Results, shown: Sequence[str], beside: Path) -> dict[str, Any]:
    """The last section's values for the template.

    ``shown``: the run's tables shown elsewhere in the page; ``beside``: the folder of the page.
    """
    return {
        "data_card": _data_card(results),
        "cost": training_cost(results),
        "extra_tables": [(name.replace("_", " "), each) for name, each in results.tables.items() if name not in shown],
        "environment": pd.DataFrame(results.facts.get("versions", {}).items(), columns=["package", "version"]),
        "parameters": _yaml(parameters(results)),
        "notebooks": notebooks.links(results.root, beside),
    }


def drawn(results: Results, names: Sequence[str], beside: Path) -> dict[str, dict[str, Any]]:
    """The saved figures of these names, inline, each with links to those of its files that can be reached.

    ``beside`` is the folder of the page.
    """
    folder = results.root / "figures"
    return {
        name: {"name": name, "svg": svg.inline(folder / f"{name}.svg"), "files": _reachable(folder, name, beside)}
        for name in names
    }


def _reachable(folder: Path, name: str, beside: Path) -> list[tuple[str, str]]:
    kinds = {"png": "PNG", "svg": "SVG", "csv": "numbers (CSV)"}
    paths = [(folder / f"{name}.{kind}", text) for kind, text in kinds.items()]
    return [(Path(os.path.relpath(path, beside)).as_posix(), text) for path, text in paths if path.exists()]


def _yaml(tree: dict[str, Any]) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True) if tree else ""


def _data_card(results: Results) -> pd.DataFrame:
    rows = []
    for split in dict.fromkeys(pair.split for pair in results.pairs.values()):
        pairs = [pair for pair in results.pairs.values() if pair.split == split]
        rows.append({
            "split": split,
            "conversations": len({pair.conversation_id for pair in pairs}),
            "pairs": len(pairs),
            "domains": len({pair.domain for pair in pairs}),
            "guardrails per pair": fmean(len(pair.guardrails) for pair in pairs),
            "messages per prompt": fmean(len(pair.turns) for pair in pairs),
            "words per chosen reply": fmean(len(pair.chosen.split()) for pair in pairs),
        })  # fmt: skip
    return pd.DataFrame(rows)
