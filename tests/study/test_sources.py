"""Sources: the embedded world with its held-back domain, and one's own JSONL of pairs or conversations."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from pydantic import ValidationError

from guardalign.config.params import Params
from guardalign.config.sections import Model, Source
from guardalign.data.conversations import SPLITS
from guardalign.errors import InputError
from guardalign.files import project_root, resolved
from guardalign.models.encoding import lengths_of
from guardalign.models.loading import base_model, load_tokenizer
from guardalign.study.sources import fit, load, split_conversations
from guardalign.world.domains import DOMAINS

STAR = project_root().parent / "shared" / "data" / "care" / "star_pairs_600.jsonl"
COUNTS = {"train": 8, "feedback": 4, "test": 4, "transfer": 2}


def own_pairs(path, conversations):
    rows = [
        {
            "id": f"{number}.{index}",
            "turns": [{"role": "user", "text": f"Question {number}"}],
            "guardrails": ["Be brief."],
            "chosen": "Yes.",
            "rejected": f"Well, {index}.",
        }
        for number in range(conversations)
        for index in (1, 3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_same_seed_gives_the_same_world_and_another_one_another():
    first, second = load(Source(kind="world", conversations=COUNTS)), load(Source(kind="world", conversations=COUNTS))
    assert first.pairs == second.pairs
    assert first.pairs != load(Source(kind="world", seed=1, conversations=COUNTS)).pairs


def test_every_tagged_message_is_a_point_of_its_conversations_split():
    sourced = load(Source(kind="world", conversations=COUNTS))
    assert Counter(each.id.split("-")[0] for each in sourced.conversations) == COUNTS
    assert all(pair.id.startswith(pair.split) for pair in sourced.pairs)
    by_id = {each.id: each for each in sourced.conversations}
    for pair in sourced.pairs:
        turn = by_id[pair.conversation_id].turns[len(pair.turns)]
        assert turn.tagged and turn.text == pair.chosen != pair.rejected


def test_the_transfer_domain_is_nowhere_else():
    sourced = load(Source(kind="world", conversations=COUNTS))
    domains = {split: {pair.domain for pair in sourced.pairs if pair.split == split} for split in SPLITS}
    assert domains["transfer"] == {list(DOMAINS)[-1]}
    assert not domains["transfer"] & (domains["train"] | domains["feedback"] | domains["test"])


def test_more_conversations_change_none_of_those_before():
    small = load(Source(kind="world", conversations=COUNTS))
    large = load(Source(kind="world", conversations=COUNTS | {"train": 12, "validation": 3}))
    assert set(small.pairs) < set(large.pairs)
    assert len({pair.conversation_id for pair in large.pairs if pair.split == "validation"}) == 3


def test_own_pairs_are_split_by_conversation(tmp_path):
    source = Source(kind="jsonl", path=own_pairs(tmp_path / "pairs.jsonl", 40))
    sourced = load(source)
    assert len(sourced.pairs) == 80
    assert len({(pair.conversation_id, pair.split) for pair in sourced.pairs}) == 40
    with pytest.raises(InputError, match="leave the split"):
        load(Source(kind="jsonl", path=own_pairs(tmp_path / "few.jsonl", 2)))


def test_own_conversations_come_back_validated_and_without_pairs(tmp_path):
    path = tmp_path / "conversations.jsonl"
    turns = [{"role": "user", "text": "Hi"}, {"role": "agent", "text": "Hello"}]
    rows = [{"id": number, "turns": turns} for number in range(30)] + [{"id": "bad", "turns": turns[:1]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(kind="jsonl", path=str(path))
    sourced = load(source)
    assert sourced.pairs == [] and len(sourced.conversations) == 30
    assert [row.reason.partition(":")[0] for row in sourced.refused] == ["no agent turn"]
    assert sum(split_conversations(sourced.conversations, source).values()) == 30


def test_pairs_that_do_not_fit_are_shortened_or_refused_and_counted():
    sourced, tokenizer = load(Source(kind="world", conversations=COUNTS)), load_tokenizer(base_model("embedded"))
    lengths = lengths_of(sourced.pairs, tokenizer)
    whole = fit(sourced, Model(name="m", max_length=max(lengths), overlong="refuse"), tokenizer)
    assert whole == sourced
    limit = sorted(lengths)[len(lengths) // 2]
    for overlong in ("refuse", "truncate"):
        fitting = fit(sourced, Model(name="m", max_length=limit, overlong=overlong), tokenizer)
        assert max(lengths_of(fitting.pairs, tokenizer)) <= limit
        shortened = fitting.notes["point without its oldest turns, to fit model.max_length"]
        assert len(fitting.pairs) + len(fitting.refused) == len(lengths)
        assert len(fitting.refused) + shortened == sum(length > limit for length in lengths)
        assert (shortened > 0) == (overlong == "truncate")
    with pytest.raises(InputError, match="max_length 10"):
        fit(sourced, Model(name="m", max_length=10), tokenizer)


@pytest.mark.skipif(not STAR.exists(), reason="the real rows are not here")
def test_real_pairs_share_one_history():
    model = Params.load(project_root() / "params" / "star_pairs.yaml").model
    sourced, tokenizer = load(Source(kind="jsonl", path=str(STAR))), load_tokenizer(base_model("embedded"))
    long = sum(length > model.max_length for length in lengths_of(sourced.pairs, tokenizer))
    fitting = fit(sourced, model, tokenizer)
    assert long > 44 and max(lengths_of(fitting.pairs, tokenizer)) <= model.max_length
    assert len(fitting.refused) + fitting.notes["point without its oldest turns, to fit model.max_length"] == long


def test_paths_are_relative_to_the_project():
    assert resolved("params/embedded.yaml") == project_root() / "params" / "embedded.yaml"
    assert str(resolved("/data/own.jsonl")) == "/data/own.jsonl"


def test_the_world_needs_to_know_how_much():
    with pytest.raises(ValidationError, match="kind: world needs conversations"):
        Source(kind="world")
