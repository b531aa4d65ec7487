"""AlpacaEval's arithmetic: by hand, against its published leaderboards, its own package and another library."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from alpaca_annotations import anchors, annotations, difficulty, write
from guardalign.data.tasks import Instruction, load_instructions
from guardalign.errors import InputError
from guardalign.stats import alpaca

# Rows of the leaderboards that AlpacaEval 0.6.6 ships whose annotators say 1, 2 or draw: a model's wins, losses and
# draws, and the win rate and standard error published with them.
PUBLISHED = (
    ("gpt4_1106_preview", 783, 16, 5, 97.69900497512438, 0.5104849118311993),
    ("zephyr-7b-beta", 727, 75, 1, 90.5977584059776, 1.0287080531312012),
    ("vicuna-7b", 517, 285, 3, 64.40993789, 1.685110726),
    ("guanaco-7b", 374, 429, 2, 46.58385093, 1.757046491),
    ("alpaca-7b", 205, 584, 16, 26.459627329192543, 1.535711469748),
    ("Mistral-7B-Instruct-v0.2, gpt4_turbo_fn", 158, 647, 0, 19.627329192546583, 1.4007375757958205),
)
# What alpaca_eval 0.6.6 makes of support/alpaca_annotations.py (strength, verbosity, seed), its data set file replaced
# by `anchors()`: win rate, standard error, length-controlled win rate, standard error of the latter.
PEER = (
    ((-1.0, 1.0, 3), 34.653811125, 1.004158935, 33.79801073, 0.346388305),
    ((0.2, 1.6, 4), 65.710757125, 0.949376765, 55.499684907, 0.416168141),
    ((-0.5, 0.5, 5), 28.107723, 0.868900825, 47.219746088, 0.349605292),
)


def made(preferences: list[float | None], lengths: list[tuple[int, int]] | None = None) -> list[alpaca.Annotation]:
    lengths = lengths or [(10, 10)] * len(preferences)
    return [
        alpaca.Annotation(
            instruction=str(i), output_1="b" * one, generator_1="base", output_2="m" * two, generator_2="model",
            preference=preference,
        )
        for i, (preference, (one, two)) in enumerate(zip(preferences, lengths, strict=True))
    ]  # fmt: skip


def test_win_rate_by_hand():
    # wins 1, 0, ½ (written 0), ½ (written 1.5), 0.8: mean 0.56; squared deviations .1936 .3136 .0036 .0036 .0576
    found = alpaca.win_rate(made([2.0, 1.0, 0.0, 1.5, 1.8, None, math.nan, 3.0]))
    assert found.win_rate == pytest.approx(56)
    assert found.standard_error == pytest.approx(100 * math.sqrt(0.572 / 4 / 5))


@pytest.mark.parametrize(("name", "wins", "losses", "draws", "rate", "error"), PUBLISHED)
def test_published_win_rates_follow_from_published_counts(name, wins, losses, draws, rate, error):
    found = alpaca.win_rate(made([2.0] * wins + [1.0] * losses + [0.0] * draws))
    assert found.win_rate == pytest.approx(rate, abs=1e-6)
    assert found.standard_error == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize(("how", "rate", "error", "controlled", "controlled_error"), PEER)
def test_agrees_with_alpaca_evals_own_package(tmp_path, how, rate, error, controlled, controlled_error):
    rows = alpaca.read_annotations(write(tmp_path / "annotations.json", annotations(*how)))
    raw = alpaca.win_rate(rows)
    assert raw.win_rate == pytest.approx(rate, abs=1e-6)
    assert raw.standard_error == pytest.approx(error, abs=1e-6)
    found = alpaca.length_controlled(rows, difficulty(), anchors())
    assert found.win_rate == pytest.approx(controlled, abs=1e-3)
    assert found.standard_error == pytest.approx(controlled_error, abs=1e-3)


def test_a_leaderboard_row_joins_difficulty_by_the_instruction(tmp_path):
    """Annotations in any order: what alpaca_eval makes of them in its own."""
    how, rate, error, controlled, _ = PEER[1]
    rows = annotations(*how)
    asked = [
        Instruction(
            id=str(i), dataset="d", instruction=row["instruction"], output=row["output_1"], generator="baseline"
        )
        for i, row in enumerate(rows)
    ]
    anchors().to_csv(tmp_path / "gamed.csv", index=False)
    own = alpaca.read_annotations(write(tmp_path / "annotations.json", rows[::-1]))
    found = alpaca.leaderboard_row(own, asked, str(tmp_path / "gamed.csv"))
    assert found["win_rate"] == pytest.approx(rate, abs=1e-6)
    assert found["standard_error"] == pytest.approx(error, abs=1e-6)
    assert found["length_controlled_winrate"] == pytest.approx(controlled, abs=0.1)
    assert found["avg_length"] == pytest.approx(np.mean([len(row["output_2"]) for row in rows]))
    with pytest.raises(InputError, match="1 annotations are of instructions that were not asked"):
        alpaca.leaderboard_row(own, asked[1:], str(tmp_path / "gamed.csv"))


def test_the_regression_is_a_binomial_glm_where_the_penalty_is_weak():
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.normal(size=(4000, 2)), np.ones(4000)])
    target = 1 / (1 + np.exp(-(features @ [1.0, -0.7, 0.4] + rng.normal(size=4000))))
    weights = rng.uniform(0.2, 1, 4000)
    peer = GLM(target, features, family=Binomial(), freq_weights=weights).fit().params
    np.testing.assert_allclose(alpaca.fractional_logistic(features, target, weights), peer, atol=5e-3)


def test_length_is_controlled_for():
    """A model that wins by length alone wins half of the time at equal length."""
    rng = np.random.default_rng(0)
    lengths = [
        (int(a), int(a + 400 + b)) for a, b in zip(rng.integers(200, 900, 400), rng.normal(0, 300, 400), strict=True)
    ]
    wins = [1 + 1 / (1 + math.exp(-(two - one) / 400)) for one, two in lengths]
    rows = made(wins, lengths)
    raw, controlled = alpaca.win_rate(rows).win_rate, alpaca.length_controlled(rows, np.zeros(400)).win_rate
    assert raw > 65
    assert abs(controlled - 50) < abs(raw - 50) / 3


def test_a_baseline_against_itself_is_even():
    rows = [each.model_copy(update={"generator_2": "base"}) for each in made([1.5, 1.5])]
    assert alpaca.length_controlled(rows, [0.0, 1.0]).win_rate == 50


def test_difficulty_orders_instructions_by_how_often_they_are_won():
    wins = pd.DataFrame({"one": [1.0, 0.0, 0.5], "two": [1.0, 0.0, 1.0]}, index=["easy", "hard", "between"])
    found = alpaca.estimated_difficulty(wins)
    assert found["easy"] > found["between"] > found["hard"]
    assert np.std(found) == pytest.approx(1)


def test_outputs_are_read_back_in_alpaca_evals_format(tmp_path):
    rows = [
        Instruction(id="0", dataset="koala", instruction="Say “é”.", output="no", generator="baseline"),
        Instruction(id="1", dataset="vicuna", instruction="Count\nto 2", output="1 2", generator="baseline"),
    ]
    alpaca.write_outputs(tmp_path / "model_outputs.json", rows, ["é", "one, two"], "model")
    written = json.loads((tmp_path / "model_outputs.json").read_text(encoding="utf-8"))
    assert [set(row) for row in written] == [{"dataset", "instruction", "output", "generator"}] * 2
    again = load_instructions(str(tmp_path / "model_outputs.json"))
    assert [(each.instruction, each.output, each.generator) for each in again] == [
        ("Say “é”.", "é", "model"),
        ("Count\nto 2", "one, two", "model"),
    ]


@pytest.mark.parametrize("gamed", [None, anchors(4)])
def test_without_a_single_preference_nothing_is_known(gamed):
    rows = made([None, math.nan, 3.0, None])
    assert math.isnan(alpaca.win_rate(rows).win_rate)
    assert math.isnan(alpaca.length_controlled(rows, [0.0] * 4, gamed).win_rate)


def test_too_few_preferences_for_five_folds_give_no_length_controlled_rate():
    for preferences in ([1.5], [1.0, 2.0, 1.2, 1.0], []):
        assert math.isnan(alpaca.length_controlled(made(preferences), [0.0] * len(preferences)).win_rate)


def test_a_missing_first_preference_does_not_hide_that_all_others_are_wins():
    assert alpaca.length_controlled(made([None, 2.0, 2.0]), [0.0] * 3).win_rate == 100


def test_a_preference_that_is_no_number_is_refused(tmp_path):
    rows = annotations(0.0, 1.0, 1, count=50, failed=0)
    rows[3]["preference"] = True
    with pytest.raises(InputError, match="preference"):
        alpaca.read_annotations(write(tmp_path / "annotations.json", rows))


def test_repeated_comparisons_are_refused_and_named(tmp_path):
    rows = annotations(0.0, 1.0, 1, count=50, failed=0)
    with pytest.raises(InputError, match="50 of 100"):
        alpaca.read_annotations(write(tmp_path / "annotations.json", rows + rows))
    other = [rows[0] | {"output_2": "another answer"}]
    assert len(alpaca.read_annotations(write(tmp_path / "annotations.json", rows + other))) == 51


def test_annotations_of_two_models_are_refused(tmp_path):
    rows = annotations(0.0, 1.0, 1, count=50, failed=0)
    rows[3]["generator_2"] = "another"
    with pytest.raises(InputError, match="generator_2 must be one model"):
        alpaca.read_annotations(write(tmp_path / "annotations.json", rows))


def test_a_damaged_file_is_named(tmp_path: Path):
    (tmp_path / "a.json").write_text('[{"instruction": "x"', encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.json is not valid JSON"):
        alpaca.read_annotations(tmp_path / "a.json")
    with pytest.raises(InputError, match="output_1"):
        alpaca.read_annotations(write(tmp_path / "b.json", [{"instruction": "x"}]))
