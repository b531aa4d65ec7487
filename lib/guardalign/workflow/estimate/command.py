"""``guardalign estimate params/x.yaml [--device A100]``: what a run needs, as a table."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from guardalign.config.params import Params
from guardalign.files import RunFolder
from guardalign.workflow.estimate import Placement, check, checked_here, estimate
from guardalign.workflow.estimate.machine import DEVICES, Machine
from guardalign.workflow.estimate.table import summary, table


def command(parser: ArgumentParser, given: Sequence[str]) -> None:
    parser.add_argument("params", type=Path, help="a parameter file")
    names = [device.name for device in DEVICES]
    parser.add_argument("--device", choices=names, help="for machines with this GPU (default: this machine)")
    parser.add_argument("--brief", action="store_true", help="one line, and whether this machine has that")
    arguments = parser.parse_args(given)
    settings = Params.load(arguments.params)
    if arguments.brief:
        print(summary(checked_here(settings)))
        return
    folder = RunFolder.named(settings.run).root
    machine = Machine.here(folder)
    if arguments.device:
        one = Machine.of(arguments.device, 1)
        machine = Machine.of(arguments.device, Placement.of(settings.launch.kind, one).local)
    found = estimate(settings, machine)
    print(table(found), flush=True)
    check(found, machine, folder)
    print("This machine has that." if not arguments.device else f"Machines with {arguments.device} GPUs have that.")
