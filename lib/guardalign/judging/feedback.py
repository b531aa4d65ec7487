"""Flow 2's filter: the prompts whose rejected reply is replaced by the model's own answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from guardalign.data.conversations import PreferencePair
from guardalign.errors import InputError, NoVerdict
from guardalign.judging.verdicts import Judge, Verdict


def own_replies(
    judge: Judge | None,
    pairs: Sequence[PreferencePair],
    answers: Mapping[str, str],
    arm: str,
    wanted: Literal["worse", "acceptable"] = "worse",
) -> tuple[list[PreferencePair], list[Verdict]]:
    """The pairs whose answer differs from ``chosen`` and is as ``wanted`` in adherence, with it as ``rejected``.

    ``answers``: the arm's reply by pair id. "worse": in every order that has a verdict the chosen reply is preferred;
    "acceptable": every verdict finds the answer acceptable, so that the rejected reply breaks nothing. A pair without a
    verdict is not kept. Without a judge every answer that is not empty is worse. Source: paper A, Fig. 2c, where GPT-4
    keeps the examples with "chosen response ≠ model's output". Also returns all verdicts.

    Raises NoVerdict if no pair is kept and some have no verdict, InputError if none is as wanted.
    """
    asked = [pair for pair in pairs if answers[pair.id].strip() != pair.chosen.strip()]
    if judge is None and wanted == "acceptable":
        raise InputError(f"{arm}: without a judge it is not known which of its replies are acceptable")
    verdicts = judge.compare([(pair, pair.chosen, answers[pair.id]) for pair in asked], "chosen", arm) if judge else []
    as_wanted: dict[str, list[bool]] = {pair.id: [bool(answers[pair.id].strip())] for pair in asked if judge is None}
    for verdict in verdicts:
        if adherence := verdict.dimensions.get("adherence"):
            as_wanted.setdefault(verdict.pair_id, []).append(
                adherence.preference == "1" if wanted == "worse" else adherence.acceptable_2
            )
    kept = [
        pair.model_copy(update={"rejected": answers[pair.id].strip(), "broken": ()})
        for pair in asked
        if pair.id in as_wanted and all(as_wanted[pair.id])
    ]
    if not kept:
        if judge is None:
            raise InputError(f"All {len(pairs)} replies are empty or the chosen ones: there is nothing to learn from.")
        words = "worse than the chosen one" if wanted == "worse" else "acceptable"
        counts = f"{arm}: the judge {judge.name} finds none of {len(asked)} replies {words} in adherence"
        if without := len(asked) - len(as_wanted):
            why = next(verdict.invalid for verdict in verdicts if verdict.invalid)
            raise NoVerdict(f"{counts}, but {without} have no valid verdict, e.g. {why[:300]}. Run again to ask again.")
        raise InputError(f"{counts}: there is nothing to learn from.")
    return kept, verdicts
