"""From results to one page: what came out, figures, tables, examples, rendered by jinja2 with autoescape."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from guardalign import stats
from guardalign.judging import canaries
from guardalign.judging.verdicts import DIMENSIONS, Verdict
from guardalign.report import breakdown, tables, words
from guardalign.report.about import about, drawn
from guardalign.report.examples import packed, payload
from guardalign.report.figures.looks import named
from guardalign.report.figures.words import count, interval
from guardalign.report.html import asset, environment, script_hash
from guardalign.report.results import GOLD, Results, parameters
from guardalign.study.plan import Plan

CONTENTS = (
    ("arms", "Each arm"), ("parts", "Where they differ"), ("guardrails", "Guardrails"),
    ("papers", "Beside the papers"), ("replies", "Replies"),
    ("examples", "Examples"), ("win-rates", "Tables"), ("judge", "The judge"), ("precision", "Precision"),
    ("about", "Data, cost, environment"),
)  # fmt: skip
SHOWN = ("contrasts", "arms", "win_rates", "table1", "table3", "judging", "transfer", "tricky_replies", "data_card")
PLACED = (
    "contrasts", "arms", "contrasts_other", "parts", "guardrails", "figure4", "figure3", "table1", "table3", "replies",
    "ranking", "cost", "training",
)  # fmt: skip
"""Figures that have a place of their own in the page; others are grouped before the tables."""


def render(results: Results, figure_names: list[str], beside: Path, most_examples: int = 5_000) -> str:
    """The whole page as text; links are relative to the folder ``beside``."""
    script = asset("examples.js")
    block = payload(results, most_examples)
    figures = drawn(results, figure_names, beside)
    return environment().get_template("report.html").render(
        name=results.name,
        css=Markup(asset("page.css")),
        script=Markup(script),
        script_hashes=Markup(script_hash(script)),
        banners=results.collapsed,
        answers=answers(results.differences),
        trust=_trust(results),
        judged=_judged(results),
        remarks=_remarks(results),
        arms=arms(results),
        terms=words.GLOSSARY,
        contents=CONTENTS,
        level=f"{100 * results.level:.0f} %",
        judge=results.judge,
        seeds=len(results.verdicts),
        contrasts=contrasts(results.differences, results.exchanged, results.collapsed),
        kept=kept(results.kept, results.collapsed),
        parts=_parts(results),
        kinds=_kinds(results),
        phrases=_phrases(results),
        live=stats.live(results.compliance) if len(results.compliance) else None,
        rates=results.rates.to_dict("records"),
        dimensions=DIMENSIONS,
        table_1=_table_1(results.rates),
        table_3=tables.table_3(tables.against_preferred(results.preferred_rates)).to_dict("records"),
        table_3_prompts=int(results.preferred_rates["n"].max()) if len(results.preferred_rates) else 0,
        figures=figures,
        others=[figure for name, figure in figures.items() if name not in PLACED],
        example_count=len(block["examples"]),
        example_total=block["total"],
        judge_facts=_judge_facts(results),
        judge_tables=_judge_tables(results),
        elsewhere=_elsewhere(results),
        planning=stats.planning(results.compared, level=results.level).drop(columns=["comparison", "judge"]),
        **about(results, SHOWN, beside),
        data=packed(block),
    )  # fmt: skip


def answers(differences: pd.DataFrame) -> list[Markup]:
    """A sentence for each contrast named beforehand on the share of prompts with all guardrails kept.

    If none was named, or none judged, for every contrast.
    """
    shown = differences[differences["measure"] == "adherence"]
    named = shown[shown["named"]]
    return [words.sentence(row) for _, row in (named if len(named) else shown).iterrows()]


def contrasts(differences: pd.DataFrame, exchanged: pd.DataFrame, marks: Collection[str] = ()) -> pd.DataFrame:
    """All contrasts in readable form: differences in points by measure, applications gained and lost."""
    rows = []
    moved = {(each["arm_1"], each["arm_2"]): each for each in exchanged.to_dict("records")}
    order = differences.sort_values("named", ascending=False, kind="stable")
    for (one, two), own in order.groupby(["arm_1", "arm_2"], sort=False):
        first, cells = own.iloc[0], {each["measure"]: each for each in own.to_dict("records")}
        row = {
            "second arm": named(two, marks, 80),
            "against": named(one, marks, 80),
            "named": "yes" if first["named"] else "",
        }
        row |= {
            f"{text}, points": interval(each["difference"] / 100, each["low"] / 100, each["high"] / 100, 1, signed=True)
            for measure, text in tables.MEASURES.items()
            if (each := cells.get(measure))
        }
        row["p (Holm)"] = words.p_value(own["p"].max())
        if (one, two) in moved:
            row |= {f"applications {way}": f"{moved[one, two][way]:,.0f}" for way in ("gained", "lost")}
        rows.append(row | {"prompts": f"{first['prompts']:,} × {count(int(first['seeds']), 'seed')}"})
    return pd.DataFrame(rows)


def kept(arms: pd.DataFrame, collapsed: dict[str, str]) -> pd.DataFrame:
    """What each arm keeps, in %, in readable form, and its caveats."""
    rows = []
    for arm, own in arms.groupby("arm", sort=False):
        cells = {each["measure"]: each for each in own.to_dict("records")}
        row = {"arm": words.arm(arm)} | {
            f"{text}, %": interval(each["value"], each["low"], each["high"])
            for measure, text in tables.MEASURES.items()
            if (each := cells.get(measure))
        }
        rows.append(row | ({"beware": collapsed.get(str(arm), "")} if collapsed else {}))
    return pd.DataFrame(rows)


def _parts(results: Results) -> pd.DataFrame | None:
    """``breakdown.parts`` in readable form; None without verdicts on guardrails."""
    table = results.breakdown
    if table.empty:
        return None
    rows = [
        {
            "part": breakdown.PARTS[each["part"]],
            "second arm": words.arm(each["arm_2"]),
            "against": words.arm(each["arm_1"]),
            "difference, points": interval(each["net"], each["net_low"], each["net_high"], 1, signed=True),
            "kept by the second, %": f"{100 * each['kept_2']:.0f}",
            "kept by the first, %": f"{100 * each['kept_1']:.0f}",
            "gained": f"{each['gained']:,.0f}",
            "lost": f"{each['lost']:,.0f}",
            "applications": f"{each['applications']:,}",
        }
        for each in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _kinds(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """Gained and lost applications by kind, for the contrasts named beforehand."""
    found = []
    for one, two in results.named:
        table = breakdown.by_kind(results.statuses, (one, two))
        if len(table):
            readable = table.assign(net=[f"{100 * net:+.1f}" for net in table["net"]]).rename(columns={"net": "points"})
            found.append((f"{words.arm(two)} less {words.arm(one)}, by kind of guardrail", readable))
    return found


def _phrases(results: Results) -> pd.DataFrame | None:
    table = breakdown.phrases(results.replies)
    if table.empty:
        return None
    return pd.DataFrame({
        "arm": [words.arm(arm) for arm in table["arm"]],
        "replies with a canned phrase, %": [f"{100 * share:.0f}" for share in table["canned"]],
    })  # fmt: skip


def arms(results: Results) -> list[dict[str, str | Markup]]:
    """The arms of the run with the paper's notation and, if the run recorded its plan, what they are trained on."""
    plan = results.plan
    named = list(dict.fromkeys([*(plan.order() if plan else ()), *results.kept["arm"]]))
    return [
        {"name": name, "words": words.arm(name), "notation": words.notation(name), "made": _made(plan, name)}
        for name in named
    ]


