"""One self-contained HTML page per run: results, their uncertainty, and the replies behind them.

>>> from guardalign import report
>>> report.write("outputs/mine")                         # draws figures, writes tables and report.html
>>> report.compare([run_a, run_b], "compare.html")       # folders of runs, side by side
>>> results = report.load(run.root)        # .rates .rows .compared .compliance .pairs .replies .verdicts .metrics
>>> names = report.draw_all(results)       # only the figures
>>> report.publish(results, names)         # only the tables and the page

On the command line: ``guardalign report outputs/embedded`` and ``guardalign report --compare A B``.
A folder with ``seed-1/``, ``seed-2/``, … (each with ``verdicts/``) is one run of several training seeds.
"""

from __future__ import annotations

from pathlib import Path

from guardalign.files import write_text
from guardalign.report import notebooks
from guardalign.report.compare import compare
from guardalign.report.drawing import draw_all
from guardalign.report.page import render
from guardalign.report.results import Results, load, read
from guardalign.report.tables import against_preferred, table_1, table_3

__all__ = ["Results", "compare", "draw_all", "load", "publish", "read", "write"]


TABLES = ("win_rates", "contrasts", "arms", "table1", "table3", "held_out")
"""The tables that a report writes."""


def write(run: str | Path, output: str | Path | None = None) -> Path:
    """``draw_all`` and ``publish`` of the run in a folder; returns the page's path.

    Raises MissingStage if the run has neither verdicts nor scores.
    """
    results = read(run)
    return publish(results, draw_all(results), output)


def publish(results: Results, figure_names: list[str], output: str | Path | None = None) -> Path:
    """Write the page (default: ``report.html`` in the run's folder) around the figures that ``draw_all`` saved.

    Also writes ``contrasts.csv``, ``arms.csv``, ``win_rates.csv``, ``table1.csv`` and ``table3.csv`` into ``tables/``,
    and the pages of executed notebooks that are new. A run without a judge gets a page, and ``tables/held_out.csv``, of
    what its arms prefer among the data's own replies. An earlier report's tables that the run no longer has are
    removed. Returns the page's path. Raises MissingStage if the run has neither verdicts nor scores.
    """
    path = Path(output) if output else results.root / "report.html"
    if results.judged:
        tables = {"win_rates": results.rates, "contrasts": results.differences, "arms": results.kept}
        tables["table1"] = table_1(results.rates)
        if len(results.preferred_rates):
            tables["table3"] = table_3(against_preferred(results.preferred_rates))
    else:
        tables = {"held_out": results.held_out}
    for name in TABLES:
        table_path = results.root / "tables" / f"{name}.csv"
        if name in tables:
            write_text(table_path, tables[name].to_csv(index=False))
        else:
            table_path.unlink(missing_ok=True)
    notebooks.convert(results.root)
    write_text(path, render(results, figure_names, path.parent))
    return path
