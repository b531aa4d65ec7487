"""One self-contained HTML page a run: what came out, how sure that is, and the replies behind it.

>>> from guardalign import report
>>> report.write(run)                      # RunFolder or path; draws figures, writes report.html
>>> report.compare([run_a, run_b], "compare.html")       # runs side by side
>>> results = report.load(run.root)        # .rates .rows .compared .compliance .pairs .replies .verdicts .metrics
>>> report.draw_all(results)               # only the figures

On the command line: ``python -m guardalign.report outputs/embedded`` and ``python -m guardalign.report --compare A B``.
A folder with ``seed-1/``, ``seed-2/``, … (each with ``verdicts/``) is one run of several training seeds.
"""

from __future__ import annotations

import gc
from pathlib import Path

from guardalign.files import RunFolder, write_text
from guardalign.report import notebooks
from guardalign.report.compare import compare
from guardalign.report.drawing import draw_all, save_all
from guardalign.report.page import render
from guardalign.report.results import Results, load, read

__all__ = ["Results", "compare", "draw_all", "load", "render", "write"]


def write(
    run: RunFolder | str | Path,
    output: str | Path | None = None,
    most_examples: int = 5_000,
    replicates: int | None = None,
    level: float | None = None,
) -> Path:
    """Draw a run's figures, write its page (default: ``report.html`` in its folder) and return the page's path.

    Also writes ``tables/win_rates.csv`` and ``tables/table1.csv``, and the pages of executed notebooks that are new.
    A run without a judge gets a page, and ``tables/held_out.csv``, of what its arms prefer among the data's own
    replies. Raises MissingStage where nothing was judged nor scored.
    """
    root = run.root if isinstance(run, RunFolder) else Path(run)
    results = read(root, replicates, level)
    path = Path(output) if output else root / "report.html"
    if not any(results.verdicts.values()):
        return _write_unjudged(results, path)
    # Everything loaded lives until the end: the garbage collector would look through it again and again, a fifth of
    # all time.
    gc.freeze()
    try:
        from guardalign.tables import against_preferred, table_1, table_3

        names = draw_all(results)
        write_text(root / "tables" / "win_rates.csv", results.rates.to_csv(index=False))
        write_text(root / "tables" / "table1.csv", table_1(results.rates).to_csv(index=False))
        if len(results.preferred_rates):
            beside = table_3(against_preferred(results.preferred_rates))
            write_text(root / "tables" / "table3.csv", beside.to_csv(index=False))
        notebooks.convert(root)
        write_text(path, render(results, names, most_examples))
    finally:
        gc.unfreeze()
    return path


def _write_unjudged(results: Results, path: Path) -> Path:
    from guardalign.report import unjudged

    table = unjudged.held_out(results)
    write_text(results.root / "tables" / "held_out.csv", table.to_csv(index=False))
    names = save_all(unjudged.drawings(results, table), results.root / "figures")
    notebooks.convert(results.root)
    write_text(path, unjudged.render(results, table, names))
    return path