def _made(plan: Plan | None, name: str) -> str:
    """How an arm is trained, from the plan."""
    arm = plan.arms.get(name) if plan else None
    if arm is None:
        return ""
    parts = [f"{words.arm(arm.method)} from {words.arm(arm.start)}", f"learning rate {arm.learning_rate:g}"]
    parts += [] if arm.method == "sft" else [f"β {arm.beta:g}"]
    parts += [f"reference {words.arm(arm.reference)}"] if arm.reference not in (None, arm.start) else []
    pairs = arm.pairs
    parts += [f"{f'the first {pairs.count} ' if pairs.count else ''}{' and '.join(pairs.splits)} pairs"]
    parts += [f"part {pairs.part[0]} of {pairs.part[1]}"] if pairs.part else []
    if pairs.judged:
        how = "worse than the chosen reply" if pairs.replies == "worse" else "otherwise than the chosen reply, all kept"
        parts += [f"of these the prompts that {words.arm(pairs.judged)} answers {how}"]
        parts += ["with its replies as the rejected ones"] if pairs.rejected != "data" else []
    parts += [f"{100 * pairs.swapped:g} % of them exchanged"] if pairs.swapped else []
    return ", ".join(parts)


def _trust(results: Results) -> dict[str, Any] | None:
    """The canaries: one line if the judge passes, all of them if it does not.

    None for a judge that is no language model and to which no canaries were put.
    """
    verdicts = _canary_verdicts(results)
    if not verdicts and parameters(results).get("judge", {}).get("kind") not in ("llm", "recorded", "panel"):
        return None
    said = canaries.report(results.judge, verdicts)
    lines = str(said).splitlines()
    return {"trusted": said.trusted, "lines": lines[:1] if said.trusted else lines}


