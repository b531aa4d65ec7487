"""AlpacaEval's numbers from its own files: outputs out, annotations back in.

AlpacaEval (Li et al. 2023, github.com/tatsu-lab/alpaca_eval) has a judge compare a model's output with a baseline's on
805 instructions. An annotation's ``preference`` is in [1, 2]: 1 is the baseline (``output_1``), 2 the model
(``output_2``), and 0 or 1.5 a draw. The length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475) is what a
logistic regression expects of the same model at the baseline's length.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from guardalign.data.tasks import Instruction
from guardalign.data.tasks.rows import read
from guardalign.errors import InputError
from guardalign.files import first_error, write_text

ANCHORS_HUB = "hf://datasets/tatsu-lab/alpaca_eval/df_gamed.csv"
"""Difficulty of the 805 instructions, and annotations of the baseline when it is asked to be brief or verbose."""
ANCHOR_WEIGHT = 0.2 / 2
FOLDS = 5
STRENGTHS = np.logspace(-4, 4, 10)
SEED = 123
Floats = NDArray[np.float64]


class Annotation(BaseModel):
    """One comparison as AlpacaEval writes it; other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    instruction: str
    output_1: str
    generator_1: str
    output_2: str
    generator_2: str
    preference: float | None = Field(default=None, strict=True)
    annotator: str = ""
    dataset: str = ""

    @property
    def win(self) -> float:
        """The model's share of the win, 0 to 1; NaN if there is no preference."""
        if self.preference is None or not (self.preference == 0 or 1 <= self.preference <= 2):
            return math.nan
        return 0.5 if self.preference == 0 else self.preference - 1


class WinRate(NamedTuple):
    """In %, with the standard error of the mean; NaN if no comparison, or only one, has a preference.

    ``length`` is the regression's coefficient of the length term, if length was controlled for.
    """

    win_rate: float
    standard_error: float
    length: float = math.nan


