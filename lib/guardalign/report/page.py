"""From results to one page: findings, figures, tables, examples, rendered by jinja2 with autoescape."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup

from guardalign import stats
from guardalign.config.plan import Arm, Plan
from guardalign.report import breakdown, html, judge, notebooks, tables, words
from guardalign.report.drawing import training_cost
from guardalign.report.examples import answered, packed, payload
from guardalign.report.figures.looks import named, plain
from guardalign.report.figures.words import count, interval, minus, p_value
from guardalign.report.readable import PERCENT, POINTS, cell, readable
from guardalign.report.results import Results

CONTENTS = (
    ("arms", "Each arm"), ("parts", "Where they differ"), ("guardrails", "Guardrails"),
    ("papers", "Beside the papers"), ("replies", "Replies"),
    ("examples", "Examples"), ("win-rates", "Tables"), ("judge", "The judge"), ("precision", "Precision"),
    ("about", "Data, cost, environment"),
)  # fmt: skip
SHOWN = ("contrasts", "arms", "win_rates", "table1", "table3", "judging", "transfer", "sampled", "tricky_replies",
         "data_card", "held_out")  # fmt: skip
"""The run's tables that the page shows elsewhere, or that repeat one of its own."""
PLACED = (
    "contrasts", "arms", "contrasts_other", "parts", "guardrails", "figure4", "figure3", "table1", "table3", "replies",
    "ranking", "cost", "training",
)  # fmt: skip
"""Figures that have a place of their own in the page; others are grouped before the tables."""
RATES = ("arm_1", "arm_2", "dimension", "win_1", "win_2", "strict", "net", "p_holm", "n", "flips", "invalid")
PAIR = ["arm_1", "arm_2"]


def render(results: Results, figure_names: list[str], beside: Path) -> str:
    """The whole page as text; links are relative to the folder ``beside``.

    Raises MissingStage if the run has neither verdicts nor scores.
    """
    figures = _drawn(results.root / "figures", figure_names, beside)
    shared: dict[str, Any] = {
        "name": results.name,
        "level": f"{100 * results.level:.0f} %",
        "data_card": _data_card(results),
        "cost": training_cost(results),
        "extra_tables": [(name.replace("_", " "), each) for name, each in results.tables.items() if name not in SHOWN],
        "environment": pd.DataFrame(results.facts.get("versions", {}).items(), columns=["package", "version"]),
        "parameters": results.parameters and yaml.safe_dump(results.parameters, sort_keys=False, allow_unicode=True),
        "notebooks": notebooks.links(results.root, beside),
    }
    if not results.judged:
        return html.render(
            "unjudged.html",
            answers=leads(results.held_out, results.plan),
            remark=words.training_seeds(len(results.verdicts)),
            held_out=readable(results.held_out, ("arm", "accuracy", "per_token", "lead", "gain", "nll", "n")),
            others=list(figures.values()),
            examples=answered(results, results.held_out["arm"]),
            **shared,
        )
    block, preferred, drawn = payload(results), results.preferred_rates, results.sampled
    return html.render(
        "report.html",
        "examples.js",
        banners=results.collapsed,
        answers=answers(results.differences, results.level),
        trust=judge.trust(results),
        judged=judge.judged(results),
        remarks=judge.remarks(results),
        arms=arms(results),
        terms=words.GLOSSARY,
        contents=CONTENTS,
        judge=results.judge,
        seeds=len(results.verdicts),
        contrasts=contrasts(results.differences, results.exchanged, results.collapsed),
        kept=kept(results.kept, results.collapsed),
        sampled=(contrasts(drawn.differences, drawn.exchanged), kept(drawn.kept, drawn.collapsed)) if drawn else (),
        samples=results.plan.samples,
        parts=_parts(results.breakdown),
        kinds=_kinds(results),
        phrases=breakdown.phrases(results.replies),
        live=stats.live(results.compliance),
        rates=readable(results.rates, RATES),
        table_1=_table_1(results.rates),
        table_3=tables.table_3(tables.against_preferred(preferred)).set_index("method").div(100).reset_index(),
        table_3_prompts=int(preferred["n"].max()) if len(preferred) else 0,
        figures=figures,
        others=[figure for name, figure in figures.items() if name not in PLACED],
        judge_facts=judge.facts(results),
        judge_tables=judge.judge_tables(results),
        elsewhere=judge.elsewhere(results),
        planning=stats.planning(results.compared, level=results.level).drop(columns=["comparison", "judge"]),
        block=block,
        data=packed(block),
        **shared,
    )


