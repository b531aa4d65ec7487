"""Write docs/scaling.md's tables of training speed from the committed results: ``python benchmarks/speed_table.py``.

A test compares the page with the results.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- training speed -->\n", "<!-- /training speed -->"


def table(results: dict[str, Any]) -> str:
    """A Markdown table of one machine's results, a row a task and one for conversations of one turn and of the most."""
    machine, known = results["machine"], [row for row in results.get("turns", []) if "trl_seconds" in row]
    lines = [
        f"| {results['shape']} on {machine['name']}, {_count(machine['threads'], 'thread')} | prefix tree | TRL "
        f"{machine['versions']['trl']} | ratio | target | TRL with the tree |",
        "|---|---|---|---|---|---|",
        *(_line(row) for row in results["tasks"]),
        *(_turns(row) for row in (*known[:1], *known[-1:])),
        *(_slope(row) for row in results.get("slopes", [])),
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    if "ratio" in row:
        ours, theirs = (f"{row[f'{name}_pairs_a_second']:.2f} pairs/s" for name in ("tree", "trl"))
        aim = f"{row['target']:g}×" if "target" in row else "–"
        inside = f"{row['trl_tree_pairs_a_second']:.2f} pairs/s" if "trl_tree_pairs_a_second" in row else "–"
        return f"| {row['name']} | {ours} | {theirs} | {row['ratio']:.1f}× as fast | {aim} | {inside} |"
    if "memory_ratio" in row:
        ours, theirs = f"{row['tree_gib']:.2f} GiB", f"{row['trl_gib']:.2f} GiB"
        beside = f"{row['memory_ratio']:.2f} of it"
        return f"| {row['name']}, ten pairs | {ours} | {theirs} | {beside} | {row['target']:g} | – |"
    ours, theirs = f"{row['tree_seconds']:.2f} s", f"{row['causal_seconds']:.2f} s (plain row)"
    return f"| {row['name']} | {ours} | {theirs} | {row['causal_ratio']:.2f} of its time | {row['target']:g} | – |"


def _turns(row: dict[str, Any]) -> str:
    ours, theirs = f"{row['tree_seconds']:.2f} s", f"{row['trl_seconds']:.2f} s"
    name = f"a conversation of {_count(row['turns'], 'turn')}, IPO on all points"
    return f"| {name} | {ours} | {theirs} | {row['trl_seconds'] / row['tree_seconds']:.1f}× as fast | – | – |"


def _slope(row: dict[str, Any]) -> str:
    name = f"exponent by which seconds grow with {row['of'].replace('_', ' ')}"
    return f"| {name} | {row['tree']} | {row['trl'] or '–'} | – | – | – |"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def filled(page: str, tables: list[str]) -> str:
    """The page with ``tables`` between its two marks. Raises ValueError where they are missing."""
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return page[:start] + "\n".join(tables) + page[end:]


def committed() -> list[str]:
    """The tables of all machines whose results are committed."""
    paths = sorted((ROOT / "benchmarks" / "results").glob("training_throughput-*.json"))
    return [table(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


if __name__ == "__main__":
    page = ROOT / "docs" / "scaling.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), committed()), encoding="utf-8")
