"""Tables in, figures out: each function returns a matplotlib ``Figure`` that shows itself in a notebook.

>>> from guardalign.report import figures
>>> figure = figures.comparison_bars(rates, [("M_1SFT", "M_1SFT_ipo")], profile="embedded")   # Figures 3 and 4
>>> figures.save(figure, rates, run.figures("figure4"))       # figure4.png, figure4.svg, figure4.csv

========================================================  ===================================================
``comparison_bars(rates, comparisons)``                   four-segment bars, as in paper A's Figures 3 and 4
``table_1(rates)``                                        this run's Table 1, paper A's numbers beside it
``table_3(rates)``                                        methods against the preferred reply, beside paper B's
``forest(rates)``                                         every arm against every opponent
``pair_map(rates, dimension)``                            heat map of all pairs
``ranking(stats.rank(rows), rates)``                      Bradley–Terry strengths
``guardrail_map(stats.compliance(statuses))``             which guardrails each arm keeps
``tradeoff(rates)``                                       adherence against naturalness
``cost_against_wins(rates, cost, unit)``                  what an arm cost against what it wins
``held_out(heldout.table(rows))``                         which reply of the data an arm prefers, without a judge
``reply_panels(replystats.reply_statistics(replies))``    length, repetition, cut-offs
``training_curves({arm: rows of metrics.jsonl})``         loss, margin, accuracy, …
========================================================  ===================================================

``rates`` is always ``stats.table``'s result (one judge). All take ``title``, ``profile`` and ``note``: the title
states the finding unless it is given, the caption says n, judge, orders, interval, seeds and ``profile``, then
``note``.
"""

from guardalign.report.figures.bars import comparison_bars
from guardalign.report.figures.beside import table_1, table_3
from guardalign.report.figures.forest import forest
from guardalign.report.figures.heldout import held_out
from guardalign.report.figures.maps import guardrail_map, pair_map
from guardalign.report.figures.ranks import ranking
from guardalign.report.figures.replies import cost_against_wins, reply_panels, tradeoff
from guardalign.report.figures.style import save
from guardalign.report.figures.training import training_curves

__all__ = [
    "comparison_bars",
    "cost_against_wins",
    "forest",
    "guardrail_map",
    "held_out",
    "pair_map",
    "ranking",
    "reply_panels",
    "save",
    "table_1",
    "table_3",
    "tradeoff",
    "training_curves",
]
