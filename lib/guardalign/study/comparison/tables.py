"""Answers in, tables out: win rates with intervals, all arms against each other, cost, and AlpacaEval's figures.

Every arm of a task answers the same prompts; each prompt is a conversation of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from guardalign import stats
from guardalign.config.sections import Report
from guardalign.data.examples import Example
from guardalign.generation.replystats import repetition
from guardalign.stats import alpaca
from guardalign.study.comparison.answers import Answer
from guardalign.study.comparison.jobs import SFT, Job
from guardalign.study.comparison.protocol import Outcome
from guardalign.world.twins import Opinion

_WORD = re.compile(r"\w+")
Settled = tuple[Outcome, list[Answer]]
Read = Callable[[str, str], Opinion]
MEASURES = {
    "win": stats.SHARE, "score": stats.UNBOUNDED, "accuracy": stats.SHARE, "accuracy_gain": stats.DIFFERENCE,
    "margin_gain": stats.SHARE, "nll": stats.UNBOUNDED, "kl": stats.UNBOUNDED, "entropy": stats.UNBOUNDED,
    "words": stats.UNBOUNDED, "tokens": stats.UNBOUNDED, "repetition": stats.SHARE, "cut_off": stats.SHARE,
}  # fmt: skip
GAINS = ("accuracy_gain", "margin_gain")
ONLINE = ("reward_accuracy", "replies_drawn", "policy_passes", "reference_passes", "reward_passes")


def frame(settled: Sequence[Settled], examples: Sequence[Example], read: Read | None = None) -> pd.DataFrame:
    """One row an arm, seed and prompt of one task.

    ``win``: 1, ½ or 0 against the data's preferred reply, by the judge's scores (NaN without a judge). ``accuracy``:
    the chosen reply has the higher log-prob; ``accuracy_gain`` its difference from the SFT model's; ``margin_gain``:
    the log-prob margin grew over the SFT model's. ``nll`` is of the chosen reply, nats a token.
    """
    preferred = [read(each.prompt, each.chosen.strip()).score if read else np.nan for each in examples]
    starts = {outcome.job.seed: answers for outcome, answers in settled if outcome.job.arm == SFT}
    rows = [
        _row(outcome.job, own, start, target)
        for outcome, answers in settled
        for own, start, target in zip(answers, starts[outcome.job.seed], preferred, strict=True)
    ]
    return pd.DataFrame(rows)


def _row(job: Job, own: Answer, start: Answer, target: float) -> dict[str, object]:
    score = own.opinion.score if own.opinion else np.nan
    margin, before = own.chosen - own.rejected, start.chosen - start.rejected
    return {
        "task": job.task,
        "arm": job.arm,
        "seed": job.seed,
        "conversation_id": own.id,
        "win": 0.5 + 0.5 * np.sign(score - target),
        "score": score,
        "accuracy": float(margin > 0),
        "accuracy_gain": float(margin > 0) - float(before > 0),
        "margin_gain": float(margin > before),
        "nll": -own.chosen / own.chosen_tokens,
        "kl": own.kl,
        "entropy": own.entropy,
        "words": len(_WORD.findall(own.text)),
        "tokens": own.tokens,
        "repetition": repetition(own.text),
        "cut_off": float(not own.finished),
    }


def summary(rows: pd.DataFrame, report: Report) -> pd.DataFrame:
    """One row a task and arm: the mean of every measure and its interval (``_low``, ``_high``), n and seeds."""
    measures = {name: bounds for name, bounds in MEASURES.items() if rows[name].notna().all()}
    table = stats.means(rows, ["task", "arm"], measures, report.level)
    table = table.drop(columns=[f"{name}_p" for name in measures])
    for name in GAINS:
        table.loc[table["arm"] == SFT, [name, f"{name}_low", f"{name}_high"]] = np.nan
    return table


def against_each_other(rows: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Every two arms of a task on the same prompts and seeds: how often ``arm_1`` scores higher (ties count half).

    All of it is exploration: ``win`` has an interval (``win_low``, ``win_high``) and no test.
    """
    parts = []
    for task, own in rows.groupby("task", sort=False):
        arms = list(dict.fromkeys(own["arm"]))
        scores = {str(arm): part.set_index(["seed", "conversation_id"])["score"] for arm, part in own.groupby("arm")}
        compared = [_compared(str(task), one, two, scores) for one, two in combinations(arms, 2)]
        parts.append(stats.means(pd.concat(compared), ["task", "arm_1", "arm_2"], {"win": stats.SHARE}, report.level))
    return pd.concat(parts, ignore_index=True).drop(columns="win_p")


