"""``guardalign comparison``, ``guardalign report`` and ``guardalign judge-sample``."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from guardalign import processes
from guardalign.config.params import Params
from guardalign.files import RunFolder


def comparison(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("params", help="a parameter file with tasks, e.g. params/comparison.yaml")
    settings = Params.load(parser.parse_args(argv).params)
    from guardalign.report.comparison import carry_out  # slow to import

    run = RunFolder.named(settings.run)
    with processes.alone_in(run.root):
        carry_out(settings, run)
    print(f"Tables: {run.root / 'tables'}")


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, e.g. outputs/embedded")
    parser.add_argument("--compare", action="store_true", help="two or more runs in one page, side by side")
    parser.add_argument("--output", type=Path, help="the page to write (default: RUN/report.html, or compare.html)")
    chosen = parser.parse_args(argv)
    if chosen.compare != (len(chosen.runs) > 1):
        parser.error("give one run, or --compare and two or more")
    from guardalign.report import compare, write  # slow to import

    if chosen.compare:
        print(compare(chosen.runs, chosen.output or "compare.html"))
    else:
        print(write(chosen.runs[0], chosen.output))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"expected a whole number above 0, not {text!r}")
    return int(text)


def judge_sample(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, e.g. outputs/embedded")
    parser.add_argument(
        "--rules", action="store_true", help="single replies, for readers who check the rules' statuses of guardrails"
    )
    parser.add_argument(
        "--items", type=_count, help="pairs of replies, evenly over the contrasts (36); or replies (400)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed draws another sample")
    parser.add_argument("--output", type=Path, help="the folder to write to (default: RUN/people, or RUN/readings)")
    chosen = parser.parse_args(argv)
    from guardalign.report import load, people, read, readings

    if chosen.rules:
        results = read(chosen.run)
        drawn = readings.draw(results.replies, results.pairs.values(), chosen.items or 400, chosen.seed)
        for path in readings.export(drawn, chosen.output or chosen.run / "readings"):
            print(path)
        return
    results = load(chosen.run)
    replies = results.replies[min(results.replies)]
    pairs = [pair for pair in results.pairs.values() if pair.split == "test"]
    sample = people.draw(pairs, replies, results.comparisons, chosen.items or 36, chosen.seed)
    for path in people.export(sample, chosen.output or chosen.run / "people"):
        print(path)
