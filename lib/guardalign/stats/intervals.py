"""Percentile bootstrap over conversations, and over seeds where there are several.

What is averaged is a ratio of sums over prompts, so a replicate needs only the sums of every conversation, weighted
by how often the conversation was drawn: one matrix product for all replicates, comparisons and measures.

n − 1 of n units are drawn with replacement (Rao & Wu 1988, "Resampling inference with complex survey data", §2):
the variance is unbiased also where units are few, which seeds always are. Conversations and seeds are crossed (every
seed answers the same test set), so each is drawn by itself and the weights are multiplied (Owen 2007, "The pigeonhole
bootstrap", doi:10.1214/07-AOAS122).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BATCH_CELLS = 2_000_000


def draws(units: int, replicates: int, generator: np.random.Generator) -> Floats:
    """How often each of ``units`` is drawn, (replicates, units); one unit alone is always there once."""
    if units == 1:
        return np.ones((replicates, 1))
    chosen = generator.integers(0, units, size=(replicates, units - 1))
    chosen += np.arange(replicates)[:, None] * units
    return np.bincount(chosen.ravel(), minlength=replicates * units).reshape(replicates, units).astype(float)


def resampled_sums(sums: Floats, replicates: int, generator: np.random.Generator) -> Floats:
    """Sums over resampled seeds and conversations: (seeds, conversations, columns) → (replicates, columns)."""
    seeds, conversations, _ = sums.shape
    return np.concatenate(
        [
            sum(seed_weights[:, [s]] * (weights @ sums[s]) for s in range(seeds))
            for weights, seed_weights in _weights(seeds, conversations, replicates, generator)
        ]
    )


def bootstrap(
    prompts: pd.DataFrame,
    by: Sequence[str],
    measures: Sequence[str],
    replicates: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Means of ``measures`` within each group of ``by``, with percentile intervals.

    ``prompts`` has a row a prompt, with columns ``conversation_id``, ``seed``, ``by`` and ``measures``. The result is
    indexed by ``by`` and has ``m``, ``m_low``, ``m_high`` for each measure, ``n`` (prompts over all seeds),
    ``conversations`` and ``seeds``. Groups of the same conversations and seeds are resampled together. A group of one
    conversation has no interval (NaN).
    """
    by, measures = list(by), list(measures)
    summed = [*measures, "n"]
    cells = prompts.assign(n=1.0).groupby([*by, "seed", "conversation_id"], sort=False, observed=True)[summed].sum()
    tail = (1 - level) / 2
    results: dict[tuple[Any, ...], dict[str, Any]] = {}
    for members in _same_units(cells, len(by)):
        sums, names = _cube(members, by)
        values = _ratios(sums.sum((0, 1))[None], len(names), len(summed))[0]
        generator = np.random.default_rng(seed)
        replicas = _ratios(resampled_sums(sums, replicates, generator), len(names), len(summed))
        low, high = np.quantile(replicas, [tail, 1 - tail], axis=0)
        low, high = _without_spread(values, low, high, measures, sums.shape[1], level)
        counts = sums.reshape(*sums.shape[:2], len(names), len(summed))[..., -1].sum((0, 1))
        for index, name in enumerate(names):
            results[name] = {
                key: number
                for position, measure in enumerate(measures)
                for key, number in (
                    (measure, values[index, position]),
                    (f"{measure}_low", low[index, position]),
                    (f"{measure}_high", high[index, position]),
                )
            } | {"n": int(counts[index]), "conversations": sums.shape[1], "seeds": sums.shape[0]}
    order = prompts[by].drop_duplicates()
    measured = [f"{measure}{end}" for measure in measures for end in ("", "_low", "_high")]
    rows = [results[tuple(row)] for row in order.itertuples(index=False, name=None)]
    columns = [*measured, "n", "conversations", "seeds"]
    return pd.DataFrame(rows, index=pd.MultiIndex.from_frame(order), columns=columns)


def _without_spread(
    values: Floats, low: Floats, high: Floats, measures: list[str], conversations: int, level: float
) -> tuple[Floats, Floats]:
    """Where all conversations say the same, resampling sees no spread, and claims certainty: there the interval
    reaches as far towards a measure's bounds as the exact binomial one of 0 in so many conversations (Clopper &
    Pearson 1934). One conversation has no interval at all."""
    if conversations < 2:
        return np.full_like(low, np.nan), np.full_like(high, np.nan)
    from statsmodels.stats.proportion import proportion_confint  # half a second, which most callers can do without

    reach = proportion_confint(0, conversations, alpha=1 - level, method="beta")[1]
    floor = np.array([-1.0 if measure in ("net", "lead") else 0.0 for measure in measures])
    flat = (low == high) & (low == values)
    return (
        np.where(flat, values - reach * (values - floor), low),
        np.where(flat, values + reach * (1 - values), high),
    )


def _weights(
    seeds: int, conversations: int, replicates: int, generator: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    batch = max(1, BATCH_CELLS // conversations)
    for start in range(0, replicates, batch):
        size = min(batch, replicates - start)
        yield draws(conversations, size, generator), draws(seeds, size, generator)


def _same_units(cells: pd.DataFrame, keys: int) -> Iterator[pd.DataFrame]:
    """Groups that have the same conversations and seeds, so that one set of draws serves them all."""
    by_units: dict[tuple[frozenset[object], frozenset[object]], list[pd.DataFrame]] = {}
    for _, group in cells.groupby(level=list(range(keys)), sort=False, observed=True):
        units = (frozenset(group.index.unique("conversation_id")), frozenset(group.index.unique("seed")))
        by_units.setdefault(units, []).append(group)
    for groups in by_units.values():
        yield pd.concat(groups)


def _cube(cells: pd.DataFrame, by: list[str]) -> tuple[Floats, list[tuple[Any, ...]]]:
    """(seeds, conversations, groups × columns) of sums, and the groups' names in that order."""
    wide = pd.DataFrame(cells.unstack(by, fill_value=0.0)).reorder_levels([*range(1, len(by) + 1), 0], axis=1)
    names = list(dict.fromkeys(tuple(column[:-1]) for column in wide.columns))
    wide = wide[[(*name, column) for name in names for column in cells.columns]]
    seeds, conversations = wide.index.unique("seed"), wide.index.unique("conversation_id")
    full = wide.reindex(pd.MultiIndex.from_product([seeds, conversations]), fill_value=0.0)
    return full.to_numpy().reshape(len(seeds), len(conversations), -1), names


def _ratios(sums: Floats, groups: int, columns: int) -> Floats:
    """(replicates, groups × columns) of sums → (replicates, groups, measures) of means."""
    cube = sums.reshape(len(sums), groups, columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        return cube[..., :-1] / cube[..., -1:]
