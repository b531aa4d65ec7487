"""Compares replies within a run and writes the verdicts to the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guardalign.data.conversations import PreferencePair, Reply
from guardalign.errors import InputError, NoVerdict
from guardalign.files import RunFolder, read_rows, require, write_rows
from guardalign.judging.verdicts import Item, Judge, Verdict

PREFERRED = "preferred"
"""The part of ``verdicts/`` that holds arms against the data's preferred replies."""
SAMPLED = "sampled"
"""The folder, within a seed's, of replies drawn at temperature 1 and of the verdicts on them."""


def replies_of(run: RunFolder, arm: str, notebook: str = "06_judging") -> dict[str, str]:
    """An arm's replies by pair id. Raises MissingStage if they were not generated."""
    return {reply.pair_id: reply.text for reply in read_rows(require(run.replies(arm), notebook), Reply)}


def compare_arms(
    run: RunFolder, judge: Judge, pairs: Sequence[PreferencePair], arm_1: str, arm_2: str, part: str = ""
) -> list[Verdict]:
    """Judge two arms' replies to ``pairs`` and write the verdicts; ``part`` names a folder of their own for them."""
    first, second = replies_of(run, arm_1), replies_of(run, arm_2)
    items = [(pair, first[pair.id], second[pair.id]) for pair in pairs]
    return _judged(run, judge, items, arm_1, arm_2, part)


def compare_gold(run: RunFolder, judge: Judge, pairs: Sequence[PreferencePair]) -> list[Verdict]:
    """Judge the data's own chosen replies against its rejected ones: how often the judge finds the better one."""
    items = [(pair, pair.chosen, pair.rejected) for pair in pairs]
    return _judged(run, judge, items, "chosen", "rejected")


def compare_preferred(run: RunFolder, judge: Judge, pairs: Sequence[PreferencePair], arm: str) -> list[Verdict]:
    """Judge one arm's replies against the data's preferred ones, on those of ``pairs`` that it has replies to.

    The verdicts have a folder of their own: they are not part of the arms' comparisons. Raises MissingStage if the
    replies were not generated.
    """
    replies = replies_of(run, arm, "05_method_comparison")
    items = [(pair, replies[pair.id], pair.chosen) for pair in pairs if pair.id in replies]
    return _judged(run, judge, items, arm, "chosen", PREFERRED)


def _judged(run: RunFolder, judge: Judge, items: list[Item], arm_1: str, arm_2: str, part: str = "") -> list[Verdict]:
    verdicts = judge.compare(items, arm_1, arm_2)
    path = run.verdicts(arm_1, arm_2)
    write_rows(path.parent / part / path.name, verdicts)
    if verdicts and all(verdict.invalid for verdict in verdicts):
        raise NoVerdict(
            f"{judge.name} gave no valid verdict on {arm_1} and {arm_2} in {len(verdicts)} tries, e.g. "
            f"{str(verdicts[0].invalid)[:300]}. Which is better is not known; run again to ask again."
        )
    return verdicts


def incomplete(root: Path, judge: str) -> list[Path]:
    """Verdict files under ``root`` that are damaged or hold invalid ones by ``judge``; the next run repeats them."""

    def complete(path: Path) -> bool:
        try:
            return not any(each.invalid and each.judge == judge for each in read_rows(path, Verdict))
        except InputError:
            return False

    return [path for path in sorted(root.rglob("verdicts/**/*.jsonl")) if not complete(path)]
