"""The figures of a run, drawn from what the run has, and how any report saves its own."""

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
from guardalign.papers import PANELS
from guardalign.report import figures, tables
from guardalign.report.results import Results

OWN = re.compile(
    r"contrasts(_other)?|arms|parts|figure[34]|comparisons\d+|table[13]|forest|ranking|pairs_\w+|tradeoff|guardrails|cost|"
    r"training|replies|held_out"
)
"""The names that reports' figures have or had; any other in the folder was not drawn here."""


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


OTHERS = ("naturalness", "hallucination")


def drawings(results: Results) -> Iterator[Drawing]:
    """The figures of a judged run, in the order of the page."""
    rates, profile, marks = results.rates, results.name, results.collapsed
    apart = results.differences
    shown = [name for name in ("adherence", "applications") if name in set(apart["measure"])]
    yield Drawing("contrasts", apart, lambda: figures.contrasts(apart, shown, profile, marks))
    yield Drawing("arms", results.kept, lambda: figures.arms(results.kept, profile, marks))
    yield Drawing("contrasts_other", apart, lambda: figures.contrasts(apart, OTHERS, profile, marks))
    by_part = results.breakdown[[pair in results.named for pair in _pairs_of(results.breakdown)]]
    if by_part["part"].nunique() > 1:
        yield Drawing("parts", by_part, lambda: figures.parts(by_part, profile, marks))
    if len(results.compliance):
        yield Drawing(
            "guardrails", results.compliance, lambda: figures.guardrail_map(results.compliance, profile, marks)
        )
    here = set(zip(rates["arm_1"], rates["arm_2"], strict=True))
    for number in ("4", "3"):
        pairs = [pair for panel, pair in PANELS.items() if panel[0] == number and pair in here]
        if pairs:
            part = rates[[pair in pairs for pair in zip(rates["arm_1"], rates["arm_2"], strict=True)]]
            yield Drawing(f"figure{number}", part, _bars(part, pairs, profile, marks))
    if here & set(PANELS.values()):
        yield Drawing("table1", tables.table_1(rates), lambda: figures.table_1(rates, profile))
    if len(results.preferred_rates):
        beside = tables.table_3(tables.against_preferred(results.preferred_rates))
        yield Drawing("table3", beside, lambda: figures.table_3(results.preferred_rates, profile, marks))
    if len(here) > 1:
        ranked = stats.rank(results.compared, results.level)
        yield Drawing("ranking", ranked.scores, lambda: figures.ranking(ranked, rates, profile, marks))
    yield from reply_lengths(results)
    cost = training_cost(results)
    if len(cost[cost["arm"].isin(set(results.kept["arm"]))].dropna(subset=["seconds_in_all"])) > 1:
        yield Drawing("cost", cost, lambda: figures.cost(cost, results.kept, profile, marks))
    yield from training(results)


def _pairs_of(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(table["arm_1"], table["arm_2"], strict=True)


def _bars(
    part: pd.DataFrame, pairs: list[tuple[str, str]], profile: str, marks: dict[str, str]
) -> Callable[[], Figure]:
    return lambda: figures.comparison_bars(part, pairs, profile, marks)


def training_cost(results: Results) -> pd.DataFrame:
    """One row per arm: steps, seconds, tokens (as rows, and as computed), from its ``training.json``; means over seeds.

    ``seconds_in_all`` adds what the arms took that it was trained from. Empty if nothing was trained.
    """
    rows, starts = [], dict[str, str]()
    folders = ("models", "seed-*/models")
    for path in sorted(path for folder in folders for path in results.root.glob(f"{folder}/*/training.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("result", {})
        starts[path.parent.name] = Path(content.get("config", {}).get("model", "")).name
        names = ("steps", "seconds", "logical_tokens", "unique_tokens")
        rows.append({"arm": path.parent.name} | {name: found.get(name) for name in names})
    recorded = pd.DataFrame(rows, columns=["arm", "steps", "seconds", "logical_tokens", "unique_tokens"])
    table = recorded.groupby("arm").mean().round(1)
    seconds = table["seconds"].to_dict()
    in_all = [sum(seconds[each] for each in _line(str(arm), starts)) for arm in table.index]
    table.insert(2, "seconds_in_all", in_all)
    return table.reset_index()


def _line(arm: str, starts: dict[str, str]) -> list[str]:
    """``arm`` and those it was trained from, one after the other."""
    line = [arm]
    while (before := starts.get(line[-1], "")) in starts and before not in line:
        line.append(before)
    return line


def training(results: Results) -> Iterator[Drawing]:
    """The first seed's training curves, if an arm has more than one step."""
    if any(rows["step"].nunique() > 1 for rows in results.metrics.values()):
        joined = pd.concat([rows.assign(arm=arm) for arm, rows in results.metrics.items()])
        seeds = list(results.verdicts)
        note = f"Seed {seeds[0]} of {len(seeds)}." if len(seeds) > 1 else ""
        methods = {name: arm.method for name, arm in results.plan.arms.items()} if results.plan else {}
        yield Drawing("training", joined, lambda: figures.training_curves(results.metrics, methods, results.name, note))


def reply_lengths(results: Results) -> Iterator[Drawing]:
    """Length, repetition and cut-offs of all seeds' replies, if there are any."""
    if results.arms:
        statistics = reply_statistics(results.all_replies)
        note = f"{len(results.replies)} training seeds." if len(results.replies) > 1 else ""
        summary = statistics.groupby("arm")[["words", "tokens", "repetition", "finished"]].mean().reset_index()
        yield Drawing(
            "replies", summary, lambda: figures.reply_panels(statistics, results.name, note, results.collapsed)
        )
