"""``python -m guardalign.report RUN`` writes a run's report; ``--compare RUN RUN …`` sets runs side by side."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from guardalign.errors import GuardalignError
from guardalign.report import compare, write


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m guardalign.report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, e.g. outputs/embedded")
    parser.add_argument("--compare", action="store_true", help="two or more runs in one page, side by side")
    parser.add_argument("--output", type=Path, help="the page to write (default: RUN/report.html, or compare.html)")
    chosen = parser.parse_args(arguments)
    if chosen.compare != (len(chosen.runs) > 1):
        parser.error("give one run, or --compare and two or more")
    try:
        if chosen.compare:
            path = compare(chosen.runs, chosen.output or "compare.html")
        else:
            path = write(chosen.runs[0], chosen.output)
    except GuardalignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
