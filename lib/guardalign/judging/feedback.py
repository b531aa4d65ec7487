"""Flow 2's filter: the prompts whose answer a judge finds worse than the chosen reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from guardalign.data.conversations import PreferencePair
from guardalign.errors import InputError, NoVerdict
from guardalign.judging.verdicts import Dimension, DimensionVerdict, Judge, Verdict


def worse_than_chosen(
    judge: Judge,
    pairs: Sequence[PreferencePair],
    answers: Mapping[str, str],
    arm: str,
    dimension: Dimension = "adherence",
) -> tuple[list[PreferencePair], list[Verdict]]:
    """The pairs whose answer is worse than ``chosen`` in ``dimension``, with the answer as ``rejected``; all verdicts.

    ``answers``: the arm's reply by pair id. Worse: in every order that has a verdict the chosen reply is preferred. A
    pair without a verdict, or whose answer is the chosen reply itself, is not kept. Source: paper A, Fig. 2c, where
    GPT-4 keeps the examples with "chosen response ≠ model's output".

    Raises NoVerdict if no pair is kept and some have no verdict, InputError if none is worse.
    """
    return _kept(
        judge, pairs, answers, arm, dimension, "worse than the chosen one", lambda said: said.preference == "1"
    )


def acceptable(
    judge: Judge,
    pairs: Sequence[PreferencePair],
    answers: Mapping[str, str],
    arm: str,
    dimension: Dimension = "adherence",
) -> tuple[list[PreferencePair], list[Verdict]]:
    """As ``worse_than_chosen``, but the pairs whose answer, another than ``chosen``, every verdict finds acceptable.

    Their rejected reply breaks nothing."""
    return _kept(judge, pairs, answers, arm, dimension, "acceptable", lambda said: said.acceptable_2)


def _kept(
    judge: Judge, pairs: Sequence[PreferencePair], answers: Mapping[str, str], arm: str, dimension: Dimension,
    words: str, keep: Callable[[DimensionVerdict], bool],
) -> tuple[list[PreferencePair], list[Verdict]]:  # fmt: skip
    asked = [pair for pair in pairs if answers[pair.id].strip() != pair.chosen.strip()]
    verdicts = judge.compare([(pair, pair.chosen, answers[pair.id]) for pair in asked], "chosen", arm)
    found: dict[str, list[bool]] = {}
    for verdict in verdicts:
        if dimension in verdict.dimensions:
            found.setdefault(verdict.pair_id, []).append(keep(verdict.dimensions[dimension]))
    kept = [
        pair.model_copy(update={"rejected": answers[pair.id].strip(), "broken": ()})
        for pair in asked
        if pair.id in found and all(found[pair.id])
    ]
    if not kept:
        without = len(asked) - len(found)
        counts = f"{arm}: the judge {judge.name} finds none of {len(asked)} replies {words} in {dimension}"
        if without:
            why = next(verdict.invalid for verdict in verdicts if verdict.invalid)
            raise NoVerdict(f"{counts}, but {without} have no valid verdict, e.g. {why[:300]}. Run again to ask again.")
        raise InputError(f"{counts}: there is nothing to learn from.")
    return kept, verdicts