def _compared(task: str, one: str, two: str, scores: dict[str, pd.Series]) -> pd.DataFrame:
    joined = pd.concat([scores[one].rename("one"), scores[two].rename("two")], axis=1, join="inner").reset_index()
    wins = 0.5 + 0.5 * np.sign(joined["one"] - joined["two"])
    return joined[["seed", "conversation_id"]].assign(task=task, arm_1=one, arm_2=two, win=wins)


def distinct(texts: Iterable[str], n: int) -> float:
    """Different n-grams of words over all n-grams of all texts (Li et al. 2016, distinct-n); NaN without any."""
    grams: list[tuple[str, ...]] = []
    for text in texts:
        words = _WORD.findall(text.lower())
        grams += pairwise(words) if n == 2 else zip(*(words[i:] for i in range(n)), strict=False)
    return len(set(grams)) / len(grams) if grams else float("nan")


def diversity(settled: Sequence[Settled]) -> pd.DataFrame:
    """distinct-1 and distinct-2 of each arm's replies, a mean over seeds."""
    rows = [
        {
            "task": outcome.job.task,
            "arm": outcome.job.arm,
            "distinct_1": distinct((each.text for each in answers), 1),
            "distinct_2": distinct((each.text for each in answers), 2),
        }
        for outcome, answers in settled
    ]
    return pd.DataFrame(rows).groupby(["task", "arm"], sort=False).mean().reset_index()


def cost(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """What each arm's training cost, a mean over seeds: seconds, GiB at most, tokens, and replies scored a pair.

    The online arm's passes are over the same pairs: its own replies are drawn for their prompts.
    """
    rows = [
        {
            "task": each.job.task,
            "arm": each.job.arm,
            "steps": each.steps,
            "seconds": each.seconds,
            "memory_gib": each.memory_gib,
            "logical_tokens": each.logical_tokens,
            "unique_tokens": each.unique_tokens,
        }
        | {f"{name}_passes": count for name, count in each.job.passes.items()}
        | {name: each.facts[name] for name in ONLINE if name in each.facts}
        for each in outcomes
    ]
    return pd.DataFrame(rows).groupby(["task", "arm"], sort=False).mean().reset_index()


Compared = dict[tuple[str, int], list[alpaca.Annotation]]
"""AlpacaEval's annotations by arm and seed: to AlpacaEval each of them is a model."""


def annotated(rows: pd.DataFrame, settled: Sequence[Settled], examples: Sequence[Example]) -> Compared:
    """The judge's comparisons with the preferred replies as AlpacaEval's annotations."""
    replies = {(o.job.arm, o.job.seed, each.id): each.text for o, answers in settled for each in answers}
    known = {each.id: each for each in examples}
    found: Compared = {}
    for row in rows.to_dict("records"):
        example = known[row["conversation_id"]]
        found.setdefault((row["arm"], row["seed"]), []).append(
            alpaca.Annotation(
                instruction=example.prompt,
                output_1=example.chosen.strip(),
                generator_1="preferred",
                output_2=replies[row["arm"], row["seed"], example.id],
                generator_2=row["arm"],
                preference=1 + row["win"],
                annotator="embedded",
                dataset=row["task"],
            )
        )
    return found


def length_controlled(found: Compared, task: str) -> pd.DataFrame:
    """AlpacaEval's win rate, its standard error and length-controlled win rate of each arm (%), means over seeds.

    The standard error is of one seed's model, over prompts. The difficulty of a prompt is estimated from all arms'
    wins on it.
    """
    wins = {name: pd.Series({each.instruction: each.win for each in own}) for name, own in found.items()}
    difficulty = alpaca.estimated_difficulty(pd.DataFrame(wins))
    table = []
    for (arm, _), compared in found.items():
        raw = alpaca.win_rate(compared)
        hardness = [float(difficulty[each.instruction]) for each in compared]
        controlled = alpaca.length_controlled(compared, hardness)
        table.append({
            "task": task, "arm": arm, "win_rate": raw.win_rate, "standard_error": raw.standard_error,
            "length_controlled": controlled.win_rate, "length_coefficient": controlled.length,
        })  # fmt: skip
    return pd.DataFrame(table).groupby(["task", "arm"], sort=False).mean().reset_index()
