"""The care corpus holds what its data card says."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from guardalign.data import care
from guardalign.data.conversations import SPLITS
from guardalign.judging.rules.catalogue import BY_KEY, read_guardrail
from guardalign.judging.rules.judge import assess

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


def test_hardly_any_reply_resembles_another():
    """Near duplicates share nine of ten words in the same order of neighbours."""
    for side in ("chosen", "rejected"):
        seen: Counter[frozenset] = Counter()
        for pair in PAIRS:
            words = re.findall(r"\w+", getattr(pair, side).lower())
            seen[frozenset(pairwise(words))] += 1
        assert sum(count - 1 for count in seen.values()) <= 0.02 * len(PAIRS)


def test_datasets_loads_the_folder_in_trls_preference_format(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(care.FOLDER), cache_dir=str(tmp_path))
    assert set(loaded) == set(SPLITS)
    row = loaded["train"][0]
    assert (
        row["prompt"][0]["role"] == "system" and row["chosen"][0]["role"] == row["rejected"][0]["role"] == "assistant"
    )
