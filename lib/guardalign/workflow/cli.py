"""``guardalign COMMAND …``: everything that is run outside a notebook.

A new command is one line in ``COMMANDS``: its name, its help, and a function that takes an ``ArgumentParser`` to which
it adds its arguments, and the arguments as given. It is imported when it is called; a ``GuardalignError`` that it
raises is printed without a traceback.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from signal import SIGINT

from guardalign import __version__
from guardalign.errors import GuardalignError, Preempted
from guardalign.processes import PREEMPTED, Ended

COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("run", "execute the series of notebooks with a parameter file", "guardalign.workflow.series:command"),
    ("stage", "execute one notebook of the series", "guardalign.workflow.run_notebook:command"),
    ("study", "train the arms of a study and write their replies, seed by seed", "guardalign.study.jobs:command"),
    ("pack", "put a study's results without its weights into one file", "guardalign.study.archive:command"),
    ("estimate", "estimate memory, disk, hours and dollars of a run", "guardalign.workflow.estimate:command"),
    ("sweep", "run every point of a grid of parameters", "guardalign.workflow.sweep:command"),
    ("comparison", "compare all methods on the tasks of a parameter file", "guardalign.report.command:comparison"),
    ("report", "write a run's report, or set several runs side by side", "guardalign.report.command:command"),
    ("judge-sample", "draw replies for people to judge", "guardalign.report.command:judge_sample"),
    ("export", "write an arm as a folder for transformers, peft or vLLM", "guardalign.study.export:command"),
    ("check", "check parameter files", "guardalign.workflow.series:check_command"),
    ("clean", "remove the folder of a run", "guardalign.workflow.clean:command"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 refused or failed, 2 wrongly called, 75 pre-empted, 128 + n ended by signal n."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal with another encoding does not stop the command
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 2
    if arguments[0] not in [name for name, *_ in COMMANDS]:
        parser.parse_args(arguments)  # --help, --version, or exit 2
    summary, where = next(rest for name, *rest in COMMANDS if name == arguments[0])
    module, function = where.split(":")
    command_parser = ArgumentParser(
        prog=f"guardalign {arguments[0]}", description=f"{summary[0].upper()}{summary[1:]}."
    )
    try:
        return getattr(import_module(module), function)(command_parser, arguments[1:]) or 0
    except Ended as ended:
        return 128 + ended.signal_number
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 128 + SIGINT
    except GuardalignError as error:
        print(error, file=sys.stderr, flush=True)
        return PREEMPTED if isinstance(error, Preempted) else 1


def _parser() -> ArgumentParser:
    listed = "\n".join(f"  {name:14}{summary}" for name, summary, _ in COMMANDS)
    parser = ArgumentParser(
        prog="guardalign",
        description="Does preference alignment make a customer-care bot keep its guardrails better than fine-tuning?",
        epilog=f"commands:\n{listed}\n\nguardalign COMMAND --help shows more.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=[name for name, *_ in COMMANDS], metavar="COMMAND")
    return parser


if __name__ == "__main__":
    sys.exit(main())
