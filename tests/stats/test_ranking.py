"""The ranking against known strengths, evalica's own published values, and resampled conversations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from guardalign import stats
from guardalign.stats.ranking import probabilities
from made_verdicts import many, verdict

# The 30 comparisons of evalica's food.csv, by pair: left wins, ties, right wins; and the scores in its
# food-golden.csv of the algorithm "newman" (github.com/dustalov/evalica, commit 1e56b4b).
FOOD = {
    ("Pizza", "Sushi"): (2, 0, 0), ("Burger", "Pasta"): (0, 0, 2), ("Tacos", "Pizza"): (3, 0, 0),
    ("Sushi", "Tacos"): (1, 0, 1), ("Burger", "Pizza"): (1, 0, 0), ("Pasta", "Sushi"): (0, 0, 1),
    ("Tacos", "Burger"): (1, 0, 0), ("Pizza", "Pasta"): (0, 1, 0), ("Sushi", "Burger"): (1, 0, 2),
    ("Pasta", "Tacos"): (1, 0, 2), ("Burger", "Sushi"): (0, 0, 3), ("Sushi", "Pasta"): (0, 1, 0),
    ("Burger", "Tacos"): (1, 0, 0), ("Pizza", "Burger"): (0, 0, 2), ("Tacos", "Pasta"): (2, 0, 0),
    ("Pizza", "Tacos"): (0, 0, 1), ("Pasta", "Pizza"): (0, 0, 1),
}  # fmt: skip
FOOD_STRENGTHS = {
    "Tacos": 2.6652107229187254, "Sushi": 1.0906271591531849, "Burger": 0.8296600883232509,
    "Pasta": 0.7101537820870093, "Pizza": 0.536812511441843,
}  # fmt: skip


def rank(verdicts):
    return stats.rank(stats.frame(verdicts))


def food():
    return [
        verdict({1: "1 better", 0: "both", -1: "2 better"}[won], f"{pair} {turn}", f"{pair} {turn}", arms=pair)
        for pair, (left, tie, right) in FOOD.items()
        for turn, won in enumerate([1] * left + [0] * tie + [-1] * right)
    ]


def turned(original):
    """The same verdict on the same prompt, its arms the other way round."""
    bin_ = {"1 better": "2 better", "2 better": "1 better"}.get(original.dimensions["adherence"].bin, "both")
    return verdict(bin_, original.pair_id, original.conversation_id, arms=(original.arm_2, original.arm_1))


def test_strengths_are_evalicas_own_on_its_public_data():
    assert sum(map(sum, FOOD.values())) == 30
    scores = rank(food()).scores.set_index("arm")["strength"]
    logs = pd.Series(FOOD_STRENGTHS).map(np.log)
    assert scores[logs.index].to_numpy() == pytest.approx((logs - logs.mean()).to_numpy(), abs=1e-4)
    assert list(scores.index) == list(FOOD_STRENGTHS)


def test_the_orientation_of_a_pair_does_not_matter():
    one = rank(food())
    some_turned = [each if index % 3 else turned(each) for index, each in enumerate(food())]
    for other in (rank(map(turned, food())), rank(some_turned)):
        pd.testing.assert_frame_equal(one.scores, other.scores, rtol=1e-5)
        assert one.fit["worst"].iloc[0] == pytest.approx(other.fit["worst"].iloc[0], rel=1e-5)


def test_the_ranking_recovers_known_strengths_and_keeps_strangers_apart():
    rng = np.random.default_rng(0)
    truth = {"a": 0.8, "b": 0.0, "c": -0.8}
    verdicts = []
    for one, two in (("a", "b"), ("b", "c"), ("a", "c")):
        better, tie, worse = probabilities(truth[one], truth[two], 0.5)
        verdicts += many(rng.multinomial(3_000, [better, tie / 2, tie / 2, worse]), (one, two))
    verdicts += many((30, 5, 5, 10), ("x", "y"))
    ranked = rank(verdicts)
    scores = ranked.scores.set_index("arm")
    for arm, strength in truth.items():
        assert scores.loc[arm, "strength"] == pytest.approx(strength, abs=0.08)
        assert scores.loc[arm, "low"] < scores.loc[arm, "strength"] < scores.loc[arm, "high"]
    assert scores.loc["x", "group"] != scores.loc["a", "group"]
    fit = ranked.fit.set_index("group").loc[scores.loc["a", "group"]]
    assert fit["ties"] == pytest.approx(0.5, abs=0.05) and fit["worst"] < 0.02


def test_intervals_are_as_wide_as_resampled_conversations_make_them():
    rng = np.random.default_rng(1)
    conversations, turns = 60, 3
    lean = rng.normal(0, 1.2, conversations)  # prompts of a conversation are alike
    outcomes = {
        pair: np.array([
            rng.choice(["1 better", "both", "2 better"], size=turns, p=probabilities(gap + shift, 0, 0.4))
            for shift in lean
        ])
        for pair, gap in ((("a", "b"), 0.4), (("b", "c"), 0.4), (("a", "c"), 0.8))
    }  # fmt: skip

    def ranked(drawn):
        verdicts = [
            verdict(outcomes[pair][c, t], f"{index}.{t}", f"{index}", arms=pair)
            for pair in outcomes
            for index, c in enumerate(drawn)
            for t in range(turns)
        ]
        return rank(verdicts).scores.set_index("arm")

    found = ranked(range(conversations))
    resampled = [ranked(rng.integers(0, conversations, conversations))["strength"] for _ in range(120)]
    half = (found["high"] - found["low"]) / 2
    assert (half / (2 * pd.DataFrame(resampled).std())).between(0.8, 1.25).all()


def test_a_circle_of_arms_does_not_fit_a_ranking():
    verdicts = many((80, 5, 5, 10), ("a", "b")) + many((80, 5, 5, 10), ("b", "c")) + many((80, 5, 5, 10), ("c", "a"))
    assert rank(verdicts).fit["worst"].iloc[0] > 0.2


def test_an_arm_that_lost_every_time_has_no_finite_distance():
    verdicts = many((10, 3, 3, 8), ("a", "b")) + many((12, 0, 0, 0), ("a", "c")) + many((12, 0, 0, 0), ("b", "c"))
    scores = rank(verdicts).scores.set_index("arm")
    assert scores["group"].nunique() == 2 and scores.loc["a", "group"] == scores.loc["b", "group"]
    assert np.isfinite(scores["strength"]).all() and np.isnan(scores.loc["c", "low"])
    alone = rank(many((10, 3, 3, 8), ("a", "b"))).scores.set_index("arm")
    assert scores.loc["a", "strength"] == pytest.approx(alone.loc["a", "strength"])


def test_ranking_refuses_to_mix_judges():
    with pytest.raises(ValueError, match="judge"):
        rank(many((1, 1, 1, 1)) + many((1, 1, 1, 1), judge="other"))
