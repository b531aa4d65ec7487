"""``guardalign report RUN`` writes a run's report; ``--compare RUN RUN …`` sets runs side by side."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path


def command(parser: ArgumentParser, given: Sequence[str]) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, e.g. outputs/embedded")
    parser.add_argument("--compare", action="store_true", help="two or more runs in one page, side by side")
    parser.add_argument("--output", type=Path, help="the page to write (default: RUN/report.html, or compare.html)")
    chosen = parser.parse_args(given)
    if chosen.compare != (len(chosen.runs) > 1):
        parser.error("give one run, or --compare and two or more")
    from guardalign.report import compare, write  # slow to import

    if chosen.compare:
        print(compare(chosen.runs, chosen.output or "compare.html"))
    else:
        print(write(chosen.runs[0], chosen.output))
