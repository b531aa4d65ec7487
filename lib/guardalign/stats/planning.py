"""How small a difference a study could have found, how large one that finds a given difference would be, and how many
ratings an agreement needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from guardalign.stats.frame import KEYS, prompts
from guardalign.stats.inference import Floats, linearised, mean_squares, variance_of_mean
from guardalign.stats.intervals import cells

MOST_CONVERSATIONS = 10_000
SOUGHT, POWER, SEEDS = 0.05, 0.8, (3, 5, 10)


def planning(rows: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row per comparison, judge and dimension: what these data can show of the net preference, and what it takes.

    ``sd_seeds``, ``sd_conversations`` and ``sd_rest`` are the standard deviations of one seed's mean on one average
    conversation; ``detectable`` is the true difference that a study of this size finds with probability 0.8;
    ``conversations_<s>`` how many conversations, of as many prompts as these, find a difference of 5 points with s
    seeds, s being 3, 5 and 10 (infinity if more than 10,000 would not do: then more seeds are needed). A run of one
    seed does not show how seeds vary: it has ``conversations_1``, for a claim about its trained models.
    """
    found = []
    for key, group in prompts(rows).groupby(KEYS, sort=False):
        sums, counts = cells(group, ["net"])
        seeds, conversations = counts.shape
        row = dict(zip(KEYS, key, strict=True)) | {"seeds": seeds, "conversations": conversations}
        if conversations > 1:
            variances = components(linearised(sums[0], counts)[1])
            row |= dict(zip(("sd_seeds", "sd_conversations", "sd_rest"), np.sqrt(variances), strict=True))
            row["detectable"] = float(detectable(variances, seeds, conversations, POWER, level))
            for planned in SEEDS if seeds > 1 else (1,):
                row[f"conversations_{planned}"] = needed(variances, SOUGHT, planned, POWER, level)
        found.append(row)
    return pd.DataFrame(found)


def components(residuals: Floats) -> Floats:
    """Variances between seeds, between conversations and of the rest, (3,), of (seeds, conversations) residuals.

    The ANOVA estimator; negative components are 0. With one seed everything is the conversations'.
    """
    seeds, conversations = residuals.shape
    of_seeds, of_conversations, rest = mean_squares(residuals)
    return np.array([max(of_seeds - rest, 0) / conversations, max(of_conversations - rest, 0) / seeds, rest])


def detectable(variances: Floats, seeds: int, conversations: int | Floats, power: float, level: float) -> Floats:
    """The smallest true difference that is found with probability ``power``: (t_{1−α/2} + t_power) standard errors.

    Bloom 1995, "Minimum detectable effects", Evaluation Review 19:547–556. ``conversations`` may be an array.
    """
    of_seeds, of_conversations, rest = variances
    count = np.asarray(conversations, dtype=float)
    squares = (rest + count * of_seeds, rest + seeds * of_conversations + 0 * count, rest + 0 * count)
    variance, degrees = variance_of_mean(squares, seeds, count)
    return (stdtrit(degrees, 0.5 + level / 2) + stdtrit(degrees, power)) * np.sqrt(variance)


def needed(variances: Floats, difference: float, seeds: int, power: float, level: float) -> float:
    """The fewest conversations with which ``difference`` is detectable with so many seeds; infinity past 10,000."""
    counts = np.arange(2.0, MOST_CONVERSATIONS + 1)
    enough = detectable(variances, seeds, counts, power, level) <= difference
    return float(counts[enough.argmax()]) if enough.any() else float("inf")


def ratings_needed(kappa: float, share: float, width: float = 0.05) -> int:
    """How many units two readers must both rate so that the 95 % interval of Cohen's κ is ± ``width``.

    ``kappa`` is the κ to expect, ``share`` (above 0, below 1) the share of units to which either gives the one of two
    answers. n = z² V / width², V = (1 − κ) [(1 − κ)(1 − 2κ) + κ(2 − κ) / (2 share (1 − share))]: κ's large-sample
    variance with equal shares (Bloch & Kraemer 1989, *Biometrics* 45:269-287; for planning Donner & Eliasziw 1992,
    *Statistics in Medicine* 11:1511-1519). Units are independent: of a conversation with several, more are needed.
    """
    apart = 1 - kappa
    variance = apart * (apart * (1 - 2 * kappa) + kappa * (2 - kappa) / (2 * share * (1 - share)))
    return int(np.ceil(ndtri(0.975) ** 2 * variance / width**2))
