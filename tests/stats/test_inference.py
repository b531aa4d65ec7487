"""The inference engine against t tests, exact intervals, an ANOVA by hand, and studies whose truth is known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from guardalign.stats import DIFFERENCE, MEASURES, SHARE, estimate, means, planning
from guardalign.stats.inference import holm, linearised, mean_squares
from guardalign.stats.planning import components, detectable, needed

ONES = np.ones((3, 40))


def crossed(seeds, conversations, deviations, rng, studies=()):
    """(…, seeds, conversations) normal values of mean 0 with standard deviations of seeds, conversations and rest."""
    of_seeds, of_conversations, rest = deviations
    shape = (*studies, seeds, conversations)
    return (
        of_seeds * rng.normal(size=(*studies, seeds, 1))
        + of_conversations * rng.normal(size=(*studies, 1, conversations))
        + rest * rng.normal(size=shape)
    )


def test_one_seed_with_one_prompt_per_conversation_is_the_t_test():
    values = np.random.default_rng(0).normal(0.3, 1, size=30)
    found = estimate(values[None], np.ones((1, 30)))
    peer = stats.ttest_1samp(values, 0)
    low, high = peer.confidence_interval()
    assert (found.value, found.p) == (pytest.approx(values.mean()), pytest.approx(peer.pvalue))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.degrees == 29


def test_the_mean_squares_are_those_of_a_two_way_analysis_of_variance():
    values = crossed(3, 5, (1, 1, 1), np.random.default_rng(1))
    of_seeds, of_conversations, rest = mean_squares(linearised(values, np.ones((3, 5)))[1])
    grand, rows, columns = values.mean(), values.mean(1), values.mean(0)
    assert of_seeds == pytest.approx(5 * ((rows - grand) ** 2).sum() / 2)
    assert of_conversations == pytest.approx(3 * ((columns - grand) ** 2).sum() / 4)
    assert rest == pytest.approx(((values - rows[:, None] - columns + grand) ** 2).sum() / 8)
    found = estimate(values, np.ones((3, 5)))
    v = max(of_seeds + of_conversations - rest, of_seeds, of_conversations)
    assert found.error == pytest.approx(np.sqrt(v / 15))
    assert found.degrees == pytest.approx(max(v**2 / (of_seeds**2 / 2 + of_conversations**2 / 4 + rest**2 / 8), 2))


def test_copies_of_a_seed_or_of_a_conversations_prompts_add_no_certainty():
    values = np.random.default_rng(2).normal(size=(1, 20))
    once = estimate(values, np.ones((1, 20)))
    for copied in (estimate(values.repeat(4, 0), np.ones((4, 20))), estimate(10 * values, np.full((1, 20), 10))):
        assert (copied.low, copied.high, copied.p) == pytest.approx((once.low, once.high, once.p))


def test_seeds_that_differ_widen_the_interval_down_to_a_t_of_few_degrees():
    rng = np.random.default_rng(3)
    alike, apart = (estimate(crossed(3, 200, (sd, 1, 1), rng, (99,)), np.ones((99, 3, 200))) for sd in (0, 2))
    assert np.median(apart.high - apart.low) > 5 * np.median(alike.high - alike.low)
    assert np.median(alike.degrees) > 30 and 2 <= np.median(apart.degrees) < 2.2


def test_prompts_weigh_alike_and_a_seed_may_miss_conversations():
    sums, counts = np.array([[3.0, 0, 2], [2, 1, 0]]), np.array([[4, 1, 2], [4, 1, 0]])
    found = estimate(sums, counts, SHARE)
    assert found.value == pytest.approx(8 / 12)
    residuals = linearised(sums, counts.astype(float))[1]
    assert residuals[1, 2] == 0 and residuals.mean() == pytest.approx(0)
    assert residuals[0, 0] == pytest.approx((3 - 4 * 8 / 12) * 6 / 12)


@pytest.mark.parametrize("kept", [0, 40])
def test_a_unanimous_share_has_the_exact_interval_of_conversations_not_of_prompts(kept):
    found = estimate(kept / 40 * 3 * ONES, 3 * ONES, SHARE)
    low, high = proportion_confint(kept, 40, method="beta")
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high))
    assert found.p == pytest.approx(2 * 0.5**40)


def test_the_interval_excludes_the_null_value_exactly_where_p_is_below_five_percent():
    rng = np.random.default_rng(4)
    counts = np.full((400, 3, 24), 4.0)
    rates = rng.uniform(0.3, 0.7, (400, 1, 1)) + rng.normal(0, 0.1, (400, 3, 1))
    kept = rng.binomial(4, rates.clip(0, 1), counts.shape)
    share, net = estimate(kept, counts, SHARE), estimate(2 * kept - counts, counts, DIFFERENCE)
    excluded = (share.low > 0.5) | (share.high < 0.5)
    assert 50 < excluded.sum() < 350
    np.testing.assert_array_equal(excluded, share.p < 0.05)
    np.testing.assert_allclose(net.low, 2 * share.low - 1)  # a share of wins with ties half, and wins less losses
    np.testing.assert_allclose(net.p, share.p)


def test_intervals_stay_within_the_bounds():
    sums = np.zeros((1, 50))
    sums[0, :2] = 1
    found = estimate(sums, np.ones((1, 50)), SHARE)
    assert 0 < found.low < found.value == 0.04 < found.high < 0.2


def test_one_conversation_has_no_interval_and_impossible_sums_are_refused():
    alone = estimate(np.ones((3, 1)), np.full((3, 1), 2.0), SHARE)
    assert alone.value == 0.5 and np.isnan([alone.low, alone.high, alone.p]).all()
    with pytest.raises(ValueError, match="within"):
        estimate(3 * ONES, 2 * ONES, SHARE)


def test_means_of_a_frame_are_those_of_its_cells():
    rng = np.random.default_rng(5)
    rows = pd.DataFrame({
        "arm": np.repeat(["x", "y"], 60), "seed": np.tile(np.repeat([7, 8], 30), 2),
        "conversation_id": rng.integers(0, 9, 120), "kept": rng.integers(0, 2, 120).astype(float),
    })  # fmt: skip
    found = means(rows, ["arm"], {"kept": SHARE}).set_index("arm").loc["y"]
    own = rows[rows["arm"] == "y"]
    sums, counts = (own.pivot_table("kept", "seed", "conversation_id", how, fill_value=0) for how in ("sum", "size"))
    peer = estimate(sums.to_numpy(), counts.to_numpy(), SHARE)
    assert found[["kept", "kept_low", "kept_high"]].tolist() == pytest.approx([peer.value, peer.low, peer.high])
    assert found[["n", "seeds", "conversations"]].tolist() == [60, 2, 9]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, float("nan"), 0.03])[[0, 2]].tolist() == pytest.approx([0.02, 0.03])
    assert np.isnan(holm([float("nan")])).all() and holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_components_are_recovered():
    residuals = crossed(40, 400, (0.2, 0.5, 1.0), np.random.default_rng(6))
    assert np.sqrt(components(residuals - residuals.mean())) == pytest.approx([0.2, 0.5, 1.0], rel=0.1)


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_planned_study_finds_its_difference_as_often_as_planned(seeds):
    deviations = np.array([0.02, 0.3, 0.4])
    conversations = needed(deviations**2, 0.08, seeds, 0.8, 0.95)
    rng = np.random.default_rng(seeds)
    values = 0.08 + crossed(seeds, int(conversations), deviations, rng, studies=(2_000,))
    found = estimate(values, np.ones(values.shape))
    assert 0.75 < (found.p < 0.05).mean() < 0.85
    assert detectable(deviations**2, seeds, int(conversations) - 1, 0.8, 0.95) > 0.08


def test_no_number_of_conversations_makes_up_for_too_few_seeds():
    assert needed(np.array([0.05, 0.3, 0.4]) ** 2, 0.05, 3, 0.8, 0.95) == float("inf")
    assert needed(np.array([0.05, 0.3, 0.4]) ** 2, 0.05, 30, 0.8, 0.95) < 500


def test_planning_is_for_one_trained_model_if_one_seed_was_trained():
    rng = np.random.default_rng(7)
    rows = pd.DataFrame({
        "comparison": "a-vs-b", "arm_1": "a", "arm_2": "b", "judge": "j", "dimension": "adherence", "valid": True,
        "seed": np.repeat([0, 1, 2], 60), "conversation_id": np.tile(np.repeat(range(20), 3), 3),
        "pair_id": np.tile(range(60), 3),
    })  # fmt: skip
    rows = rows.assign(**dict.fromkeys(MEASURES, 0.5)).assign(net=rng.integers(-1, 2, 180).astype(float))
    several, single = planning(rows).iloc[0], planning(rows[rows["seed"] == 0]).iloc[0]
    assert several["conversations_10"] < several["conversations_3"] and "conversations_1" not in several
    assert single["conversations_1"] > 20 and "conversations_3" not in single
    own = rows[rows["seed"] == 0].groupby("conversation_id")["net"].mean()
    t = stats.t.ppf(0.975, 19) + stats.t.ppf(0.8, 19)
    assert single["detectable"] == pytest.approx(t * own.std(ddof=1) / np.sqrt(20))


@pytest.mark.no_cover  # traced it takes half as long again, and other tests run the same lines
@pytest.mark.parametrize("kind", ["difference", "rate near the ceiling", "gaps"])
def test_intervals_hold_the_truth(kind):
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert 0.92 <= module.coverage(kind, 3, 48, 0.02, 600)["coverage"] <= 0.98
