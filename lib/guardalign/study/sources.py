"""Where preference pairs come from: the embedded world, the care corpus, or your own JSONL."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from guardalign.annotation.datacard import Annotated
from guardalign.config.sections import Model, Source
from guardalign.data import care
from guardalign.data.construction import points
from guardalign.data.conversations import SPLITS, Conversation, PreferencePair
from guardalign.data.reading import Refused, read
from guardalign.data.splitting import split_of, split_pairs, together
from guardalign.errors import InputError
from guardalign.files import json_line, resolved
from guardalign.models.encoding import fitted
from guardalign.world.domains import DOMAINS
from guardalign.world.scripts import Script, some_kinds, write_scripts


@dataclass(frozen=True)
class Sourced:
    """Pairs with their splits, their conversations where known, what was left out, and the card of data that a
    language model annotated."""

    pairs: list[PreferencePair]
    conversations: list[Conversation] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    card: Annotated | None = None


def load(source: Source, store: Path | None = None) -> Sourced:
    """The data that ``source`` describes. Raises InputError if a file holds nothing usable or too little to split.

    Your own conversations become pairs if ``source.annotation`` names a language model that writes their
    rejected replies; these are kept in ``store``. Otherwise they come back without pairs. Pairs are split by
    conversation, identified by ids and by histories that begin alike.
    """
    if source.kind == "world":
        return world(source)
    if source.kind == "care":
        return Sourced(care.pairs())
    found = read(resolved(source.path or ""), source.ignore_roles)
    pairs, conversations, notes, card = found.pairs, found.conversations, found.notes, None
    if conversations and source.annotation and store:
        from guardalign.annotation.stages import Annotator
        from guardalign.llm import Client, Endpoint

        card = Annotator(Client(Endpoint.of(source.annotation), store), source.annotation).annotate(conversations)
        pairs, conversations, notes = pairs + card.pairs, card.conversations, notes + card.dropped
    elif pairs:
        notes["conversation without rejected replies, not used"] += len(conversations)
    if pairs or card:
        known = together(pairs)
        moved = sum(one.conversation_id != two.conversation_id for one, two in zip(pairs, known, strict=True))
        notes["pair put to the conversation that begins like its history"] += moved
        pairs = split_pairs(known, source.seed, source.shares)
    return Sourced(pairs, conversations, found.refused, +notes, card)


def world(source: Source) -> Sourced:
    """The embedded world's pairs; the last of its domains is kept for the transfer split alone."""
    if source.conversations is None:
        raise InputError("source.conversations must give the number of the world's conversations")
    *home, transfer = DOMAINS
    pairs: list[PreferencePair] = []
    conversations: list[Conversation] = []
    for split in SPLITS:
        count = getattr(source.conversations, split)
        domains = [transfer] if split == "transfer" else home
        kinds = some_kinds(source.kinds[split], source.seed) if split in source.kinds else None
        for script in write_scripts(count, source.seed, domains, prefix=split, kinds=kinds):
            conversations.append(script.conversation)
            pairs += [pair.model_copy(update={"split": split}) for pair in _points(script)]
    return Sourced(pairs, conversations)


def _points(script: Script) -> list[PreferencePair]:
    return points(script.conversation, lambda _, index: script.rejections.get(index))


def fit(sourced: Sourced, model: Model, tokenizer: PreTrainedTokenizerBase) -> Sourced:
    """Every pair shortened or refused so that it fits the model (``encoding.fitted``), which is counted.

    Raises InputError if no pair of a split is left.
    """
    pairs, too_long = fitted(sourced.pairs, tokenizer, model)
    if lost := {pair.split for pair in sourced.pairs} - {pair.split for pair in pairs}:
        raise InputError(
            f"every pair of the split {', '.join(sorted(lost))} is longer than model.max_length {model.max_length}: "
            "raise it, or set model.overlong to truncate"
        )
    whole = {pair.id: pair for pair in sourced.pairs}
    shorter = sum(pair.turns != whole[pair.id].turns for pair in pairs)
    refused = [
        Refused(id=name, reason=f"{tokens} tokens: model.max_length is {model.max_length}", row=json_line(whole[name]))
        for name, tokens in too_long.items()
    ]
    notes = sourced.notes + Counter({"point without its oldest turns, to fit model.max_length": shorter})
    return replace(sourced, pairs=pairs, refused=[*sourced.refused, *refused], notes=notes)


def split_conversations(conversations: list[Conversation], source: Source) -> Counter[str]:
    """How many conversations each split gets, before pairs are made from them."""
    return Counter(split_of(each.id, source.seed, source.shares) for each in conversations)
