"""``python -m guardalign.workflow.comparison params/comparison.yaml``: every method on every task.

It goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from guardalign import processes
from guardalign.config.params import Params
from guardalign.errors import GuardalignError
from guardalign.files import RunFolder
from guardalign.report.comparison import results


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare all methods on the tasks of a parameter file.")
    parser.add_argument("params", type=Path)
    arguments = parser.parse_args()
    start = time.monotonic()
    try:
        settings = Params.load(arguments.params)
        run = RunFolder.named(settings.run)
        with processes.locked(run.root / ".lock") as lock:
            if lock is None:
                raise GuardalignError(f"Another run is working in {run.root}: wait for it, or choose another run.")
            results.carry_out(settings, run)
    except GuardalignError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Tables: {run.root / 'tables'} ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
