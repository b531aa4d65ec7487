"""Verdicts in, win rates with their uncertainty out.

>>> from guardalign import winrates
>>> rows = winrates.frame(verdicts)                      # one row a verdict and dimension; seed=… for several seeds
>>> table = winrates.table(rows, replicates=10_000, seed=0)   # one row a comparison and dimension, with intervals
>>> winrates.opponents(table)                            # how much an arm's rate depends on whom it meets
>>> winrates.planning(rows)                              # minimum detectable difference, prompts for a precision
>>> winrates.by_seed(rows)                               # the same rates, one row a seed
>>> winrates.compliance(winrates.statuses(verdicts, kind=…))   # share of guardrails kept, by guardrail and arm
>>> winrates.rank(rows)                                  # Bradley–Terry with ties; .scores, .fit
>>> winrates.kappa(rows, "judge a", "judge b"), winrates.krippendorff_alpha(rows)
>>> winrates.gold_accuracy(rows)                         # judge against pairs whose better side is known

statsmodels, scipy.stats and evalica are imported where they are used: together they take a second, and every notebook
imports this package.

Everywhere: a *prompt* counts once (its two orders are averaged), an invalid verdict is left out and counted in
``invalid``, and what is resampled is the *conversation*, because prompts of one conversation are not independent.
"""

from guardalign.winrates.agreement import gold_accuracy, kappa, krippendorff_alpha
from guardalign.winrates.compliance import compliance, statuses
from guardalign.winrates.frame import MEASURES, comparison_name, frame
from guardalign.winrates.intervals import bootstrap
from guardalign.winrates.planning import planning, sample_size
from guardalign.winrates.ranking import Ranking, rank
from guardalign.winrates.rates import by_seed, opponents, table
from guardalign.winrates.significance import holm, paired_test

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
