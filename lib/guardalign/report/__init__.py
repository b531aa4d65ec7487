"""One self-contained HTML page per run: results, their uncertainty, and the replies behind them.

>>> from guardalign import report
>>> report.write(run)                      # RunFolder or path; draws figures, writes report.html
>>> report.compare([run_a, run_b], "compare.html")       # runs side by side
>>> results = report.load(run.root)        # .rates .rows .compared .compliance .pairs .replies .verdicts .metrics
>>> names = report.draw_all(results)       # only the figures
>>> report.publish(results, names)         # only the tables and the page

On the command line: ``guardalign report outputs/embedded`` and ``guardalign report --compare A B``.
A folder with ``seed-1/``, ``seed-2/``, … (each with ``verdicts/``) is one run of several training seeds.
"""

from __future__ import annotations

from pathlib import Path

from guardalign.files import RunFolder, write_text
from guardalign.report import notebooks
from guardalign.report.compare import compare
from guardalign.report.drawing import drawings, save_all
from guardalign.report.page import render
from guardalign.report.results import Results, load, read
from guardalign.report.tables import against_preferred, table_1, table_3

__all__ = ["Results", "compare", "draw_all", "load", "publish", "read", "render", "write"]


def write(
    run: RunFolder | str | Path,
    output: str | Path | None = None,
    most_examples: int = 5_000,
    level: float | None = None,
) -> Path:
    """Draw a run's figures, write its tables and its page, and return the page's path: ``draw_all`` and ``publish``.

    Raises MissingStage if nothing was judged nor scored.
    """
    results = read(run.root if isinstance(run, RunFolder) else run, level)
    return publish(results, draw_all(results), output, most_examples)


def draw_all(results: Results) -> list[str]:
    """Save every figure that the run has data for, judged or not; returns their names in the report's order.

    Raises MissingStage if nothing was judged nor scored.
    """
    return save_all(drawings(results), results.root / "figures")


def publish(
    results: Results, figure_names: list[str], output: str | Path | None = None, most_examples: int = 5_000
) -> Path:
    """Write the page (default: ``report.html`` in the run's folder) around the figures that ``draw_all`` saved.

    Also writes ``contrasts.csv``, ``arms.csv``, ``win_rates.csv``, ``table1.csv`` and ``table3.csv`` into ``tables/``,
    and the pages of executed notebooks that are new. A run without a judge gets a page, and ``tables/held_out.csv``, of
    what its arms prefer among the data's own replies. Returns the page's path. Raises MissingStage if nothing was
    judged nor scored.
    """
    path = Path(output) if output else results.root / "report.html"
    made = {} if results.judged else {"held_out": results.held_out}
    if results.judged:
        made |= {"win_rates": results.rates, "contrasts": results.differences, "arms": results.kept}
        made["table1"] = table_1(results.rates)
        if len(results.preferred_rates):
            made["table3"] = table_3(against_preferred(results.preferred_rates))
    for name, table in made.items():
        write_text(results.root / "tables" / f"{name}.csv", table.to_csv(index=False))
    notebooks.convert(results.root)
    write_text(path, render(results, figure_names, path.parent, most_examples))
    return path
