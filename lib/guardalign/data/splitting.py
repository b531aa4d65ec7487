"""Splits by conversation: all points of a conversation lie on the same side, whatever else is in the data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from guardalign.config.sections import Shares
from guardalign.data.conversations import PreferencePair, Split
from guardalign.errors import InputError
from guardalign.files import RunFolder, read_rows, require


def split_of(conversation_id: str, seed: int, shares: Shares) -> Split:
    """The split of a conversation: a hash of seed and id decides, so adding data moves no conversation.

    Validation is taken from the end of the test split: another share of it leaves train and feedback as they are.
    """
    digest = hashlib.sha256(f"{seed}:{conversation_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < shares.train:
        return "train"
    if position < shares.train + shares.feedback:
        return "feedback"
    return "test" if position < 1 - shares.validation else "validation"


def split_pairs(pairs: Sequence[PreferencePair], seed: int, shares: Shares) -> list[PreferencePair]:
    """The pairs with their ``split`` set. Raises InputError where a split stays empty."""
    placed = [pair.model_copy(update={"split": split_of(pair.conversation_id, seed, shares)}) for pair in pairs]
    wanted = ("train", "feedback", *(["validation"] if shares.validation else []), "test")
    missing = [name for name in wanted if name not in {pair.split for pair in placed}]
    if missing:
        count = len({pair.conversation_id for pair in pairs})
        raise InputError(
            f"{count} conversations leave the split {' and '.join(missing)} empty: "
            "give more data, or change source.shares or the seed"
        )
    return placed


def leaks(pairs: Iterable[PreferencePair], least_turns: int = 3) -> list[tuple[str, str]]:
    """Pairs of conversation ids in different splits whose histories begin with the same ``least_turns`` messages.

    Short openings ("Hello") are common to unrelated conversations, so only longer ones count. A hit says that one
    conversation may go by two ids.
    """
    seen: dict[tuple[object, ...], PreferencePair] = {}
    found = set()
    for pair in pairs:
        if len(pair.turns) < least_turns:
            continue
        opening = (pair.guardrails, *((turn.role, turn.text) for turn in pair.turns[:least_turns]))
        other = seen.setdefault(opening, pair)
        if other.conversation_id != pair.conversation_id and other.split != pair.split:
            found.add((other.conversation_id, pair.conversation_id))
    return sorted(found)


def pairs_in(run: RunFolder, *splits: Split) -> list[PreferencePair]:
    """The run's pairs of these splits, in file order. Raises MissingStage where notebook 01 has not run."""
    path = require(run.data("pairs"), notebook="01_dataset_construction")
    return [pair for pair in read_rows(path, PreferencePair) if pair.split in splits]
