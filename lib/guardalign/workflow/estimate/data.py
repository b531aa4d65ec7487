"""How much there is to learn from and to answer: points by split, and their lengths in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from guardalign.config.params import Params
from guardalign.data.construction import Rejection, format_prompt, points
from guardalign.data.conversations import Conversation, PreferencePair
from guardalign.data.splitting import split_of
from guardalign.errors import GuardalignError
from guardalign.files import resolved
from guardalign.models.loading import load_tokenizer
from guardalign.study.sources import load

CHARACTERS_A_TOKEN = 4.0
"""English text in the usual vocabularies of 30,000 to 150,000 tokens."""
SAMPLE = 40


@dataclass(frozen=True)
class Data:
    """Points by split, and mean tokens: of a prompt, of a conversation's longest prompt, of a reply; the longest prompt
    of all; points a conversation. ``origin`` says where the figures are from."""

    splits: dict[str, int]
    prompt: float
    last: float
    longest: float
    reply: float
    per_conversation: float
    origin: str

    def count(self, *splits: str) -> int:
        return sum(self.splits.get(name, 0) for name in splits)


PAPER_A = Data(
    {"train": 5100, "feedback": 1650, "test": 1707}, 900.0, 1500.0, 2000.0, 60.0, 8457 / 880,
    "paper A's 8,457 points of 880 conversations, with lengths assumed (the data are not there)",
)  # fmt: skip


def data_of(settings: Params, model: str) -> Data:
    """What the run's source holds. Conversations without pairs count every answer of the agent as a point.

    Where one's own data are not there yet, paper A's size stands in for them.
    """
    source = settings.source
    if source.kind == "jsonl" and not resolved(source.path or "").exists():
        return PAPER_A
    read = load(source)
    pairs = read.pairs or [_placed(pair, settings) for each in read.conversations for pair in _possible(each)]
    if not pairs:
        return PAPER_A
    texts = [format_prompt(pair.guardrails, pair.turns) for pair in pairs]
    replies = [(len(pair.chosen) + len(pair.rejected)) / 2 for pair in pairs]
    last: dict[str, int] = {}
    for pair, text in zip(pairs, texts, strict=True):
        last[pair.conversation_id] = max(last.get(pair.conversation_id, 0), len(text))
    scale = 1 / _characters_a_token(model, texts)
    limit = float(settings.model.max_length)
    splits = [str(pair.split) for pair in pairs]
    return Data(
        splits={name: splits.count(name) for name in dict.fromkeys(splits)},
        prompt=min(limit, fmean(map(len, texts)) * scale),
        last=min(limit, fmean(last.values()) * scale),
        longest=min(limit, max(last.values()) * scale),
        reply=fmean(replies) * scale + 1,
        per_conversation=len(pairs) / len(last),
        origin=f"{len(pairs)} points of {len(last)} conversations in {Path(source.path or 'the embedded world').name}",
    )


def _possible(conversation: Conversation) -> list[PreferencePair]:
    tagged = [turn.model_copy(update={"tagged": True}) for turn in conversation.turns]
    whole = conversation.model_copy(update={"turns": tuple(tagged)})
    return points(whole, lambda each, index: Rejection(each.turns[index].text + "."))


def _placed(pair: PreferencePair, settings: Params) -> PreferencePair:
    split = split_of(pair.conversation_id, settings.source.seed, settings.source.shares)
    return pair.model_copy(update={"split": split})


def _characters_a_token(model: str, texts: Sequence[str]) -> float:
    """By the model's own tokenizer where it lies in a folder; asking the hub for it is left to the training."""
    if not Path(model).is_dir():
        return CHARACTERS_A_TOKEN
    sample = list(texts[:: max(1, len(texts) // SAMPLE)])
    try:
        tokenizer = load_tokenizer(model)
    except GuardalignError:
        return CHARACTERS_A_TOKEN
    counted = sum(len(ids) for ids in tokenizer(sample)["input_ids"])
    return sum(map(len, sample)) / max(counted, 1)
