"""Means of a frame's columns with their intervals: the inference engine for pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from guardalign.stats.inference import Bounds, estimate


def means(
    prompts: pd.DataFrame, by: Sequence[str], measures: Mapping[str, Bounds], level: float = 0.95
) -> pd.DataFrame:
    """Mean of each measure within each group of ``by``, by :func:`~guardalign.stats.inference.estimate`.

    ``prompts`` has a row per prompt, with columns ``conversation_id``, ``seed``, ``by`` and ``measures``, which maps a
    column to the bounds of its values. The result has a row per group: ``by``; ``m``, ``m_low``, ``m_high`` and
    ``m_p`` for each measure m; ``n`` (prompts over all seeds), ``conversations`` and ``seeds``.
    """
    rows = []
    for key, group in prompts.groupby(list(by), sort=False, observed=True):
        sums, counts = cells(group, list(measures))
        row = list(key)
        for bounds, of_measure in zip(measures.values(), sums, strict=True):
            found = estimate(of_measure, counts, bounds, level)
            row += [float(value) for value in (found.value, found.low, found.high, found.p)]
        rows.append([*row, len(group), counts.shape[1], counts.shape[0]])
    columns = [f"{name}{end}" for name in measures for end in ("", "_low", "_high", "_p")]
    return pd.DataFrame(rows, columns=[*by, *columns, "n", "conversations", "seeds"])


def cells(prompts: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sums of ``columns``, (columns, seeds, conversations), and numbers of prompts, (seeds, conversations)."""
    seeds, seed_names = pd.factorize(prompts["seed"])
    conversations, conversation_names = pd.factorize(prompts["conversation_id"])
    shape = (len(seed_names), len(conversation_names))
    cell = seeds * shape[1] + conversations
    summed = [np.bincount(cell, prompts[name].to_numpy(dtype=float), shape[0] * shape[1]) for name in columns]
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).astype(float)
    return np.reshape(summed, (len(columns), *shape)), counts.reshape(shape)
