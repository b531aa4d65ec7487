"""The arms: where each starts, which notebook makes it, and the training its parameters ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardalign.config import params
from guardalign.config.sections import Method
from guardalign.errors import MissingStage
from guardalign.files import RunFolder, write_text
from guardalign.losses import METHODS
from guardalign.study import arms
from series import NAMES, parameters


@pytest.fixture
def settings(tmp_path):
    return params.read(parameters(tmp_path, tmp_path / "base"))


def test_every_method_of_the_parameters_is_a_loss_and_the_other_way_round():
    assert set(Method.__args__) == set(METHODS)


def test_every_arm_starts_at_the_base_or_at_an_arm_made_before():
    for arm in arms.ARMS:
        start = arms.start_of(arm)
        assert start == "base" or arms.ARMS.index(start) < arms.ARMS.index(arm)
        assert NAMES.index(arms.notebook_of(arm)) >= NAMES.index(
            arms.notebook_of(start) if start != "base" else NAMES[0]
        )
    assert arms.start_of("dpo") == "M_1SFT" and arms.notebook_of("dpo") == "05_method_comparison"


def test_an_arm_that_starts_at_an_untrained_one_names_the_notebook(settings, tmp_path):
    with pytest.raises(MissingStage, match=r"notebooks/02_sft\.ipynb"):
        arms.training_config(settings, RunFolder(tmp_path), "M_1SFT_ipo", settings.flow1.ipo)


def test_a_training_has_its_arms_rate_and_the_shared_rest(settings, tmp_path):
    run = RunFolder(tmp_path)
    write_text(run.model("M_1SFT") / "training.json", "{}")
    config = arms.training_config(settings, run, "M_1SFT_ipo", settings.flow1.ipo)
    assert (config.method, config.learning_rate, config.beta, config.batch_size) == ("ipo_mean", 1e-3, 0.1, 8)
    assert config.model == config.reference_model == str(run.model("M_1SFT"))
    assert config.output == Path(run.model("M_1SFT_ipo")) and config.max_length == 2048 and config.seed == 1
    sft = arms.training_config(settings, run, "M_2SFT", settings.sft)
    assert (sft.method, sft.learning_rate, sft.model) == ("sft", 1e-3, str(run.model("M_1SFT")))


def test_all_arms_write_alike(settings):
    writing = arms.writing(settings)
    assert (writing.max_new_tokens, writing.temperature, writing.seed) == (8, 0.0, 1)
