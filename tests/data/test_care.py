"""The care corpus holds what its data card says."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from guardalign.data import care
from guardalign.data.conversations import SPLITS
from guardalign.judging.rules.catalogue import BY_KEY, read_guardrail
from guardalign.judging.rules.judge import assess

SIDES = ("chosen", "rejected")
POINTS = {split: care.points(split) for split in SPLITS}
EVERY = [(split, point) for split in SPLITS for point in POINTS[split]]
PAIRS = [point.pair(split) for split, point in EVERY]


def test_splits_have_conversations_of_their_own():
    homes = [{point.conversation_id for point in POINTS[split]} for split in SPLITS]
    assert sum(map(len, homes)) == len(set.union(*homes))
    assert dict(zip(SPLITS, map(len, homes), strict=True)) == {
        "train": 203, "feedback": 42, "validation": 28, "test": 112, "transfer": 24,
    }  # fmt: skip
    assert len(EVERY) >= 1400


def test_guardrails_are_read_as_the_kinds_and_wordings_that_the_rows_name():
    for _, point in EVERY:
        rules = [read_guardrail(text) for text in point.guardrails]
        assert [(rule.kind.key, rule.wording) for rule in rules] == list(zip(point.kinds, point.wordings, strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_chosen_replies_keep_all_guardrails_and_rejected_ones_break_those_named(split):
    for pair in (pair for pair in PAIRS if pair.split == split):
        chosen, rejected = (assess(pair.turns, pair.guardrails, text) for text in (pair.chosen, pair.rejected))
        assert chosen.adherence.acceptable and chosen.naturalness.acceptable, (pair.id, chosen)
        assert {each.number for each in rejected.guardrails if each.status == "broken"} == set(pair.broken), pair.id


def test_training_never_sees_what_is_held_out():
    for split, point in EVERY:
        if split in ("train", "feedback", "validation"):
            assert 3 not in point.wordings and not any(BY_KEY[kind].held_out for kind in point.kinds)
        assert (point.business == "health") == (split == "transfer")
    counts = Counter(kind for point in POINTS["test"] for kind in point.kinds if BY_KEY[kind].held_out)
    assert len(counts) == 6 and min(counts.values()) >= 40


def test_chosen_and_rejected_replies_are_of_like_length_in_every_split():
    for split in SPLITS:
        words = [(len(p.chosen.split()), len(p.rejected.split())) for p in PAIRS if p.split == split]
        chosen, rejected = np.mean(words, axis=0)
        assert 0.85 < chosen / rejected < 1.15


def test_words_alone_hardly_tell_chosen_from_rejected():
    """Logistic regression on the words of both replies, cross-validated by conversation."""
    texts = [pair.chosen for pair in PAIRS] + [pair.rejected for pair in PAIRS]
    found = CountVectorizer(token_pattern=r"[\w'.-]+|[!?,]", min_df=3, binary=True).fit_transform(texts).astype(int)
    n = len(PAIRS)
    differences = (found[:n] - found[n:]).toarray()
    groups = [pair.conversation_id for pair in PAIRS]
    right = []
    for train, test in GroupKFold(5).split(differences, groups=groups):
        rows = np.vstack([differences[train], -differences[train]])
        labels = np.r_[np.ones(len(train)), np.zeros(len(train))]
        model = LogisticRegression(C=0.1, fit_intercept=False, max_iter=500).fit(rows, labels)
        margins = differences[test] @ model.coef_[0]
        right += list((margins > 0) + 0.5 * (margins == 0))
    assert np.mean(right) <= 0.6


def test_no_phrase_of_four_words_is_more_than_twice_as_frequent_on_one_side():
    sides = [Counter(gram for pair in PAIRS for gram in grams(getattr(pair, side), 4)) for side in SIDES]
    often = [gram for gram in sides[0] | sides[1] if sides[0][gram] + sides[1][gram] >= 10]
    assert len(often) > 50
    assert [gram for gram in often if not 0.5 <= sides[0][gram] / max(sides[1][gram], 0.1) <= 2] == []


def test_hardly_any_reply_resembles_another():
    """Near duplicates share half of their phrases of three words (Jaccard); a reply has about 35."""
    for side in SIDES:
        own = [grams(getattr(pair, side), 3) for pair in PAIRS]
        holders = defaultdict(list)
        for at, phrases in enumerate(own):
            for phrase in phrases:
                holders[phrase].append(at)
        near = 0
        for at, phrases in enumerate(own):
            shared = Counter(other for phrase in phrases for other in holders[phrase] if other != at)
            near += any(count >= (len(phrases) + len(own[other])) / 3 for other, count in shared.items())
        assert near <= 0.02 * len(PAIRS)


def grams(text, size):
    words = re.findall(r"[a-z0-9']+", text.lower())
    return set(zip(*(words[at:] for at in range(size)), strict=False))


def test_datasets_loads_the_folder_in_trls_preference_format(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(care.FOLDER), cache_dir=str(tmp_path))
    assert set(loaded) == set(SPLITS)
    row = loaded["train"][0]
    assert (
        row["prompt"][0]["role"] == "system" and row["chosen"][0]["role"] == row["rejected"][0]["role"] == "assistant"
    )
