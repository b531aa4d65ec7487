"""``guardalign comparison PARAMS``: every method on every task; finished work is kept."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from guardalign import processes
from guardalign.config.params import Params
from guardalign.files import RunFolder


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("params", type=Path, help="a parameter file with tasks, e.g. params/comparison.yaml")
    settings = Params.load(parser.parse_args(argv).params)
    from guardalign.report.comparison import carry_out  # slow to import

    start, run = time.monotonic(), RunFolder.named(settings.run)
    with processes.alone_in(run.root):
        carry_out(settings, run)
    print(f"Tables: {run.root / 'tables'} ({time.monotonic() - start:.0f} s)")
