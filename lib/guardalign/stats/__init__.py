"""Verdicts in, win rates with their uncertainty out.

>>> from guardalign import stats
>>> rows = stats.frame(verdicts)                      # one row a verdict and dimension; seed=… for several seeds
>>> table = stats.table(rows, replicates=10_000, seed=0)   # one row a comparison and dimension, with intervals
>>> stats.opponents(table)                            # how much an arm's rate depends on whom it meets
>>> stats.planning(rows)                              # minimum detectable difference, prompts for a precision
>>> stats.by_seed(rows)                               # the same rates, one row a seed
>>> stats.compliance(stats.statuses(verdicts, kind=…))   # share of guardrails kept, by guardrail and arm
>>> stats.rank(rows)                                  # Bradley–Terry with ties; .scores, .fit
>>> stats.kappa(rows, "judge a", "judge b"), stats.krippendorff_alpha(rows)
>>> stats.gold_accuracy(rows)                         # judge against pairs whose better side is known

statsmodels, scipy.stats and evalica are imported where they are used: together they take a second, and every notebook
imports this package.

Everywhere: a *prompt* counts once (its two orders are averaged), an invalid verdict is left out and counted in
``invalid``, and what is resampled is the *conversation*, because prompts of one conversation are not independent.
"""

from guardalign.stats.agreement import gold_accuracy, kappa, krippendorff_alpha
from guardalign.stats.compliance import compliance, statuses
from guardalign.stats.frame import MEASURES, comparison_name, frame
from guardalign.stats.intervals import bootstrap
from guardalign.stats.planning import planning, sample_size
from guardalign.stats.ranking import Ranking, rank
from guardalign.stats.rates import by_seed, opponents, table
from guardalign.stats.significance import holm, paired_test

__all__ = [
    "MEASURES",
    "Ranking",
    "bootstrap",
    "by_seed",
    "comparison_name",
    "compliance",
    "frame",
    "gold_accuracy",
    "holm",
    "kappa",
    "krippendorff_alpha",
    "opponents",
    "paired_test",
    "planning",
    "rank",
    "sample_size",
    "statuses",
    "table",
]