def _judged(results: Results) -> list[str]:
    """Who judged what, and how good the judge is, if known."""
    rates = results.rates
    prompts = int((rates["n"] / rates["seeds"].clip(lower=1)).max())
    seeds = count(int(rates["seeds"].max()), "seed")
    reads = "rules that read the text of each reply" if results.judge == "embedded" else results.judge
    said = [
        f"Judge: {reads}. It judged {prompts:,} test prompts of {int(rates['conversations'].max()):,} conversations × "
        f"{seeds} in {count(rates['comparison'].nunique(), 'comparison')}."
    ]
    tricky = results.tables.get("tricky_replies")
    if tricky is not None and {"a person says", "the judge says"} <= set(tricky):
        agree = (tricky["a person says"] == tricky["the judge says"]).mean()
        on = f"{agree:.1%} of {len(tricky)} verdicts on hand-made replies"
        said.append(f"Examination: it agrees with a person on {on}.")
    gold = stats.gold_accuracy(results.rows, *GOLD)
    own = gold[(gold["judge"] == results.judge) & (gold["dimension"] == "adherence")] if len(gold) else gold
    if len(own):
        said.append(f"It prefers the data’s chosen reply to the rejected one in adherence on {_right(own)} of prompts.")
    return said


def _right(gold: pd.DataFrame) -> str:
    name = next(column for column in ("accuracy", "right") if column in gold)
    row = gold.iloc[0]
    ends = (row.get(f"{name}_low", float("nan")), row.get(f"{name}_high", float("nan")))
    number, _, brackets = interval(row[name], *ends).partition("\N{NO-BREAK SPACE}")
    return f"{number} % {brackets}".strip()


def _remarks(results: Results) -> list[str]:
    remarks = []
    if parameters(results).get("source", {}).get("kind") == "world" or results.judge == "embedded":
        remarks.append(
            "The numbers are of the embedded world: synthetic conversations, a small model and a rule-based judge. "
            "They show how the methods compare there, not how they would with another model or data."
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
    facts = [f"Invalid verdicts: {words.share(1 - results.compared['valid'].mean())}."]
    if not rates["flips"].isna().all():
        flips, first = words.share(rates["flips"].mean()), words.share(rates["first_preferred"].mean())
        facts.append(
            f"The preference changes with the order on {flips} of prompts (mean over rows); of strict preferences, "
            f"{first} go to the reply shown first."
        )
    widest = stats.opponents(rates)["range"].max()
    if widest > 0:
        facts.append(f"An arm’s win rate differs between opponents by at most {words.percent(widest, 1)} points.")
    else:
        facts.append("Win rates do not depend on the opponent: the judge scores each reply alone.")
    return facts


def _judge_tables(results: Results) -> list[tuple[str, pd.DataFrame]]:
    found = []
    gold = stats.gold_accuracy(results.rows, *GOLD)
    if len(gold):
        found.append(("The data’s own pairs: how often the judge puts chosen above rejected", gold))
    if _canary_verdicts(results):
        found.append(("Canaries: the judge’s preference where the answer is known", _canaries(results)))
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
    return stats.table(_canary_verdicts(results))[["arm_1", "arm_2", "dimension", "preferred", "n", "seeds", "invalid"]]


def _elsewhere(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """Win rates on parts of the verdicts, such as a held-out domain."""
    found = []
    for part, by_seed in results.parts.items():
        if part != "canaries" and any(by_seed.values()):
            rows = pd.concat([stats.frame(said, seed) for seed, said in by_seed.items()], ignore_index=True)
            table = stats.table(rows, results.level, contrasts=())
            names = [f"{name}{end}" for name in ("win_1", "win_2", "net") for end in ("", "_low", "_high")]
            columns = ["arm_1", "arm_2", "dimension", *names, "n", "seeds"]
            found.append((f"Prompts of the part “{part}”", table[columns]))
    return found
