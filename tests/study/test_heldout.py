"""Held-out figures without a judge, by hand; what is said of them; and the page that shows them."""

from __future__ import annotations

from math import isnan

import pandas as pd
import pytest

import simulated_verdicts as simulated
from guardalign import report
from guardalign.config.sections import Model, Source
from guardalign.errors import MissingStage
from guardalign.files import RunFolder, write_rows
from guardalign.generation.replystats import reply_statistics
from guardalign.report import figures, tables, words
from guardalign.report.page import leads
from guardalign.study import heldout
from guardalign.study.sources import load
from guardalign.training import PairScore
from series import save_base


def scores(*pairs):
    """(chosen, rejected) log-probs; chosen has 2 tokens and rejected 4, two pairs a conversation."""
    return [
        PairScore(
            id=str(number),
            conversation_id=str(number // 2),
            chosen=chosen,
            chosen_tokens=2,
            rejected=rejected,
            rejected_tokens=4,
        )
        for number, (chosen, rejected) in enumerate(pairs)
    ]


BASE = scores((-4, -8), (-6, -5), (-2, -8), (-8, -8))
ARM = scores((-3, -9), (-5, -6), (-3, -8), (-7, -9))


def test_figures_by_hand():
    table = heldout.table(heldout.rows({"base": BASE, "arm": ARM}, {"arm": "base"}))
    base, arm = table.iloc[0], table.iloc[1]
    assert base["nll"] == pytest.approx((4 + 6 + 2 + 8) / 2 / 4)
    # Chosen ahead: -4 > -8, -2 > -8; not -6 > -5 nor -8 > -8.
    assert base["accuracy"] == 0.5 and arm["accuracy"] == 1.0
    # A token: -2 ≯ -2, -3 ≯ -1.25, -1 > -2, -4 ≯ -2.
    assert base["per_token"] == 0.25
    # Margins 4, -1, 6, 0 became 6, 1, 5, 2.
    assert arm["gain"] == 0.75
    assert arm["lead"] == 0.5
    assert arm["chosen_change"] == pytest.approx((1 + 1 - 1 + 1) / 4)
    assert isnan(base["gain"]) and isnan(base["lead"]) and isnan(base["chosen_change_low"])
    assert (arm["n"], arm["conversations"]) == (4, 2)
    assert arm["accuracy_low"] <= arm["accuracy"] <= arm["accuracy_high"]


def test_a_lead_is_claimed_only_where_the_interval_is_clear():
    base, arm = (row for _, row in heldout.table(heldout.rows({"base": BASE, "arm": ARM}, {"arm": "base"})).iterrows())
    clear, unclear = (words.lead(arm.copy(), base) for arm["lead_low"] in (0.1, -0.1))
    assert "No difference detected" in unclear and "No difference detected" not in clear


def test_seeds_are_resampled_too():
    rows = pd.concat([heldout.rows({"base": BASE, "arm": ARM}, {"arm": "base"}, seed) for seed in (1, 2)])
    table = heldout.table(rows)
    assert set(table["seeds"]) == {2} and set(table["n"]) == {8}


@pytest.mark.parametrize("seeds", [("",), ("seed-1", "seed-2")])
def test_a_run_without_a_judge_has_a_report_that_claims_nothing_about_guardrails(tmp_path, seeds):
    root = tmp_path / "own"
    for folder in seeds:
        write_rows(root / folder / "data" / "test.jsonl", simulated.pairs(2, 2))
        for arm, scores in {"base": BASE, "M_1SFT": BASE, "M_1SFT_ipo": ARM}.items():
            write_rows(root / folder / "scores" / f"{arm}.jsonl", scores)
            write_rows(root / folder / "replies" / f"{arm}.jsonl", simulated.replies(arm, 2, 2))
    arms = {"M_1SFT": {}, "M_1SFT_ipo": {"start": "M_1SFT", "method": "ipo_mean"}}
    planned = {name: {"method": "sft", "learning_rate": 1e-4} | arm for name, arm in arms.items()}
    RunFolder(root).record("06_judging", parameters={"study": {"arms": planned}})
    page = report.write(root).read_text()
    assert "keeps all guardrails" not in page and "src=" not in page
    results = report.read(root)
    (lead,) = leads(results.held_out, results.plan)
    assert lead in page and "+50.0" in lead
    assert page.count("<details><summary>") >= 4 and "<script" not in page
    assert (root / "figures" / "held_out.png").exists()
    assert set(pd.read_csv(root / "tables" / "held_out.csv")["seeds"]) == {len(seeds)}
    with pytest.raises(MissingStage, match="06_judging"):
        report.load(root)


def test_scores_are_kept_until_model_or_pairs_change(tmp_path):
    run, base = RunFolder(tmp_path / "run"), save_base(tmp_path / "base")
    counts = {"train": 1, "feedback": 1, "test": 1}
    pairs = load(Source(kind="world", conversations=counts)).pairs[:3]
    model, loaded = Model(name=str(base), max_length=2048), []

    def score(pairs):
        return heldout.score_arm(run, "base", str(base), pairs, model, lambda: loaded.append(len(pairs)))

    first = score(pairs)
    kept = run.root / "scores" / "base.jsonl"
    assert score(pairs) == first and loaded == [3]
    again = score(pairs[:2])
    assert [each.chosen for each in again] == pytest.approx([each.chosen for each in first[:2]], abs=1e-4)
    kept.write_text(kept.read_text().replace('"chosen_tokens":', '"chosen_tokens":1', 1))
    assert score(pairs[:2]) == again == heldout.stored(run.root)["base"] and loaded == [3, 2, 2]


def test_the_methods_table_joins_replies_and_is_drawn():
    from guardalign.data.conversations import Reply

    table = heldout.table(heldout.rows({"M_1SFT": BASE, "dpo": ARM}, {"dpo": "M_1SFT"}))
    replies = [
        Reply(pair_id="0", conversation_id="0", arm="M_1SFT", text="one two three"),
        Reply(pair_id="0", conversation_id="0", arm="dpo", text="one", finished=False),
    ]
    joined = tables.of_methods(table, reply_statistics(replies)).set_index("arm")
    assert joined.loc["M_1SFT", "words"] == 3 and joined.loc["dpo", "cut_off"] == 1
    figure = figures.held_out(joined.reset_index(), profile="here")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["SFT", "DPO"]
