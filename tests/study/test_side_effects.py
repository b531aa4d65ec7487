"""Effects by hand; the measurement itself is made by notebook 13 in tests/workflow/test_questions.py."""

from __future__ import annotations

import pandas as pd
import pytest

from guardalign.study import side_effects


def rows(measure, **values):
    return pd.DataFrame([
        {"arm": arm, "seed": 1, "measure": measure, "id": f"t{n}", "conversation_id": f"t{n}", "value": value}
        for arm, own in values.items()
        for n, value in enumerate(own)
    ])  # fmt: skip


def test_effects_are_weighted_sums_of_arms_paired_by_text():
    known = rows("helpful", sft=(0.0, 1.0, 2.0, 50.0), ipo=(1.0, 1.0, 4.0))  # no arm but sft has the fourth text
    found = side_effects.effects(known, {"method": {"ipo": 1, "sft": -1}}).iloc[0]
    assert (found["measure"], found["effect"], found["value"], found["n"]) == ("helpful", "method", 1.0, 3)
    assert found["value_low"] == pytest.approx(1 - 4.302652729911275 / 3**0.5)  # t with 2 degrees, SD 1


def test_shares_stay_within_what_their_weights_allow():
    known = rows("answers", one=(1.0,) * 9, two=(0.0,) * 9)
    crossed = {"own": {"one": 1}, "half": {"one": 0.5, "two": -0.5}}
    own, half = side_effects.effects(known, crossed).to_dict("records")
    assert own["value"] == own["value_high"] == 1 and 0.6 < own["value_low"] < 1
    assert half["value"] == half["value_high"] == 0.5 and 0.1 < half["value_low"] < 0.5
