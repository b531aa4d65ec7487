"""What every report says around its results: data, cost, environment, parameters, notebooks; and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pandas as pd
import yaml

from guardalign.report import notebooks, svg
from guardalign.report.drawing import training_cost
from guardalign.report.results import Results, parameters


def about(results: Results, shown: Sequence[str]) -> dict[str, Any]:
    """The last section's values for the template; ``shown``: the run's tables that stand elsewhere in the page."""
    return {
        "data_card": _data_card(results),
        "cost": training_cost(results),
        "extra_tables": [(name.replace("_", " "), each) for name, each in results.tables.items() if name not in shown],
        "environment": pd.DataFrame(results.facts.get("versions", {}).items(), columns=["package", "version"]),
        "parameters": _yaml(parameters(results)),
        "notebooks": notebooks.links(results.root),
    }


def drawn(results: Results, names: Sequence[str]) -> list[dict[str, Any]]:
    """The saved figures of these names, inline."""
    folder = results.root / "figures"
    return [{"name": name, "svg": svg.inline(folder / f"{name}.svg")} for name in names]


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
            "guardrails a pair": fmean(len(pair.guardrails) for pair in pairs),
            "messages a prompt": fmean(len(pair.turns) for pair in pairs),
            "words a chosen reply": fmean(len(pair.chosen.split()) for pair in pairs),
        })  # fmt: skip
    return pd.DataFrame(rows)
