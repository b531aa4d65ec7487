"""Win rates against hand-computed values, other libraries' results and simulations whose truth is known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

import simulated_verdicts as simulated
from guardalign import papers
from guardalign import stats as winrates
from guardalign.judging.verdicts import BINS, DIMENSIONS, DimensionVerdict, Verdict
from guardalign.report import tables
from guardalign.stats.frame import prompts
from guardalign.stats.intervals import draws
from guardalign.stats.planning import design_effect

ACCEPTABLE = {"1 better": (True, False), "both": (True, True), "none": (False, False), "2 better": (False, True)}


def verdict(bin_, pair="p", conversation="c", order="12", preference=None, arms=("a", "b"), judge="j", invalid=None):
    if invalid:
        return Verdict(pair_id=pair, conversation_id=conversation, arm_1=arms[0], arm_2=arms[1], judge=judge,
                       order=order, invalid=invalid)  # fmt: skip
    one, two = ACCEPTABLE[bin_]
    preferred = preference or {"1 better": "1", "2 better": "2"}.get(bin_, "tie")
    said = DimensionVerdict(acceptable_1=one, acceptable_2=two, preference=preferred)
    return Verdict(pair_id=pair, conversation_id=conversation, arm_1=arms[0], arm_2=arms[1], judge=judge, order=order,
                   dimensions={"adherence": said})  # fmt: skip


def many(counts, arms=("a", "b"), judge="j", per_conversation=1):
    bins = [name for name, count in zip(BINS, counts, strict=True) for _ in range(count)]
    return [
        verdict(name, f"p{place}", f"c{place // per_conversation}", arms=arms, judge=judge)
        for place, name in enumerate(bins)
    ]


def test_the_measures_of_four_verdicts_by_hand():
    row = winrates.table(many((1, 1, 1, 1)), replicates=200).iloc[0]
    assert (row["win_1"], row["win_2"], row["strict"], row["net"]) == (0.5, 0.5, 0.5, 0.0)
    assert [row[name] for name in ("better_1", "both", "none", "better_2")] == [0.25] * 4
    row = winrates.table(many((3, 4, 1, 2)), replicates=200).iloc[0]
    assert row["win_1"] == pytest.approx(0.7) and row["win_2"] == pytest.approx(0.6)
    assert row["strict"] == pytest.approx(0.55) and row["net"] == pytest.approx(0.1)
    assert row["n"] == 10 and row["orders"] == 1 and np.isnan(row["flips"])


def test_rows_made_up_for_paper_a_reproduce_its_table_1():
    published = papers.table_1()
    said = []
    for panel, rows in published.groupby("panel", sort=False):
        one, two = (round(10 * rate) for rate in rows["adherence"])
        both = min(one, two) - 50
        said += many((one - both, both, 1000 - one - two + both, two - both), tuple(rows["arm"]))
        assert papers.panel(*rows["arm"]) == panel
    table = tables.table_1(winrates.table(said, replicates=100))
    judged = table[table["dimension"] == "adherence"]
    assert judged["here"].to_numpy() == pytest.approx(judged["paper"].to_numpy())
    assert table[table["dimension"] == "naturalness"]["here"].isna().all()
    flows = winrates.table(said, replicates=100).set_index("arm_1")["net"]
    assert -flows["M_1SFT"] == pytest.approx(0.065) and -flows["N_1SFT"] == pytest.approx(0.071)


def test_paper_b_has_the_width_that_128_samples_give():
    table = papers.table_3().set_index("method")
    assert table.loc["DPO", ["hh", "tldr", "alpaca_eval"]].tolist() == [71.4, 53.8, 31.0]
    width = (table["hh_high"] - table["hh_low"]) / 2
    assert width.between(7.5, 9).all()
    assert table.loc["SFT", "hh_low"] == pytest.approx(100 * proportion_confint(66.304, 128, method="wilson")[0])


def test_a_prompt_counts_once_whatever_the_number_of_its_valid_orders():
    said = [
        verdict("1 better", "p1", order="12"), verdict("2 better", "p1", order="21"),
        verdict("1 better", "p2", order="12"), verdict("", "p2", order="21", invalid="no answer"),
    ]  # fmt: skip
    row = winrates.table(said, replicates=100).iloc[0]
    assert row["n"] == 2 and row["orders"] == 2
    assert row["win_1"] == pytest.approx(0.75) and row["net"] == pytest.approx(0.5)
    assert row["invalid"] == pytest.approx(0.25)
    assert row["flips"] == 1.0
    assert row["first_preferred"] == 1.0


def test_flips_and_the_pull_of_the_first_place_by_hand():
    said = [
        verdict("both", "p1", order="12", preference="1"), verdict("both", "p1", order="21", preference="1"),
        verdict("both", "p2", order="12", preference="1"), verdict("both", "p2", order="21", preference="2"),
        verdict("both", "p3", order="12", preference="tie"), verdict("both", "p3", order="21", preference="tie"),
    ]  # fmt: skip
    row = winrates.table(said, replicates=100).iloc[0]
    assert row["flips"] == pytest.approx(1 / 3)
    assert row["first_preferred"] == pytest.approx(3 / 4)
    assert row["preferred"] == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_intervals_agree_with_resampling_conversations_one_by_one():
    units = prompts(winrates.frame(simulated.verdicts(conversations=30, turns=5, seed=3)))
    units = units[units["dimension"] == "adherence"]
    row = winrates.bootstrap(units, ["arm_1"], ["win_1"], replicates=4_000).iloc[0]
    rng = np.random.default_rng(5)
    groups = [group["win_1"].to_numpy() for _, group in units.groupby("conversation_id")]
    means = [np.concatenate([groups[place] for place in rng.integers(0, 30, 29)]).mean() for _ in range(4_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert row["win_1"] == pytest.approx(units["win_1"].mean())
    assert (row["win_1_low"], row["win_1_high"]) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015))


def test_draws_have_the_variance_of_a_mean_also_where_units_are_few():
    values = np.array([0.0, 1.0, 5.0])
    weights = draws(3, 100_000, np.random.default_rng(0))
    assert (weights.sum(1) == 2).all()
    assert (weights @ values / 2).var() == pytest.approx(values.var(ddof=1) / 3, rel=0.03)


def test_copies_of_a_seed_add_no_certainty_and_differing_seeds_take_some():
    one = prompts(winrates.frame(simulated.verdicts(seed=1)))
    copies = pd.concat([one.assign(seed=seed) for seed in range(3)])
    by = ["dimension"]
    single, triple = (winrates.bootstrap(rows, by, ["win_1"], 500) for rows in (one, copies))
    pd.testing.assert_frame_equal(single.drop(columns=["n", "seeds"]), triple.drop(columns=["n", "seeds"]))
    apart = pd.concat([one.assign(seed=seed, win_1=one["win_1"] * scale) for seed, scale in enumerate((0.4, 0.7, 1.0))])
    wide = winrates.bootstrap(apart, by, ["win_1"], 500)
    assert ((wide["win_1_high"] - wide["win_1_low"]) > 1.5 * (single["win_1_high"] - single["win_1_low"])).all()


def test_unanimous_verdicts_do_not_claim_certainty():
    row = winrates.table(many((20, 0, 0, 0)), replicates=200).iloc[0]
    assert row["win_1"] == row["win_1_high"] == 1.0
    assert row["win_1_low"] == pytest.approx(proportion_confint(20, 20, method="beta")[0])
    assert row["net_low"] == pytest.approx(1 - 2 * (1 - row["win_1_low"]))
    assert row["p"] == pytest.approx(2 * 0.5**20)
    tied = winrates.table(many((0, 20, 0, 0)), replicates=200).iloc[0]
    assert tied["p"] == 1.0 and tied["net_low"] == -tied["net_high"] < 0


def test_one_conversation_has_no_interval_and_no_verdict_has_no_rate():
    alone = winrates.table([verdict("1 better", f"p{n}") for n in range(5)], replicates=100).iloc[0]
    assert alone["win_1"] == 1.0 and np.isnan(alone["win_1_low"]) and np.isnan(alone["p"])
    failed = winrates.table([verdict("", invalid="no answer")], replicates=100)
    assert (failed["n"] == 0).all() and failed["win_1"].isna().all() and (failed["invalid"] == 1).all()


def test_the_paired_test_is_the_t_test_where_each_conversation_has_one_prompt():
    units = prompts(winrates.frame(many((30, 20, 10, 12))))
    assert winrates.paired_test(units) == pytest.approx(stats.ttest_1samp(units["net"], 0).pvalue)


def test_the_paired_test_counts_conversations_not_prompts():
    once = many((9, 6, 0, 3))
    copied = [v.model_copy(update={"pair_id": f"{v.pair_id}-{n}"}) for v in once for n in range(10)]
    few, many_prompts = (winrates.paired_test(prompts(winrates.frame(said))) for said in (once, copied))
    naive = stats.ttest_1samp(prompts(winrates.frame(copied))["net"], 0).pvalue
    assert many_prompts == pytest.approx(few, rel=0.1)
    assert naive < few / 100


def test_few_seeds_make_the_test_cautious():
    rows = pd.concat([winrates.frame(simulated.verdicts(gain=0.15, seed=seed), seed) for seed in range(2)])
    units = prompts(rows)
    units = units[units["dimension"] == "naturalness"]
    assert winrates.paired_test(units) > winrates.paired_test(units[units["seed"] == 0])


def test_the_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(1)
    owners, p_values = np.repeat(np.arange(30), 4), []
    for _ in range(500):
        won = simulated.correlated(np.array([0.7, 0.7]), 30, 4, 0.5, rng).reshape(-1, 2).astype(float)
        units = pd.DataFrame({"conversation_id": owners, "seed": 0, "net": won[:, 0] - won[:, 1]})
        p_values.append(winrates.paired_test(units))
    assert 0.025 < np.mean(np.array(p_values) < 0.05) < 0.08
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_holm_by_hand():
    assert winrates.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert winrates.holm([0.01, float("nan"), 0.03])[[0, 2]].tolist() == pytest.approx([0.02, 0.03])


def test_opponents_show_how_far_an_arms_rate_moves():
    said = many((1, 2, 0, 1), ("sft", "ipo")) + many((0, 1, 1, 2), ("two", "ipo"))
    sides = winrates.opponents(winrates.table(said, replicates=100)).set_index(["arm", "opponent"])
    assert sides.loc[("ipo", "sft"), "win"] == 0.75 and sides.loc[("ipo", "two"), "win"] == 0.75
    assert sides.loc[("ipo", "sft"), "range"] == 0.0
    sides = winrates.opponents(winrates.table(said + many((4, 0, 0, 0), ("x", "sft")), replicates=100))
    assert sides.set_index("arm").loc["sft", "range"].tolist() == [0.75, 0.75]


def test_sample_sizes_and_design_effects_by_hand():
    assert winrates.sample_size(0.5, 0.05) == 385
    assert winrates.sample_size(0.5, 0.05, design_effect=3) == 1153
    values = np.repeat(np.random.default_rng(0).normal(size=200), 4)
    assert design_effect(values, np.repeat(np.arange(200), 4)) == pytest.approx(4, rel=0.02)
    with pytest.raises(ValueError, match="half_width"):
        winrates.sample_size(0.5, 5)


def test_the_minimum_detectable_difference_is_found_as_often_as_it_promises():
    said = simulated.verdicts(gain=0.0, conversations=60, turns=3, orders=("12",), seed=1)
    plan = winrates.planning(said).set_index("dimension").loc["adherence"]
    spread = plan["minimum_detectable"]
    rng = np.random.default_rng(0)
    units = prompts(winrates.frame(said))
    units = units[units["dimension"] == "adherence"].set_index("conversation_id")["net"]
    sums, sizes = units.groupby(level=0).sum().to_numpy(), units.groupby(level=0).size().to_numpy()
    found = 0
    for _ in range(400):
        place = rng.integers(0, len(sums), len(sums))
        shifted = sums[place] - units.mean() * sizes[place] + spread * sizes[place]
        found += stats.ttest_1samp(shifted, 0).pvalue < 0.05
    assert 0.7 < found / 400 < 0.9


def test_the_ranking_recovers_known_strengths_and_keeps_strangers_apart():
    rng = np.random.default_rng(0)
    truth = {"a": 0.8, "b": 0.0, "c": -0.8}
    from guardalign.stats.ranking import probabilities

    said = []
    for one, two in (("a", "b"), ("b", "c"), ("a", "c")):
        better, tie, worse = probabilities(truth[one], truth[two], 0.5)
        counts = rng.multinomial(3_000, [better, tie / 2, tie / 2, worse])
        said += many(counts, (one, two))
    said += many((30, 5, 5, 10), ("x", "y"))
    ranked = winrates.rank(said, replicates=60)
    scores = ranked.scores.set_index("arm")
    for arm, strength in truth.items():
        assert scores.loc[arm, "strength"] == pytest.approx(strength, abs=0.08)
        assert scores.loc[arm, "low"] < scores.loc[arm, "strength"] < scores.loc[arm, "high"]
    assert scores.loc["x", "group"] != scores.loc["a", "group"]
    fit = ranked.fit.set_index("group").loc[scores.loc["a", "group"]]
    assert fit["ties"] == pytest.approx(0.5, abs=0.05) and fit["p"] > 0.01 and fit["degrees"] == 3


def test_a_circle_of_arms_does_not_fit_a_ranking():
    said = many((80, 5, 5, 10), ("a", "b")) + many((80, 5, 5, 10), ("b", "c")) + many((80, 5, 5, 10), ("c", "a"))
    fit = winrates.rank(said, replicates=20).fit.iloc[0]
    assert fit["p"] < 1e-6 and fit["worst"] > 0.2


def test_ranking_refuses_to_mix_judges():
    with pytest.raises(ValueError, match="one judge"):
        winrates.rank(many((1, 1, 1, 1)) + many((1, 1, 1, 1), judge="other"))


def test_kappa_and_alpha_of_published_and_hand_made_tables():
    first = ["1", "2", "1", "1", "1", "1", "1", "1", "2", "1"]
    second = ["2", "2", "2", "1", "1", "2", "1", "1", "1", "1"]
    # The ten binary units of Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", part A: 0.095.
    said = [
        verdict(f"{bin_} better", f"p{place}", judge=judge)
        for judge, bins in (("x", first), ("y", second))
        for place, bin_ in enumerate(bins)
    ]
    rows = winrates.frame(said)
    assert winrates.krippendorff_alpha(rows).iloc[0]["alpha"] == pytest.approx(0.095, abs=5e-4)
    kappa = winrates.kappa(rows, "x", "y").iloc[0]
    # Observed 6/10; by chance 0.8·0.6 + 0.2·0.4 = 0.56.
    assert kappa["agreement"] == 0.6 and kappa["kappa"] == pytest.approx((0.6 - 0.56) / (1 - 0.56))


def test_agreement_without_variation_is_undefined_not_perfect():
    rows = winrates.frame(many((3, 0, 0, 0), judge="x") + many((3, 0, 0, 0), judge="y"))
    assert np.isnan(winrates.kappa(rows, "x", "y").iloc[0]["kappa"])
    assert np.isnan(winrates.krippendorff_alpha(rows).iloc[0]["alpha"])


def test_gold_pairs_count_whichever_side_the_better_reply_is_on():
    said = many((6, 1, 1, 2), ("chosen", "rejected")) + many((1, 0, 0, 9), ("rejected", "chosen"))
    row = winrates.gold_accuracy(winrates.frame(said)).iloc[0]
    assert row["accuracy"] == pytest.approx(15 / 20) and row["separated"] == pytest.approx(15 / 20)
    assert row["n"] == 20 and row["invalid"] == 0


def test_compliance_counts_a_reply_once_and_only_where_a_guardrail_applies():
    said = simulated.verdicts("a", "b", conversations=10, turns=2)
    said += simulated.verdicts("a", "c", conversations=10, turns=2)
    rows = winrates.statuses(said, lambda pair, number: f"rule {number}")
    table = winrates.compliance(rows).set_index(["arm", "guardrail"])
    assert set(table.index.get_level_values("guardrail")) == {"rule 1"}
    assert (table["applied"] == 20).all()
    adherence = prompts(winrates.frame(said)).query("dimension == 'adherence' and arm_2 == 'b'")["win_2"].mean()
    assert table.loc[("b", "rule 1"), "kept"] == pytest.approx(adherence)
    assert winrates.compliance(winrates.statuses([])).empty


def test_compliance_is_over_all_seeds():
    said = {seed: simulated.verdicts("a", "b", conversations=10, turns=2, seed=seed) for seed in (1, 2)}
    apart = {seed: winrates.compliance(winrates.statuses(rows)) for seed, rows in said.items()}
    joined = winrates.compliance(pd.concat([winrates.statuses(rows, seed=seed) for seed, rows in said.items()]))
    assert set(joined["seeds"]) == {2} and (joined["applied"] == 40).all()
    assert joined["kept"].tolist() == pytest.approx(((apart[1]["kept"] + apart[2]["kept"]) / 2).tolist())


def test_seeds_are_shown_apart():
    rows = pd.concat([winrates.frame(simulated.verdicts(seed=seed), seed) for seed in (7, 8)])
    apart = winrates.by_seed(rows)
    assert sorted(apart["seed"].unique()) == [7, 8] and len(apart) == 2 * len(DIMENSIONS)
    pooled = winrates.table(rows, replicates=100)
    means = apart.groupby("dimension", sort=False)["win_1"].mean()
    assert pooled["win_1"].to_numpy() == pytest.approx(means.to_numpy())


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "bootstrap.py"
    spec = importlib.util.spec_from_file_location("bootstrap_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.no_cover  # traced it takes half as long again, and other tests run the same lines
def test_clustered_intervals_cover_the_truth_and_naive_ones_do_not(benchmark):
    result = benchmark.coverage(200, conversations=80, seeds=1, correlation=0.6, seed_spread=0.0)
    assert 0.91 <= result["clustered"] <= 0.98
    assert result["naive"] < 0.85
