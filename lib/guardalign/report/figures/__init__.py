"""Tables in, figures out: each function returns a matplotlib ``Figure`` that shows itself in a notebook.

>>> from guardalign.report import figures
>>> figure = figures.contrasts(tables.differences(rates), ["adherence"])
>>> figures.save(figure, rates, run.figures("contrasts"))     # contrasts.png, contrasts.svg, contrasts.csv

========================================================  ===================================================
``contrasts(differences, measures)``                      paired differences of arms in points
``parts(breakdown.parts(...))``                           the same by what training had seen, and by turn
``effects(side_effects.effects(...), panels, title)``     weighted sums of arms, a panel per measure
``arms(kept)``                                            what each arm keeps, in every measure
``comparison_bars(rates, comparisons)``                   four-segment bars, as in paper A's Figures 3 and 4
``table_1(rates)``, ``table_3(rates)``                    the papers' tables next to this run
``ranking(stats.rank(rows), rates)``                      Bradley–Terry strengths
``guardrail_map(stats.compliance(statuses))``             which guardrails each arm keeps
``grid(sweep, choice)``                                   learning rate × β, the chosen point framed
``reply_panels(replystats.reply_statistics(replies))``    length, repetition, cut-offs
``cost(costs, kept)``                                     what an arm cost against what it keeps
``held_out(heldout.table(rows))``                         which reply of the data an arm prefers, without a judge
``loss_curves(losses.METHODS, beta)``                     every method's loss over the margin
``training_curves(experiment.metrics(names), plan)``      loss, margin, accuracy, …
``tasks``, ``dynamics``, ``task_costs``                   the comparison of methods on its tasks
========================================================  ===================================================

``rates`` is always ``stats.table``'s result (one judge). A title states what is plotted, the caption how the numbers
came about; name and look of an arm (``looks``) are the same in all of them.
"""

from guardalign.report.figures.bars import comparison_bars
from guardalign.report.figures.curves import dynamics, loss_curves, training_curves
from guardalign.report.figures.maps import grid, guardrail_map
from guardalign.report.figures.points import (
    arms,
    contrasts,
    effects,
    held_out,
    parts,
    ranking,
    table_1,
    table_3,
    tasks,
    trend,
)
from guardalign.report.figures.replies import cost, reply_panels, task_costs
from guardalign.report.figures.style import save

__all__ = [
    "arms", "comparison_bars", "contrasts", "cost", "dynamics", "effects", "grid", "guardrail_map", "held_out",
    "loss_curves", "parts", "ranking", "reply_panels", "save", "table_1", "table_3", "task_costs", "tasks",
    "training_curves", "trend",
]  # fmt: skip
