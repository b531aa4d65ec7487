"""Applications of guardrails: kept, gained, lost, and which kinds tell arms apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import simulated_verdicts as simulated
from guardalign import stats
from guardalign.stats.frame import prompts


def rows(arm, kept, seed=0, judge="j"):
    """``kept``: a list a conversation of lists a prompt of statuses (1 kept, 0 broken) of guardrails 1, 2, …"""
    return pd.DataFrame([
        {"arm": arm, "guardrail": f"rule {number}", "judge": judge, "seed": seed, "conversation_id": f"c{index}",
         "pair_id": f"c{index}.{turn}", "number": number, "kept": float(status)}
        for index, conversation in enumerate(kept)
        for turn, prompt in enumerate(conversation)
        for number, status in enumerate(prompt, start=1)
    ])  # fmt: skip


A = rows("a", [[[1, 1, 0], [1]], [[1, 0]], [[1, 1]]])
B = rows("b", [[[1, 0, 1], [1]], [[1, 1]], [[1, 0]]])


def test_compliance_counts_a_reply_once_and_only_where_a_guardrail_applies():
    verdicts = simulated.verdicts("a", "b", conversations=10, turns=2)
    verdicts += simulated.verdicts("a", "c", conversations=10, turns=2)
    table = stats.compliance(stats.statuses(verdicts, lambda pair, number: f"rule {number}"))
    table = table.set_index(["arm", "guardrail"])
    assert set(table.index.get_level_values("guardrail")) == {"rule 1"}
    assert (table["applied"] == 20).all()
    adherence = prompts(stats.frame(verdicts)).query("dimension == 'adherence' and arm_2 == 'b'")["win_2"].mean()
    assert table.loc[("b", "rule 1"), "kept"] == pytest.approx(adherence)


def test_nothing_judged_gives_empty_tables():
    nothing = stats.statuses([])
    tables = [stats.compliance(nothing), stats.adherence(nothing), stats.exchanged(nothing, [("a", "b")])]
    assert all(table.empty for table in [*tables, stats.live(tables[0])])


def test_compliance_is_over_all_seeds():
    by_seed = {seed: simulated.verdicts("a", "b", conversations=10, turns=2, seed=seed) for seed in (1, 2)}
    apart = {seed: stats.compliance(stats.statuses(rows)) for seed, rows in by_seed.items()}
    joined = stats.compliance(pd.concat([stats.statuses(rows, seed=seed) for seed, rows in by_seed.items()]))
    assert set(joined["seeds"]) == {2} and (joined["applied"] == 40).all()
    assert joined["kept"].tolist() == pytest.approx(((apart[1]["kept"] + apart[2]["kept"]) / 2).tolist())


def test_applications_kept_beside_prompts_with_all_kept():
    table = stats.adherence(pd.concat([A, B])).set_index("arm")
    assert table.loc["a", ["applications", "kept", "prompts", "all_kept"]].tolist() == [8, 6 / 8, 4, 2 / 4]
    assert table.loc["b", ["applications", "kept", "prompts", "all_kept"]].tolist() == [8, 6 / 8, 4, 2 / 4]
    assert (table["all_kept_low"] < 0.5).all() and (table["all_kept_high"] > 0.5).all()


def test_a_net_of_nothing_shows_what_was_gained_and_lost():
    row = stats.exchanged(pd.concat([A, B]), [("a", "b")]).iloc[0]
    assert row[["applications", "gained", "lost", "net"]].tolist() == [8, 2, 2, 0]
    assert row["net_low"] < 0 < row["net_high"] and row["net_high"] == pytest.approx(-row["net_low"])
    turned = stats.exchanged(pd.concat([A, rows("b", [[[1, 1, 1]]])]), [("b", "a"), ("a", "nobody")])
    assert turned[["applications", "gained", "lost"]].to_numpy().tolist() == [[3, 0, 1]]


def test_a_reply_judged_twice_otherwise_counts_by_half():
    unsure = pd.concat([A, A.assign(kept=np.where(A["number"] == 3, 1.0, A["kept"])), B])
    row = stats.exchanged(unsure, [("a", "b")]).iloc[0]
    assert (row["applications"], row["gained"], row["lost"]) == (8, 1.5, 2)


def test_kinds_at_the_ceiling_or_the_floor_of_every_arm_are_not_live():
    kept = pd.DataFrame({
        "guardrail": ["high", "high", "low", "low", "one arm", "one arm", "middling"], "arm": list("abababa"),
        "judge": "j", "kept": [0.95, 1.0, 0.0, 0.05, 1.0, 0.9, 0.5], "applied": 10,
    })  # fmt: skip
    table = stats.live(kept).set_index("guardrail")
    assert table["live"].to_dict() == {"high": False, "low": False, "one arm": True, "middling": True}
    assert table.loc["high", ["least", "most", "applied"]].tolist() == [0.95, 1.0, 20]
