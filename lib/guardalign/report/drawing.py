"""The figures of a judged run, drawn from what the run has, and how any report saves its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from guardalign import stats
from guardalign.generation.replystats import reply_statistics
from guardalign.judging.verdicts import DIMENSIONS
from guardalign.papers import PANELS
from guardalign.report import figures, tables
from guardalign.report.results import Results

OWN = re.compile(
    r"figure[34]|comparisons\d+|table[13]|forest|ranking|pairs_\w+|tradeoff|guardrails|cost|training|replies|held_out"
)
"""The names of reports' figures; any other in the folder is somebody else's."""


@dataclass(frozen=True)
class Drawing:
    """A figure by its file's name, the numbers behind it, and how to draw it."""

    name: str
    table: pd.DataFrame
    draw: Callable[[], Figure]


def save_all(wanted: Iterable[Drawing], folder: Path) -> list[str]:
    """Draw and save; returns the names, with those of the figures that other stages saved there: a sweep, methods.

    Figures of an earlier report that are no longer drawn are removed.
    """
    names = []
    for drawing in wanted:
        figures.save(drawing.draw(), drawing.table, folder / drawing.name)
        names.append(drawing.name)
    others = sorted({path.stem for path in folder.glob("*.svg")} - set(names))
    for name in filter(OWN.fullmatch, others):
        for path in folder.glob(f"{name}.*"):
            path.unlink()
    return names + [name for name in others if not OWN.fullmatch(name)]


def drawings(results: Results) -> Iterator[Drawing]:
    """The figures of a judged run, one by one."""
    rates, profile = results.rates, results.name
    here = set(zip(rates["arm_1"], rates["arm_2"], strict=True))
    published = list(PANELS.values())
    for number in ("4", "3"):
        shown = [pair for panel, pair in PANELS.items() if panel[0] == number and pair in here]
        if shown:
            part = rates[[pair in shown for pair in zip(rates["arm_1"], rates["arm_2"], strict=True)]]
            yield Drawing(f"figure{number}", part, _later(figures.comparison_bars, part, shown, profile=profile))
    others = [pair for pair in dict.fromkeys(zip(rates["arm_1"], rates["arm_2"], strict=True)) if pair not in published]
    for place in range(0, len(others), 4):
        shown = others[place : place + 4]
        part = rates[[pair in shown for pair in zip(rates["arm_1"], rates["arm_2"], strict=True)]]
        name = f"comparisons{place // 4 + 1}"
        yield Drawing(name, part, _later(figures.comparison_bars, part, shown, profile=profile))
    if here & set(published):
        yield Drawing("table1", tables.table_1(rates), _later(figures.table_1, rates, profile=profile))
    if len(results.preferred_rates):
        beside = tables.table_3(tables.against_preferred(results.preferred_rates))
        yield Drawing("table3", beside, _later(figures.table_3, results.preferred_rates, profile=profile))
    yield Drawing("forest", stats.opponents(rates), _later(figures.forest, rates, profile=profile))
    yield from _across_arms(results)
    yield from training(results)


def training_cost(results: Results) -> pd.DataFrame:
    """One row an arm: steps, seconds, tokens (as rows, and as computed), from its ``training.json``; means over seeds.

    What an arm started from is not added. Empty where nothing was trained.
    """
    rows = []
    folders = ("models", "seed-*/models")
    for path in sorted(path for folder in folders for path in results.root.glob(f"{folder}/*/training.json")):
        found = json.loads(path.read_text(encoding="utf-8")).get("result", {})
        names = ("steps", "seconds", "logical_tokens", "unique_tokens")
        rows.append({"arm": path.parent.name} | {name: found.get(name) for name in names})
    told = pd.DataFrame(rows, columns=["arm", "steps", "seconds", "logical_tokens", "unique_tokens"])
    return told.groupby("arm").mean().round(1).reset_index()


def _across_arms(results: Results) -> Iterator[Drawing]:
    rates, profile = results.rates, results.name
    if rates["comparison"].nunique() > 1:
        ranked = stats.rank(results.compared, results.level)
        yield Drawing("ranking", ranked.scores, _later(figures.ranking, ranked, rates, profile=profile))
        for dimension in DIMENSIONS:
            part = rates[rates["dimension"] == dimension]
            yield Drawing(f"pairs_{dimension}", part, _later(figures.pair_map, part, dimension, profile=profile))
        yield Drawing("tradeoff", stats.opponents(rates), _later(figures.tradeoff, rates, profile=profile))
    if len(results.compliance):
        yield Drawing("guardrails", results.compliance,
                      _later(figures.guardrail_map, results.compliance, profile=profile))  # fmt: skip
    yield from reply_lengths(results)
    cost = training_cost(results)
    seconds = cost.dropna(subset=["seconds"]).set_index("arm")["seconds"].astype(float)
    arms = set(rates["arm_1"]) | set(rates["arm_2"])
    if len(seconds[seconds.index.isin(arms)]) > 1:
        draw = _later(figures.cost_against_wins, rates, seconds, "s of training", profile=profile)
        yield Drawing("cost", cost, draw)


def training(results: Results) -> Iterator[Drawing]:
    """The first seed's training curves, where there are any."""
    if results.metrics:
        joined = pd.concat([rows.assign(arm=arm) for arm, rows in results.metrics.items()])
        seeds = list(results.verdicts)
        note = f"Seed {seeds[0]} of {len(seeds)}." if len(seeds) > 1 else ""
        draw = _later(figures.training_curves, results.metrics, profile=results.name, note=note)
        yield Drawing("training", joined, draw)


def reply_lengths(results: Results) -> Iterator[Drawing]:
    """Length, repetition and cut-offs of all seeds' replies, where there are any."""
    if results.arms:
        statistics = reply_statistics(results.all_replies)
        note = f"{len(results.replies)} training seeds." if len(results.replies) > 1 else ""
        summary = statistics.groupby("arm")[["words", "tokens", "repetition", "finished"]].mean().reset_index()
        yield Drawing("replies", summary, _later(figures.reply_panels, statistics, profile=results.name, note=note))


def _later(draw: Callable[..., Figure], *given: object, **named: object) -> Callable[[], Figure]:
    return lambda: draw(*given, **named)
