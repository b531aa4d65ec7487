"""Verdicts in, win rates with their uncertainty out.

>>> from guardalign import stats
>>> rows = stats.frame(verdicts)                      # one row per verdict and dimension; seed=… for several seeds
>>> table = stats.table(rows, contrasts=[("sft", "ipo")])   # one row per comparison and dimension, with intervals
>>> stats.opponents(table)                            # how much an arm's rate depends on its opponent
>>> stats.planning(rows)                              # what these data could show, and what it would take
>>> statuses = stats.statuses(verdicts, kind=…)       # one row per application of a guardrail and arm
>>> stats.adherence(statuses)                         # applications kept, and prompts with all of them kept
>>> stats.exchanged(statuses, [("sft", "ipo")])       # applications gained and lost
>>> stats.live(stats.compliance(statuses))            # by guardrail and arm; which kinds distinguish arms
>>> stats.rank(rows)                                  # Bradley–Terry with ties; .scores, .fit
>>> stats.kappa(rows, "judge a", "judge b"), stats.krippendorff_alpha(rows)
>>> stats.cohens_kappa(one, two, conversations)       # of any two lists of answers, with an interval
>>> stats.ratings_needed(kappa=0.8, share=0.3)        # for an interval of ± 5 points
>>> stats.gold_accuracy(rows)                         # judge against pairs whose better side is known

evalica is imported where it is used, as few notebooks rank arms.

Everywhere: a *prompt* counts once (its two orders are averaged), an invalid verdict is left out and counted in
``invalid``, and every interval and p value comes from :mod:`guardalign.stats.inference`: training seeds crossed with
conversations, because neither the prompts of a conversation nor the replies of a trained model are independent.
"""

from guardalign.stats.agreement import cohens_kappa, gold_accuracy, kappa, krippendorff_alpha
from guardalign.stats.compliance import adherence, compliance, exchanged, live, statuses
from guardalign.stats.frame import MEASURES, frame
from guardalign.stats.inference import DIFFERENCE, SHARE, UNBOUNDED, Estimate, estimate
from guardalign.stats.intervals import means
from guardalign.stats.planning import planning, ratings_needed
from guardalign.stats.ranking import Ranking, rank
from guardalign.stats.rates import opponents, table

__all__ = [
    "DIFFERENCE",
    "MEASURES",
    "SHARE",
    "UNBOUNDED",
    "Estimate",
    "Ranking",
    "adherence",
    "cohens_kappa",
    "compliance",
    "estimate",
    "exchanged",
    "frame",
    "gold_accuracy",
    "kappa",
    "krippendorff_alpha",
    "live",
    "means",
    "opponents",
    "planning",
    "rank",
    "ratings_needed",
    "statuses",
    "table",
]
