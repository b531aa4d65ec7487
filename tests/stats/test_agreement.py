"""Cohen's κ against other libraries, its interval and the number of ratings against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa as by_statsmodels
from statsmodels.stats.inter_rater import to_table

from guardalign import stats


def rated(kappa, share, size, rng):
    """Two readers with equal shares and this κ: with probability κ both give the same answer, else each their own."""
    same = rng.random(size) < kappa
    one, two = rng.random((2, *np.atleast_1d(size))) < share
    return one, np.where(same, one, two)


def test_kappa_is_sklearns_and_its_variance_statsmodels():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 3, 200)
    two = np.where(rng.random(200) < 0.6, one, rng.integers(0, 3, 200))
    found = stats.cohens_kappa(list("abc"[k] for k in one), list("abc"[k] for k in two), range(200))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(one, two)) and found["n"] == found["clusters"] == 200
    reference = by_statsmodels(to_table(np.column_stack([one, two]))[0])
    width = np.arctanh(found["kappa_high"]) - np.arctanh(found["kappa_low"])
    error = width / 2 / 1.972 * (1 - found["kappa"] ** 2)  # t with 199 degrees
    assert error == pytest.approx(reference.std_kappa, rel=0.005)  # n − 1 in place of n
    assert found["kappa_low"] < reference.kappa < found["kappa_high"] < 1


def test_units_of_one_conversation_count_less():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        one, two = rated(0.7, 0.4, 50, rng)
        repeated = [np.repeat(each, 4) for each in (one, two)]
        found = stats.cohens_kappa(*repeated, np.repeat(np.arange(50), 4))
        held += found["kappa_low"] <= 0.7 <= found["kappa_high"]
    assert 0.92 <= held / 300 <= 0.98
    alone = stats.cohens_kappa(*repeated, np.arange(200))
    assert alone["kappa_high"] - alone["kappa_low"] < 0.6 * (found["kappa_high"] - found["kappa_low"])


def test_readers_who_never_differ_are_not_certain_and_one_answer_gives_no_kappa():
    found = stats.cohens_kappa([1, 0] * 10, [1, 0] * 10, range(20))
    assert found["kappa"] == found["kappa_high"] == 1 and found["kappa_low"] == pytest.approx(2 * 0.025 ** (1 / 20) - 1)
    same = stats.cohens_kappa([1] * 5, [1] * 5, range(5))
    assert np.isnan(same["kappa"]) and same["agreement"] == 1
    for second in ([1, 1], [1, 0]):
        assert np.isnan(stats.cohens_kappa([1, 0], second, ["c", "c"])["kappa_low"]), "of one conversation"
    constant = stats.cohens_kappa([1, 0, 1, 0], [1, 1, 1, 1], range(4))
    assert constant["kappa"] == 0 and np.isnan(constant["kappa_low"]), "nothing varies to tell how sure it is"
    assert stats.cohens_kappa([], [], [])["n"] == 0


@pytest.mark.parametrize(("kappa", "share"), [(0.8, 0.3), (0.6, 0.5), (0.9, 0.1)])
def test_the_planned_number_of_ratings_gives_the_requested_width(kappa, share):
    size = stats.ratings_needed(kappa, share, width=0.05)
    one, two = rated(kappa, share, (2000, size), np.random.default_rng(2))
    same, first, second = (one == two).mean(1), one.mean(1), two.mean(1)
    chance = first * second + (1 - first) * (1 - second)
    found = (same - chance) / (1 - chance)
    assert found.mean() == pytest.approx(kappa, abs=0.003)
    assert 1.96 * found.std() == pytest.approx(0.05, rel=0.06)
    assert stats.ratings_needed(kappa, share, width=0.1) == pytest.approx(size / 4, abs=1)
