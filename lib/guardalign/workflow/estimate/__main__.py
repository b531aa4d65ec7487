"""``python -m guardalign.workflow.estimate params/x.yaml [--device A100]``: what a run needs, as a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from guardalign.config.params import Params
from guardalign.errors import GuardalignError
from guardalign.files import RunFolder
from guardalign.workflow.estimate import Placement, check, checked_here, estimate
from guardalign.workflow.estimate.machine import DEVICES, Machine
from guardalign.workflow.estimate.table import summary, table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="guardalign.workflow.estimate", description="Say what a run needs.")
    parser.add_argument("params", type=Path)
    names = [device.name for device in DEVICES]
    parser.add_argument("--device", choices=names, help="for machines with this GPU (default: this machine)")
    parser.add_argument("--brief", action="store_true", help="one line, and whether this machine has that")
    given = parser.parse_args(arguments)
    try:
        settings = Params.load(given.params)
        if given.brief:
            print(summary(checked_here(settings)))
            return 0
        folder = RunFolder.named(settings.run).root
        machine = Machine.here(folder)
        if given.device:
            machine = Machine.of(given.device, Placement.of(settings.launch.kind, Machine.of(given.device, 1)).local)
        found = estimate(settings, machine)
        print(table(found))
        check(found, machine, folder)
        print("This machine has that." if not given.device else f"Machines with {given.device} GPUs have that.")
    except GuardalignError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