def answers(differences: pd.DataFrame, level: float = 0.95) -> list[Markup]:
    """A sentence for each contrast named beforehand on the share of prompts with all guardrails kept.

    If none was named, or none judged, for every contrast. ``level`` is that of the intervals.
    """
    shown = differences[differences["measure"] == "adherence"]
    named = shown[shown["named"]]
    return [words.sentence(row, level) for _, row in (named if len(named) else shown).iterrows()]


def leads(held_out: pd.DataFrame, plan: Plan) -> list[Markup]:
    """A sentence for each aligned arm of the plan and the arm it started from (rows of ``heldout.table``)."""
    rows = {str(row["arm"]): row for _, row in held_out.iterrows()}
    aligned = [arm for arm in plan.arms.values() if arm.method != "sft"]
    return [words.lead(rows[arm.name], rows[arm.start]) for arm in aligned if {arm.name, arm.start} <= rows.keys()]


def contrasts(differences: pd.DataFrame, exchanged: pd.DataFrame, marks: Collection[str] = ()) -> pd.DataFrame:
    """All contrasts in readable form: differences in points by measure, applications gained and lost."""
    order = differences.sort_values("named", ascending=False, kind="stable")
    ends = {to: order[name] / 100 for to, name in (("value", "difference"), ("low", "low"), ("high", "high"))}
    first = order.drop_duplicates(PAIR).merge(exchanged[[*PAIR, "gained", "lost"]], on=PAIR, how="left")
    table = pd.DataFrame({
        "second arm": [named(arm, marks, 80) for arm in first["arm_2"]],
        "against": [named(arm, marks, 80) for arm in first["arm_1"]],
        "named": first["named"].map({True: "yes", False: ""}),
    })  # fmt: skip
    table = table.join(_by_measure(order.assign(**ends), PAIR, POINTS))
    table["p (Holm)"] = [p_value(p) for p in order.groupby(PAIR, sort=False)["p"].max()]
    for way in ("gained", "lost") if len(exchanged) else ():
        table[f"applications {way}"] = [cell(round(number) if number == number else None) for number in first[way]]
    seeds = [count(int(number), "seed") for number in first["seeds"]]
    return table.assign(prompts=[f"{n:,} × {many}" for n, many in zip(first["prompts"], seeds, strict=True)])


def kept(arms: pd.DataFrame, collapsed: dict[str, str]) -> pd.DataFrame:
    """What each arm keeps, in %, in readable form, and its caveats."""
    order = arms["arm"].drop_duplicates()
    table = _by_measure(arms, ["arm"], PERCENT)
    table.insert(0, "arm", [plain(arm) for arm in order])
    warnings = [collapsed.get(arm, "") for arm in order]
    return table.assign(warning=warnings) if any(warnings) else table


def _by_measure(table: pd.DataFrame, by: list[str], unit: str) -> pd.DataFrame:
    """A readable row per ``by``, in the order they first come, and column per measure, from value, low and high."""
    wide = table.pivot(index=by, columns="measure", values=["value", "low", "high"])
    ends = {"value": "", "low": "_low", "high": "_high"}
    wide.columns = pd.Index([tables.MEASURES[each[1]] + ends[each[0]] for each in wide.columns])
    wide = table[by].drop_duplicates().merge(wide.reset_index(), on=by)
    shown = [text for text in tables.MEASURES.values() if text in set(wide)]
    return readable(wide, shown, dict.fromkeys(shown, unit), unit == POINTS)


def _parts(table: pd.DataFrame) -> pd.DataFrame:
    """``breakdown.parts`` in readable form."""
    return pd.DataFrame([
        {
            "part": breakdown.PARTS[each["part"]],
            "second arm": plain(each["arm_2"]),
            "against": plain(each["arm_1"]),
            "difference, points": interval(each["net"], each["net_low"], each["net_high"], 1, signed=True),
            "kept by the second, %": f"{100 * each['kept_2']:.0f}",
            "kept by the first, %": f"{100 * each['kept_1']:.0f}",
            "gained": f"{each['gained']:,.0f}",
            "lost": f"{each['lost']:,.0f}",
            "applications": f"{each['applications']:,}",
        }
        for each in table.to_dict("records")
    ])  # fmt: skip