def write_outputs(path: Path, instructions: Sequence[Instruction], replies: Sequence[str], generator: str) -> None:
    """A model's outputs in the format that ``alpaca_eval --model_outputs`` reads (and ``--reference_outputs`` too)."""
    rows = [
        {"dataset": each.dataset, "instruction": each.instruction, "output": reply, "generator": generator}
        for each, reply in zip(instructions, replies, strict=True)
    ]
    write_text(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def write_annotations(path: Path, annotations: Sequence[Annotation]) -> None:
    """Comparisons in the format of AlpacaEval's ``annotations.json``."""
    rows = [each.model_dump() for each in annotations]
    write_text(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def read_annotations(path: Path) -> list[Annotation]:
    """``annotations.json`` of one model against one baseline.

    Raises InputError for any other file, or if a comparison of the same two outputs occurs twice.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        found = [Annotation.model_validate(row) for row in rows]
    except ValidationError as error:
        raise InputError(f"{path}: {first_error(error)}") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    for side in ("generator_1", "generator_2"):
        names = {getattr(each, side) for each in found}
        if len(names) != 1:
            raise InputError(f"{path}: {side} must be one model, it is {', '.join(sorted(names)) or 'none'}")
    compared = Counter((each.instruction, each.output_1, each.output_2) for each in found)
    if again := [instruction for (instruction, *_), count in compared.items() if count > 1]:
        extra = len(found) - len(compared)
        raise InputError(f"{path}: {extra} of {len(found)} rows repeat another, such as {again[0][:60]!r}: remove them")
    return found


def win_rate(annotations: Sequence[Annotation]) -> WinRate:
    """AlpacaEval's win rate; annotations without a preference are left out."""
    wins = np.array([each.win for each in annotations if not math.isnan(each.win)])
    error = float(wins.std(ddof=1) / math.sqrt(len(wins))) if len(wins) > 1 else math.nan
    return WinRate(100 * float(wins.mean()) if len(wins) else math.nan, 100 * error)


def length_controlled(
    annotations: Sequence[Annotation], difficulty: Sequence[float], anchors: pd.DataFrame | None = None
) -> WinRate:
    """AlpacaEval's length-controlled win rate (``length_controlled_v1``).

    ``difficulty`` (n,) is each annotation's instruction's. Win ~ tanh(Δ length / its standard deviation) + difficulty +
    1, Δ being the baseline's characters minus the model's; predicted at Δ = 0. L1-regularised, the strength chosen by
    five folds. If all outcomes are equal there is nothing to fit; with fewer than five preferences the win rate is NaN.
    ``anchors`` are annotations of the baseline against itself at other lengths, with columns ``preference`` (0 to 1),
    ``std_delta_len`` and ``instruction_difficulty``; they weigh 0.1 each and have no constant.
    """
    if annotations and annotations[0].generator_1 == annotations[0].generator_2:
        return WinRate(50.0, 0.0, 0.0)
    delta = np.array([len(each.output_1) - len(each.output_2) for each in annotations], dtype=float)
    spread = delta.std(ddof=1) if len(delta) > 1 else 0.0
    features = np.column_stack([np.tanh(delta / spread if spread else delta), difficulty, np.ones(len(delta))])
    wins = np.array([each.win for each in annotations])
    seen = set(wins[~np.isnan(wins)].tolist())
    if seen in ({0.0}, {1.0}):
        return WinRate(100 * seen.pop(), 0.0)
    weights = np.ones(len(wins))
    table, target = features, wins
    if anchors is not None:
        old = np.column_stack(
            [np.tanh(anchors["std_delta_len"]), anchors["instruction_difficulty"], np.zeros(len(anchors))]
        )
        table = np.concatenate([old, features])
        target = np.concatenate([anchors["preference"].to_numpy(dtype=float), wins])
        weights = np.concatenate([np.full(len(anchors), ANCHOR_WEIGHT), weights])
    known = ~np.isnan(target)
    if not seen or known.sum() < FOLDS:
        return WinRate(math.nan, math.nan)
    coefficients = fractional_logistic(table[known], target[known], weights[known])
    expected = 1 / (1 + np.exp(-(features[:, 1:] @ coefficients[1:])))
    error = float(expected.std(ddof=1)) / math.sqrt(len(expected))
    return WinRate(100 * float(expected.mean()), 100 * error, float(coefficients[0]))


def fractional_logistic(features: Floats, target: Floats, weights: Floats) -> Floats:
    """Coefficients (k,) of an L1-regularised logistic regression without intercept on targets between 0 and 1.

    Every row enters twice, as a win with weight ``target`` and as a loss with the rest. The strength has the smallest
    mean log loss over five folds that keep a row's two halves together.
    """
    count = len(target)
    twice = np.concatenate([features, features])
    label = np.concatenate([np.ones(count), np.zeros(count)])
    mass = np.concatenate([target, 1 - target]) * np.concatenate([weights, weights])
    folds = list(GroupKFold(FOLDS).split(twice, label, groups=np.tile(np.arange(count), 2)))

    def fitted(rows: NDArray[np.int64], strength: float) -> Floats:
        model = LogisticRegression(
            C=strength, l1_ratio=1.0, solver="liblinear", fit_intercept=False, random_state=SEED, max_iter=1000
        )
        model.fit(twice[rows], label[rows], sample_weight=mass[rows])
        return model.coef_[0]

    def held_out(strength: float) -> float:
        losses = []
        for learnt, held in folds:
            scores = twice[held] @ fitted(learnt, strength)
            truth, weight = target[held % count], weights[held % count]
            losses.append(np.mean(weight * (np.logaddexp(0, scores) - truth * scores)))
        return float(np.mean(losses))

    best = min(STRENGTHS, key=held_out)
    return fitted(np.arange(2 * count), float(best))


def leaderboard_row(
    annotations: Sequence[Annotation], instructions: Sequence[Instruction], anchors: str
) -> dict[str, float]:
    """``win_rate``, ``standard_error``, ``length_controlled_winrate`` and its error (%), ``avg_length`` (characters).

    Of AlpacaEval's own instructions, whose difficulties are in the file of its anchors, by their position in the list.
    Raises InputError if an annotation is of another instruction.
    """
    gamed = pd.DataFrame(list(read(anchors)))
    firsts = gamed.drop_duplicates("index")
    difficulty = dict(zip(firsts["index"].astype(int), firsts["instruction_difficulty"].astype(float), strict=True))
    positions = {each.instruction: position for position, each in enumerate(instructions)}
    unknown = [each.instruction for each in annotations if each.instruction not in positions]
    if unknown:
        raise InputError(f"{len(unknown)} annotations are of instructions that were not asked, first: {unknown[0]!r}")
    raw = win_rate(annotations)
    controlled = length_controlled(
        annotations, [difficulty[positions[each.instruction]] for each in annotations], gamed
    )
    return {
        "win_rate": raw.win_rate,
        "standard_error": raw.standard_error,
        "length_controlled_winrate": controlled.win_rate,
        "lc_standard_error": controlled.standard_error,
        "avg_length": float(np.mean([len(each.output_2) for each in annotations])),
    }


def estimated_difficulty(wins: pd.DataFrame) -> pd.Series:
    """How much likelier than average a model is to win on each instruction, in standard deviations of log-odds.

    ``wins`` has one row per instruction and one column per model (0 to 1). For data other than AlpacaEval's own, whose
    difficulties were fitted over its leaderboard.
    """
    count = wins.notna().sum(axis=1)
    share = (wins.sum(axis=1) + 0.5) / (count + 1)
    odds = pd.Series(np.log(share / (1 - share)), index=wins.index)
    spread = float(odds.std(ddof=0))
    return (odds - odds.mean()) / spread if spread else odds * 0
