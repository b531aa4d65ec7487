"""Splits by conversation: all points of a conversation are in the same split, whatever else is in the data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from guardalign.config.sections import Shares
from guardalign.data.conversations import PreferencePair, Split
from guardalign.errors import InputError
from guardalign.files import RunFolder, read_rows, require

ENOUGH = 20


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
    """The pairs with their ``split`` set. Raises InputError if a split stays empty."""
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


def together(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """The pairs, those whose histories begin alike under one ``conversation_id``: the first of theirs in the data.

    Alike: the same guardrails, and the same messages up to a customer's that is at least the third, or by which the
    customer has written 20 bytes (some five English words). Unrelated conversations share shorter openings ("Hello").
    """
    import networkx  # takes a while

    graph = networkx.Graph((pair.conversation_id, _opening(pair) or pair.conversation_id) for pair in pairs)
    first: dict[object, str] = {}
    for name in (pair.conversation_id for pair in pairs):
        if name not in first:
            first |= dict.fromkeys(networkx.node_connected_component(graph, name), name)
    return [pair.model_copy(update={"conversation_id": first[pair.conversation_id]}) for pair in pairs]


def _opening(pair: PreferencePair) -> object | None:
    written = 0
    for count, turn in enumerate(pair.turns, start=1):
        if turn.role == "user":
            written += len(turn.text.encode())
            if written >= ENOUGH or count >= 3:
                return pair.guardrails, tuple((each.role, each.text) for each in pair.turns[:count])
    return None


def pairs_in(run: RunFolder, *splits: Split) -> list[PreferencePair]:
    """The run's pairs of these splits, in file order. Raises MissingStage if notebook 01 has not run."""
    path = require(run.data("pairs"), notebook="01_dataset_construction")
    return [pair for pair in read_rows(path, PreferencePair) if pair.split in splits]
