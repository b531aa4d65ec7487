"""What the page shows about the judge: its name, its accuracy, and its verdicts outside the test split."""

from __future__ import annotations

from typing import Any

import pandas as pd

from guardalign import stats
from guardalign.judging import canaries
from guardalign.judging.stage import PREFERRED
from guardalign.judging.verdicts import Verdict
from guardalign.report import words
from guardalign.report.figures.words import count
from guardalign.report.results import Results

PAIR = ["arm_1", "arm_2"]


def trust(results: Results) -> dict[str, Any] | None:
    """The canaries' report: its first line if the judge passes, all lines if it does not.

    None if the judge is not a language model and has no canaries.
    """
    verdicts = _canaries(results)
    if not verdicts and results.parameters.get("judge", {}).get("kind") not in ("llm", "recorded", "panel"):
        return None
    outcome = canaries.report(results.judge, verdicts)
    lines = str(outcome).splitlines()
    return {"trusted": outcome.trusted, "lines": lines[:1] if outcome.trusted else lines}


def judged(results: Results) -> list[str]:
    """Who judged what, and how good the judge is, if known."""
    rates = results.rates
    prompts = int((rates["n"] / rates["seeds"].clip(lower=1)).max())
    seeds = count(int(rates["seeds"].max()), "seed")
    reads = "rules that read the text of each reply" if results.judge == "embedded" else results.judge
    sentences = [
        f"Judge: {reads}. It judged {prompts:,} test prompts of {int(rates['conversations'].max()):,} conversations × "
        f"{seeds} in {count(rates['comparison'].nunique(), 'comparison')}."
    ]
    tricky = results.tables.get("tricky_replies")
    if tricky is not None and {"a person says", "the judge says"} <= set(tricky):
        agree = 100 * (tricky["a person says"] == tricky["the judge says"]).mean()
        sentences.append(
            f"Examination: it agrees with a person on {agree:.1f} % of {len(tricky)} verdicts on hand-made replies."
        )
    gold = stats.gold_accuracy(results.rows)
    for right in gold[(gold["judge"] == results.judge) & (gold["dimension"] == "adherence")]["accuracy"]:
        on = f"adherence on {100 * right:.0f} % of prompts"
        sentences.append(f"It prefers the data’s chosen reply to the rejected one in {on}.")
    return sentences


def remarks(results: Results) -> list[str]:
    seeds = words.training_seeds(len(results.verdicts))
    if results.parameters.get("source", {}).get("kind") != "world" and results.judge != "embedded":
        return [seeds]
    embedded = (
        "The numbers are of the embedded world: synthetic conversations, a small model and a rule-based judge. "
        "They show how the methods compare there, not how they would with another model or data."
    )
    return [embedded, seeds]


def facts(results: Results) -> list[str]:
    rates, invalid = results.rates, 1 - results.compared["valid"].mean()
    found = [f"Invalid verdicts: {100 * invalid:.1f} %."]
    if not rates["flips"].isna().all():
        flips, first = (f"{100 * rates[name].mean():.1f} %" for name in ("flips", "first_preferred"))
        found.append(
            f"The preference changes with the order on {flips} of prompts (mean over rows); of strict preferences, "
            f"{first} go to the reply shown first."
        )
    widest = stats.opponents(rates)["range"].max()
    if widest > 0:
        found.append(f"An arm’s win rate differs between opponents by at most {100 * widest:.1f} points.")
    else:
        found.append("Win rates do not depend on the opponent: the judge scores each reply alone.")
    return found


def judge_tables(results: Results) -> list[tuple[str, pd.DataFrame]]:
    found = []
    gold = stats.gold_accuracy(results.rows)
    if len(gold):
        counted = gold.rename(columns={"accuracy": "chosen_preferred", "n": "verdicts"})
        found.append(("The data’s own pairs: how often the judge puts chosen above rejected", counted))
    if verdicts := _canaries(results):
        columns = [*PAIR, "dimension", "preferred", "n", "seeds", "invalid"]
        table = stats.table(stats.frame(verdicts))[columns]
        found.append(("Canaries: the judge’s preference where the answer is known", table))
    judges = [name for name in results.rows["judge"].unique() if name != results.judge]
    if judges:
        kappas = [stats.kappa(results.rows, results.judge, name).assign(judge=name) for name in judges]
        found.append((f"Agreement with {results.judge} (Cohen’s κ of the four bins)", pd.concat(kappas)))
        found.append(("Agreement of all judges (Krippendorff’s α)", stats.krippendorff_alpha(results.rows)))
    return found


def _canaries(results: Results) -> list[Verdict]:
    return [verdict for verdicts in results.parts.get("canaries", {}).values() for verdict in verdicts]


def elsewhere(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """Win rates on parts of the verdicts, such as a held-out domain."""
    found = []
    for part, by_seed in results.parts.items():
        if part not in ("canaries", PREFERRED) and any(by_seed.values()):
            rows = pd.concat([stats.frame(verdicts, seed) for seed, verdicts in by_seed.items()], ignore_index=True)
            names = [f"{name}{end}" for name in ("win_1", "win_2", "net") for end in ("", "_low", "_high")]
            table = stats.table(rows, results.level)[[*PAIR, "dimension", *names, "n", "seeds"]]
            found.append((f"Prompts of the part “{part}”", table))
    return found
