"""Is the difference between two arms more than chance? Paired by prompt, clustered by conversation, corrected.

The test is a t test of the mean paired difference with cluster-robust variance (Liang & Zeger 1986), by statsmodels;
with several seeds the variance is clustered by conversation and by seed (Cameron, Gelbach & Miller 2011) and the t
distribution has as many degrees of freedom as the smaller of the two numbers of clusters, less one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def paired_test(prompts: pd.DataFrame, measure: str = "net", null: float = 0.0) -> float:
    """Two-sided p value of mean ``measure`` = ``null``; NaN with fewer than two conversations.

    ``prompts`` holds one comparison and dimension, a row a prompt, with ``conversation_id`` and ``seed``. Where all
    conversations say the same the t test has no variance to go by; then an exact sign test over conversations speaks.
    """
    from scipy import stats
    from statsmodels.regression.linear_model import OLS

    differences = prompts[measure].to_numpy() - null
    conversations, seeds = pd.factorize(prompts["conversation_id"])[0], pd.factorize(prompts["seed"])[0]
    clusters, runs = int(conversations.max(initial=-1)) + 1, int(seeds.max(initial=-1)) + 1
    if clusters < 2:
        return float("nan")
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else float(stats.binomtest(clusters, clusters).pvalue)
    groups = conversations if runs == 1 else np.column_stack([conversations, seeds])
    fit = OLS(differences, np.ones(len(differences))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    variance = float(fit.cov_params()[0, 0])
    if not variance > 0:
        fit = OLS(differences, np.ones(len(differences))).fit(cov_type="cluster", cov_kwds={"groups": conversations})
        variance = float(fit.cov_params()[0, 0])
    degrees = (clusters if runs == 1 else min(clusters, runs)) - 1
    if not variance > 0:
        return float("nan")
    return float(2 * stats.t.sf(abs(fit.params[0]) / np.sqrt(variance), degrees))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's (1979) correction; NaN stays NaN and does not count as a test."""
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p_values, dtype=float)
    corrected = values.copy()
    known = ~np.isnan(values)
    if known.any():
        corrected[known] = multipletests(values[known], method="holm")[1]
    return corrected