def _kinds(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """Gained and lost applications by kind, for the contrasts named beforehand."""
    found = []
    for one, two in results.named:
        table = breakdown.by_kind(results.statuses, (one, two))
        if len(table):
            shown = table.assign(net=[minus(f"{100 * net:+.1f}") for net in table["net"]]).rename(
                columns={"net": "points"}
            )
            found.append((f"{plain(two)} minus {plain(one)}, by kind of guardrail", shown))
    return found


def arms(results: Results) -> list[dict[str, str | Markup]]:
    """The arms of the run with the paper's notation and, if the run recorded its plan, how they are trained."""
    planned = results.plan.arms
    return [
        {"name": name, "words": plain(name), "notation": words.notation(name),
         "made": _made(planned[name]) if name in planned else ""}
        for name in dict.fromkeys([*results.plan.order(), *results.kept["arm"]])
    ]  # fmt: skip


def _made(arm: Arm) -> str:
    parts = [f"{plain(arm.method)} from {plain(arm.start)}", f"learning rate {arm.learning_rate:g}"]
    parts += [] if arm.method == "sft" else [f"β {arm.beta:g}"]
    parts += [f"reference {plain(arm.reference)}"] if arm.reference not in (None, arm.start) else []
    pairs = arm.pairs
    parts += [f"{f'the first {pairs.count} ' if pairs.count else ''}{' and '.join(pairs.splits)} pairs"]
    parts += [f"part {pairs.part[0]} of {pairs.part[1]}"] if pairs.part else []
    if pairs.judged:
        how = "worse than the chosen reply" if pairs.replies == "worse" else "otherwise than the chosen reply, all kept"
        parts += [f"of these the prompts that {plain(pairs.judged)} answers {how}"]
        parts += ["with its replies as the rejected ones"] if pairs.rejected != "data" else []
    parts += [f"{100 * pairs.swapped:g} % of them exchanged"] if pairs.swapped else []
    return ", ".join(parts)


def _table_1(rates: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for keys, rows in tables.table_1(rates).groupby(["flow", "panel", "arm", "opponent"], sort=False):
        line = {"flow": keys[0], "arm": plain(keys[2]), "against": plain(keys[3])}
        for each in rows.to_dict("records"):
            measured = interval(each["here"] / 100, each["here_low"] / 100, each["here_high"] / 100)
            line[f"{each['dimension']}, this run"] = measured if each["n"] else "not judged"
            line[f"paper A, {each['dimension']}"] = f"{each['paper']:.1f}"
        lines.append(line)
    return pd.DataFrame(lines)


def _data_card(results: Results) -> pd.DataFrame:
    means = ["guardrails per pair", "messages per prompt", "words per chosen reply"]
    rows = [
        (pair.split, pair.conversation_id, pair.domain, len(pair.guardrails), len(pair.turns), len(pair.chosen.split()))
        for pair in results.pairs.values()
    ]
    by = pd.DataFrame(rows, columns=["split", "conversation", "domain", *means]).groupby("split", sort=False)
    counts = by.agg(conversations=("conversation", "nunique"), pairs=("split", "size"), domains=("domain", "nunique"))
    return counts.join(by[means].mean()).reset_index()


def _drawn(folder: Path, names: Sequence[str], beside: Path) -> dict[str, dict[str, Any]]:
    """The saved figures of these names, inline, each with links to those of its files that can be reached."""
    kinds = {"png": "PNG", "svg": "SVG", "csv": "numbers (CSV)"}
    found = {}
    for name in names:
        paths = [(folder / f"{name}.{kind}", text) for kind, text in kinds.items()]
        files = [(Path(os.path.relpath(path, beside)).as_posix(), text) for path, text in paths if path.exists()]
        found[name] = {"name": name, "svg": html.inline(folder / f"{name}.svg"), "files": files}
    return found
