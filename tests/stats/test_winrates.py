"""Win rates against hand-computed values, other libraries' results and simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

import simulated_verdicts as simulated
from guardalign import papers
from guardalign import stats as winrates
from guardalign.report import tables
from guardalign.stats.frame import prompts
from made_verdicts import many, verdict


def table_of(verdicts, **contrasts):
    return winrates.table(winrates.frame(verdicts), **contrasts)


def test_the_measures_of_four_verdicts_by_hand():
    row = table_of(many((1, 1, 1, 1))).iloc[0]
    assert (row["win_1"], row["win_2"], row["strict"], row["net"]) == (0.5, 0.5, 0.5, 0.0)
    assert [row[name] for name in ("better_1", "both", "none", "better_2")] == [0.25] * 4
    row = table_of(many((3, 4, 1, 2))).iloc[0]
    assert row["win_1"] == pytest.approx(0.7) and row["win_2"] == pytest.approx(0.6)
    assert row["strict"] == pytest.approx(0.55) and row["net"] == pytest.approx(0.1)
    assert row["n"] == 10 and row["orders"] == 1 and np.isnan(row["flips"])


def test_rows_made_up_for_paper_a_reproduce_its_table_1():
    published = papers.table_1()
    verdicts = []
    for panel, rows in published.groupby("panel", sort=False):
        one, two = (round(10 * rate) for rate in rows["adherence"])
        both = min(one, two) - 50
        verdicts += many((one - both, both, 1000 - one - two + both, two - both), tuple(rows["arm"]))
        assert papers.panel(*rows["arm"]) == panel
    table = tables.table_1(table_of(verdicts))
    judged = table[table["dimension"] == "adherence"]
    assert judged["here"].to_numpy() == pytest.approx(judged["paper"].to_numpy())
    assert table[table["dimension"] == "naturalness"]["here"].isna().all()
    flows = table_of(verdicts).set_index("arm_1")["net"]
    assert -flows["M_1SFT"] == pytest.approx(0.065) and -flows["N_1SFT"] == pytest.approx(0.071)


def test_paper_b_has_the_width_that_128_samples_give():
    table = papers.table_3().set_index("method")
    assert table.loc["DPO", ["hh", "tldr", "alpaca_eval"]].tolist() == [71.4, 53.8, 31.0]
    width = (table["hh_high"] - table["hh_low"]) / 2
    assert width.between(7.5, 9).all()
    assert table.loc["SFT", "hh_low"] == pytest.approx(100 * proportion_confint(66.304, 128, method="wilson")[0])


def test_a_prompt_counts_once_whatever_the_number_of_its_valid_orders():
    verdicts = [
        verdict("1 better", "p1", order="12"), verdict("2 better", "p1", order="21"),
        verdict("1 better", "p2", order="12"), verdict("", "p2", order="21", invalid="no answer"),
    ]  # fmt: skip
    row = table_of(verdicts).iloc[0]
    assert row["n"] == 2 and row["orders"] == 2
    assert row["win_1"] == pytest.approx(0.75) and row["net"] == pytest.approx(0.5)
    assert row["invalid"] == pytest.approx(0.25)
    assert row["flips"] == 1.0
    assert row["first_preferred"] == 1.0


def test_flips_and_the_pull_of_the_first_place_by_hand():
    verdicts = [
        verdict("both", "p1", order="12", preference="1"), verdict("both", "p1", order="21", preference="1"),
        verdict("both", "p2", order="12", preference="1"), verdict("both", "p2", order="21", preference="2"),
        verdict("both", "p3", order="12", preference="tie"), verdict("both", "p3", order="21", preference="tie"),
    ]  # fmt: skip
    row = table_of(verdicts).iloc[0]
    assert row["flips"] == pytest.approx(1 / 3)
    assert row["first_preferred"] == pytest.approx(3 / 4)
    assert row["preferred"] == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_unanimous_verdicts_do_not_claim_certainty():
    row = table_of(many((20, 0, 0, 0)), contrasts=[("a", "b")]).iloc[0]
    assert row["win_1"] == 1.0 and row["win_1_high"] == pytest.approx(1.0)
    assert row["win_1_low"] == pytest.approx(proportion_confint(20, 20, method="beta")[0])
    assert row["net_low"] == pytest.approx(1 - 2 * (1 - row["win_1_low"]))
    assert row["p"] == pytest.approx(2 * 0.5**20)
    tied = table_of(many((0, 20, 0, 0)), contrasts=[("a", "b")]).iloc[0]
    assert tied["p"] == 1.0 and tied["net_low"] == -tied["net_high"] < 0


def test_one_conversation_has_no_interval_and_no_verdict_has_no_rate():
    alone = table_of([verdict("1 better", f"p{n}") for n in range(5)]).iloc[0]
    assert alone["win_1"] == 1.0 and np.isnan(alone["win_1_low"]) and np.isnan(alone["p"])
    failed = table_of([verdict("", invalid="no answer")])
    assert (failed["n"] == 0).all() and failed["win_1"].isna().all() and (failed["invalid"] == 1).all()


def test_only_the_contrasts_named_beforehand_are_tested_and_holm_counts_them_alone():
    verdicts = many((30, 20, 10, 12), ("sft", "ipo")) + many((25, 20, 10, 15), ("two", "ipo")) + many((40, 9, 9, 4))
    table = table_of(verdicts, contrasts=[("ipo", "sft"), ("two", "ipo")]).set_index("arm_1")
    for arm in ("sft", "two"):
        units = prompts(winrates.frame(verdicts)).query("arm_1 == @arm")
        share = (1 + units["net"].mean()) / 2
        spread = units["net"].std(ddof=1) / 2 / np.sqrt(len(units)) / (share * (1 - share))
        t = np.log(share / (1 - share)) / spread
        assert table.loc[arm, "p"] == pytest.approx(2 * stats.t.sf(t, len(units) - 1))
    assert table.loc["sft", "p_holm"] == pytest.approx(2 * table.loc["sft", "p"])
    assert table.loc["two", "p_holm"] == pytest.approx(table.loc["two", "p"])
    assert np.isnan(table.loc["a", ["p", "p_holm"]].astype(float)).all() and table.loc["a", "clear"]
    assert table.loc["two", "net_low"] < 0 and not table.loc["two", "clear"]


def test_a_contrast_whose_correction_fails_is_not_clear():
    verdicts = many((30, 20, 10, 15), ("sft", "ipo")) + many((20, 20, 10, 15), ("two", "ipo"))
    table = table_of(verdicts, contrasts=[("sft", "ipo"), ("two", "ipo")]).set_index("arm_1")
    assert table.loc["sft", "net_low"] > 0 and 0.025 < table.loc["sft", "p"] < 0.05
    assert not table.loc["sft", "clear"]
    assert table_of(verdicts, contrasts=[]).set_index("arm_1").loc["sft", "clear"]


def test_opponents_show_how_far_an_arms_rate_moves():
    verdicts = many((1, 2, 0, 1), ("sft", "ipo")) + many((0, 1, 1, 2), ("two", "ipo"))
    sides = winrates.opponents(table_of(verdicts)).set_index(["arm", "opponent"])
    assert sides.loc[("ipo", "sft"), "win"] == 0.75 and sides.loc[("ipo", "two"), "win"] == 0.75
    assert sides.loc[("ipo", "sft"), "range"] == 0.0
    sides = winrates.opponents(table_of(verdicts + many((4, 0, 0, 0), ("x", "sft"))))
    assert sides.set_index("arm").loc["sft", "range"].tolist() == [0.75, 0.75]


def test_kappa_and_alpha_of_published_and_hand_made_tables():
    first = ["1", "2", "1", "1", "1", "1", "1", "1", "2", "1"]
    second = ["2", "2", "2", "1", "1", "2", "1", "1", "1", "1"]
    # The ten binary units of Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", part A: 0.095.
    verdicts = [
        verdict(f"{bin_} better", f"p{index}", judge=judge)
        for judge, bins in (("x", first), ("y", second))
        for index, bin_ in enumerate(bins)
    ]
    rows = winrates.frame(verdicts)
    assert winrates.krippendorff_alpha(rows).iloc[0]["alpha"] == pytest.approx(0.095, abs=5e-4)
    kappa = winrates.kappa(rows, "x", "y").iloc[0]
    # Observed 6/10; by chance 0.8·0.6 + 0.2·0.4 = 0.56.
    assert kappa["agreement"] == 0.6 and kappa["kappa"] == pytest.approx((0.6 - 0.56) / (1 - 0.56))


def test_agreement_without_variation_is_undefined_not_perfect():
    rows = winrates.frame(many((3, 0, 0, 0), judge="x") + many((3, 0, 0, 0), judge="y"))
    assert np.isnan(winrates.kappa(rows, "x", "y").iloc[0]["kappa"])
    assert np.isnan(winrates.krippendorff_alpha(rows).iloc[0]["alpha"])


def test_gold_pairs_count_whichever_side_the_better_reply_is_on():
    verdicts = many((6, 1, 1, 2), ("chosen", "rejected")) + many((1, 0, 0, 9), ("rejected", "chosen"))
    row = winrates.gold_accuracy(winrates.frame(verdicts)).iloc[0]
    assert row["accuracy"] == pytest.approx(15 / 20) and row["separated"] == pytest.approx(15 / 20)
    assert row["n"] == 20 and row["invalid"] == 0


def test_a_rate_is_the_mean_of_its_seeds_rates():
    apart = [simulated.verdicts(seed=seed) for seed in (7, 8)]
    pooled = winrates.table(pd.concat([winrates.frame(verdicts, seed) for seed, verdicts in enumerate(apart)]))
    single = [table_of(verdicts)["win_1"].to_numpy() for verdicts in apart]
    assert pooled["win_1"].to_numpy() == pytest.approx(np.mean(single, axis=0))
    assert (pooled["seeds"] == 2).all()
