"""Write docs/scaling.md's tables of speed from the committed results: ``python benchmarks/speed_table.py``.

A test compares the page with the results.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scaling.md"


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
        ours, theirs, inside = (_pairs(row, name) for name in ("tree", "trl", "trl_tree"))
        aim = f"{row['target']:g}×" if "target" in row else "–"
        return f"| {row['name']} | {ours} | {theirs} | {row['ratio']:.1f}× as fast | {aim} | {inside} |"
    if "memory_ratio" in row:
        ours, theirs = f"{row['tree_gib']:.2f} GiB", f"{row['trl_gib']:.2f} GiB"
        beside = f"{row['memory_ratio']:.2f} of it"
        return f"| {row['name']}, ten pairs | {ours} | {theirs} | {beside} | {row['target']:g} | – |"
    ours, theirs = f"{row['tree_seconds']:.2f} s", f"{row['causal_seconds']:.2f} s (plain row)"
    return f"| {row['name']} | {ours} | {theirs} | {row['causal_ratio']:.2f} of its time | {row['target']:g} | – |"


def _pairs(row: dict[str, Any], engine: str) -> str:
    if f"{engine}_pairs_a_second" not in row:
        return "–"
    share = row.get(f"{engine}_share_of_peak")
    return f"{row[f'{engine}_pairs_a_second']:.2f} pairs/s" + (f" ({share:.0%} of peak)" if share else "")


def _turns(row: dict[str, Any]) -> str:
    ours, theirs = f"{row['tree_seconds']:.2f} s", f"{row['trl_seconds']:.2f} s"
    name = f"a conversation of {_count(row['turns'], 'turn')}, IPO on all points"
    return f"| {name} | {ours} | {theirs} | {row['trl_seconds'] / row['tree_seconds']:.1f}× as fast | – | – |"


def _slope(row: dict[str, Any]) -> str:
    name = f"exponent by which seconds grow with {row['of'].replace('_', ' ')}"
    return f"| {name} | {row['tree']} | {row['trl'] or '–'} | – | – | – |"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def decoding(files: list[dict[str, Any]]) -> str:
    """A Markdown table of how fast replies come, a row for every shape and number of samples a prompt."""
    lines = [
        "| shape | prompts | replies a prompt | shared prefixes | `model.generate` | ratio | processor time | equal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for file in files:
        for row in file["rows"]:
            ours, theirs = (f"{row[f'{name}_replies_a_second']:.2f} replies/s" for name in ("shared", "plain"))
            ratios = f"{row['ratio']:.1f}× as fast | {row['processor_ratio']:.1f}×"
            asked = f"{file['shape']} | {row['prompts']} | {row['samples']}"
            lines.append(f"| {asked} | {ours} | {theirs} | {ratios} | {row['equal']:.0%} |")
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """The page with the committed tables between their marks. Raises ValueError where a mark is missing."""
    tables = {
        "training speed": "\n".join(map(table, _results("training_throughput"))),
        "decoding speed": decoding(_results("generation_throughput")),
    }
    for name, text in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        page = page[: page.index(begin) + len(begin)] + text + page[page.index(end) :]
    return page


def _results(benchmark: str) -> list[dict[str, Any]]:
    """All machines' results that are committed."""
    paths = sorted((ROOT / "benchmarks" / "results").glob(f"{benchmark}-*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
