"""Flow 2's filter: the prompts whose answer a judge finds worse than the chosen reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guardalign.data.conversations import PreferencePair
from guardalign.errors import InputError, NoVerdict
from guardalign.judging.verdicts import Dimension, Judge, Verdict


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
    asked = [pair for pair in pairs if answers[pair.id].strip() != pair.chosen.strip()]
    verdicts = judge.compare([(pair, pair.chosen, answers[pair.id]) for pair in asked], "chosen", arm)
    preferences: dict[str, list[str]] = {}
    for verdict in verdicts:
        if dimension in verdict.dimensions:
            preferences.setdefault(verdict.pair_id, []).append(verdict.dimensions[dimension].preference)
    kept = [
        pair.model_copy(update={"rejected": answers[pair.id].strip(), "broken": ()})
        for pair in asked
        if preferences.get(pair.id) and set(preferences[pair.id]) == {"1"}
    ]
    if not kept:
        without = len(asked) - len(preferences)
        counts = (
            f"{arm}: the judge {judge.name} finds none of {len(asked)} replies worse than the chosen one in {dimension}"
        )
        if without:
            why = next(verdict.invalid for verdict in verdicts if verdict.invalid)
            raise NoVerdict(f"{counts}, but {without} have no valid verdict, e.g. {why[:300]}. Run again to ask again.")
        raise InputError(f"{counts}: there is nothing to learn from.")
    return kept, verdicts
