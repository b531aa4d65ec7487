"""The figures of a run, drawn from what the run has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from guardalign import stats
from guardalign.errors import InputError
from guardalign.generation.replystats import reply_statistics
from guardalign.papers import PANELS
from guardalign.report import figures, tables
from guardalign.report.results import Results

OWN = {
    "contrasts", "contrasts_other", "arms", "parts", "guardrails", "figure3", "figure4", "table1", "table3", "ranking",
    "replies", "cost", "training", "held_out",
}  # fmt: skip
"""The names of the figures drawn here; any other in the folder was saved by another stage."""
Drawing = tuple[str, pd.DataFrame, Figure]
"""A figure by its file's name, with the numbers behind it."""


def draw_all(results: Results) -> list[str]:
    """Save every figure that the run has data for, judged or not; remove an earlier report's figures that it lacks.

    Returns their names in the report's order, then those of figures that other stages saved: a sweep, methods. Raises
    MissingStage if the run has neither verdicts nor scores.
    """
    folder, names = results.root / "figures", []
    for name, table, figure in _drawings(results):
        figures.save(figure, table, folder / name)
        names.append(name)
    others = sorted({path.stem for path in folder.glob("*.svg")} - set(names))
    for path in (path for name in OWN.intersection(others) for path in folder.glob(f"{name}.*")):
        path.unlink()
    return names + [name for name in others if name not in OWN]


def _drawings(results: Results) -> Iterator[Drawing]:
    if results.judged:
        yield from _judged(results)
    else:
        yield "held_out", results.held_out, figures.held_out(results.held_out, results.name, results.level)
    seeds = len(results.verdicts)
    if results.arms:
        statistics = reply_statistics(results.all_replies)
        note = f"{seeds} training seeds." if seeds > 1 else ""
        summary = statistics.groupby("arm")[["words", "tokens", "repetition", "finished"]].mean().reset_index()
        yield "replies", summary, figures.reply_panels(statistics, results.name, note, results.collapsed)
    if any(rows["step"].nunique() > 1 for rows in results.metrics.values()):
        joined = pd.concat([rows.assign(arm=arm) for arm, rows in results.metrics.items()])
        note = f"Seed {min(results.verdicts)} of {seeds}." if seeds > 1 else ""
        yield "training", joined, figures.training_curves(results.metrics, results.plan, results.name, note)


def _judged(results: Results) -> Iterator[Drawing]:
    rates, apart, looked = results.rates, results.differences, (results.name, results.collapsed, results.level)
    shown = [name for name in ("adherence", "applications") if name in set(apart["measure"])]
    yield "contrasts", apart, figures.contrasts(apart, shown, *looked)
    yield "contrasts_other", apart, figures.contrasts(apart, ("naturalness", "hallucination"), *looked)
    yield "arms", results.kept, figures.arms(results.kept, *looked)
    by_part = results.breakdown[[pair in results.named for pair in _pairs(results.breakdown)]]
    if by_part["part"].nunique() > 1:
        yield "parts", by_part, figures.parts(by_part, *looked)
    if len(results.compliance):
        yield "guardrails", results.compliance, figures.guardrail_map(results.compliance, *looked[:2])
    pairs = _pairs(rates)
    for number in ("4", "3"):
        wanted = [pair for panel, pair in PANELS.items() if panel[0] == number and pair in pairs]
        if wanted:
            panel_rates = rates[[pair in wanted for pair in pairs]]
            yield f"figure{number}", panel_rates, figures.comparison_bars(panel_rates, wanted, *looked)
    if set(pairs) & set(PANELS.values()):
        yield "table1", tables.table_1(rates), figures.table_1(rates, results.name, results.level)
    if len(results.preferred_rates):
        beside = tables.table_3(tables.against_preferred(results.preferred_rates))
        yield "table3", beside, figures.table_3(results.preferred_rates, *looked)
    if len(set(pairs)) > 1:
        ranked = stats.rank(results.compared, results.level)
        yield "ranking", ranked.scores, figures.ranking(ranked, rates, *looked)
    cost = training_cost(results)
    if cost.loc[cost["arm"].isin(set(results.kept["arm"])), "seconds_in_all"].count() > 1:
        yield "cost", cost, figures.cost(cost, results.kept, *looked)


def _pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(table["arm_1"], table["arm_2"], strict=True))


def training_cost(results: Results) -> pd.DataFrame:
    """One row per arm: steps, seconds, tokens (as rows, and as computed), from its ``training.json``; means over seeds.

    ``seconds_in_all`` includes the arms that it was trained from. Empty if nothing was trained.

    Raises InputError if a file is damaged.
    """
    columns, rows, starts = ["steps", "seconds", "logical_tokens", "unique_tokens"], [], dict[str, str]()
    paths = [path for folder in ("models", "seed-*/models") for path in results.root.glob(f"{folder}/*/training.json")]
    for path in sorted(paths):
        arm = path.parent.name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"{path} is damaged: train {arm} again") from None
        starts[arm] = Path(content.get("config", {}).get("model", "")).name
        rows.append({"arm": arm} | content.get("result", {}))
    table = pd.DataFrame(rows).reindex(columns=["arm", *columns]).groupby("arm").mean().round(1)
    in_all = []
    for arm in table.index:
        line = [arm]  # and those it was trained from, one after the other
        while (before := starts.get(line[-1], "")) in table.index and before not in line:
            line.append(before)
        in_all.append(table.loc[line, "seconds"].sum(skipna=False))
    table.insert(2, "seconds_in_all", in_all)
    return table.reset_index()
