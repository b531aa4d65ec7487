"""From results to one page: tables, figures, examples and their surroundings, rendered by jinja2 with autoescape."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from guardalign import stats
from guardalign.judging import canaries
from guardalign.judging.verdicts import DIMENSIONS, Verdict
from guardalign.report import tables, words
from guardalign.report.about import about, drawn
from guardalign.report.examples import packed, payload
from guardalign.report.html import asset, environment, script_hash
from guardalign.report.results import GOLD, Results, parameters

CONTENTS = (
    ("win-rates", "Win rates"), ("papers", "Beside the papers"), ("figures", "Figures"), ("examples", "Examples"),
    ("judge", "The judge"), ("precision", "Precision"), ("about", "Data, cost, environment"),
)  # fmt: skip
SHOWN = ("win_rates", "table1", "table3", "judging", "transfer")


def render(results: Results, figure_names: list[str], most_examples: int = 5_000) -> str:
    """The whole page as text."""
    script = asset("examples.js")
    block = payload(results, most_examples)
    rates = results.rates
    return environment().get_template("report.html").render(
        name=results.name,
        css=Markup(asset("page.css")),
        script=Markup(script),
        script_hashes=Markup(script_hash(script)),
        trust=_trust(results),
        headline=words.headline(_first(rates)),
        summary=words.summary(rates),
        remarks=_remarks(results),
        contents=CONTENTS,
        level=f"{100 * results.level:.0f} %",
        judge=results.judge,
        seeds=len(results.verdicts),
        rates=list(rates.itertuples(index=False)),
        dimensions=DIMENSIONS,
        table_1=_table_1(rates),
        table_3=tables.table_3(tables.against_preferred(results.preferred_rates)).to_dict("records"),
        table_3_prompts=int(results.preferred_rates["n"].max()) if len(results.preferred_rates) else 0,
        figures=drawn(results, figure_names),
        example_count=len(block["examples"]),
        example_total=block["total"],
        judge_facts=_judge_facts(results),
        judge_tables=_judge_tables(results),
        elsewhere=_elsewhere(results),
        planning=stats.planning(results.compared, level=results.level).drop(columns=["comparison", "judge"]),
        **about(results, SHOWN),
        data=packed(block),
    )  # fmt: skip


def _first(rates: pd.DataFrame) -> pd.Series:
    adherence = rates[rates["dimension"] == "adherence"]
    return (adherence if len(adherence) else rates).iloc[0]


def _trust(results: Results) -> dict[str, Any] | None:
    """What the canaries say of the judge: one line where it can be believed, all of them where it cannot.

    None for a judge that is no language model and to which no canaries were put.
    """
    verdicts = _canary_verdicts(results)
    if not verdicts and parameters(results).get("judge", {}).get("kind") not in ("llm", "recorded", "panel"):
        return None
    said = canaries.report(results.judge, verdicts)
    lines = str(said).splitlines()
    return {"trusted": said.trusted, "lines": lines[:1] if said.trusted else lines}


def _remarks(results: Results) -> list[str]:
    remarks = []
    if parameters(results).get("source", {}).get("kind") == "world" or results.judge == "embedded":
        remarks.append(
            "The numbers are of the embedded world: synthetic conversations, a small model and a judge that reads "
            "replies by rule. They show how the methods compare there, not how they would with another model or data."
        )
    return [*remarks, words.training_seeds(len(results.verdicts))]


def _table_1(rates: pd.DataFrame) -> list[dict[str, Any]]:
    lines = []
    for keys, rows in tables.table_1(rates).groupby(["flow", "panel", "arm", "opponent"], sort=False):
        cells = rows.set_index("dimension")
        lines.append({
            "flow": keys[0], "arm": keys[2], "opponent": keys[3],
            "cells": [cells.loc[name].to_dict() for name in DIMENSIONS],
        })  # fmt: skip
    return lines


def _judge_facts(results: Results) -> list[str]:
    rates = results.rates
    facts = [f"Judge: {results.judge}. Invalid verdicts: {words.share(1 - results.compared['valid'].mean())}."]
    if not rates["flips"].isna().all():
        flips, first = words.share(rates["flips"].mean()), words.share(rates["first_preferred"].mean())
        facts.append(
            f"The preference changes with the order on {flips} of prompts (mean over rows); of strict preferences, "
            f"{first} go to the reply shown first."
        )
    widest = stats.opponents(rates)["range"].max()
    facts.append(
        f"An arm’s win rate moves by at most {words.percent(widest, 1)} points with its opponent on one dimension "
        "(0 for a judge that looks at each reply by itself, on the same prompts)."
    )
    return facts


def _judge_tables(results: Results) -> list[tuple[str, pd.DataFrame]]:
    found = []
    gold = stats.gold_accuracy(results.rows, *GOLD)
    if len(gold):
        found.append(("The data’s own pairs: how often the judge puts chosen above rejected", gold))
    if _canary_verdicts(results):
        found.append(("Canaries: whom the judge prefers where the answer is known", _canaries(results)))
    judges = [name for name in results.rows["judge"].unique() if name != results.judge]
    if judges:
        kappas = [stats.kappa(results.rows, results.judge, name).assign(judge=name) for name in judges]
        found.append((f"Agreement with {results.judge} (Cohen’s κ of the four bins)", pd.concat(kappas)))
        found.append(("Agreement of all judges (Krippendorff’s α)", stats.krippendorff_alpha(results.rows)))
    return found


def _canary_verdicts(results: Results) -> list[Verdict]:
    return [verdict for said in results.parts.get("canaries", {}).values() for verdict in said]


def _canaries(results: Results) -> pd.DataFrame:
    """Share of preferences for the first arm (ties half) and how often the verdict failed."""
    table = stats.table(_canary_verdicts(results))
    table = table.rename(columns={"preferred": "prefers 1 (ties half)", "arm_1": "1", "arm_2": "2"})
    return table[["1", "2", "dimension", "prefers 1 (ties half)", "n", "invalid"]]


def _elsewhere(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """Win rates on prompts that were judged apart, e.g. of a domain nobody trained on."""
    found = []
    for part, by_seed in results.parts.items():
        if part != "canaries" and any(by_seed.values()):
            rows = pd.concat([stats.frame(said, seed) for seed, said in by_seed.items()], ignore_index=True)
            table = stats.table(rows, results.level)
            columns = ["arm_1", "arm_2", "dimension"]
            for name in ("win_1", "win_2", "strict", "net"):
                spans = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
                table[f"{name}, %"] = [
                    f"{words.percent(value)} [{words.percent(low)}, {words.percent(high)}]"
                    for value, low, high in spans
                ]
                columns.append(f"{name}, %")
            found.append((f"Win rates on the part “{part}”", table[[*columns, "n", "seeds"]]))
    return found
