"""The steps of an arm: the training that an arm asks for, the pairs it learns from, and what is missing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from guardalign.config import params
from guardalign.config.plan import BASE, Pairs
from guardalign.data.conversations import PreferencePair, Turn
from guardalign.errors import InputError, MissingStage
from guardalign.files import RunFolder, fingerprint, write_rows, write_text
from guardalign.study.run import Study
from series import parameters, save_base, study
from tiny_study import study_in, with_pairs

LORA = {"rank": 4}


@pytest.fixture
def experiment(tmp_path):
    model = {"name": str(tmp_path / "base"), "max_length": 512, "overlong": "truncate", "lora": LORA}
    arms = study(
        M_1SFT_kto={"beta": 0.2, "options": {"kl_gradient": True}},
        long={"method": "sft", "learning_rate": 1e-3, "steps": ["M_1SFT", "M_1SFT_ipo"]},
    )
    content = parameters(tmp_path / "run", tmp_path / "base", model=model, study=arms)
    made = Study(params.read(content), RunFolder(tmp_path / "run"))
    turns = (Turn(role="user", text="Hi"),)
    splits = ["train"] * 9 + ["feedback"] * 4
    pairs = [
        PreferencePair(id=f"c{n}", conversation_id=f"c{n}", turns=turns, chosen="a", rejected="b", split=split)
        for n, split in enumerate(splits)
    ]
    write_rows(made.run.data("pairs"), pairs)
    return made


def trained(experiment: Study, *names: str) -> None:
    for name in names:
        write_text(experiment.folder().model(name) / "training.json", "{}")


def test_an_arm_that_starts_at_an_untrained_one_names_the_notebook(experiment):
    with pytest.raises(MissingStage, match="02_sft"):
        experiment.config_of("M_1SFT_ipo", 1)


def test_a_training_is_the_arms_and_the_rest_is_the_runs(experiment):
    trained(experiment, "M_1SFT")
    config = experiment.config_of("M_1SFT_kto", 1)
    start = str(experiment.run.model("M_1SFT"))
    assert (config.method, config.learning_rate, config.beta, config.batch_size) == ("kto_pair", 1e-3, 0.2, 8)
    assert config.options == {"kl_gradient": True} and config.model == config.reference_model == start
    assert (config.max_length, config.lora.rank, config.seed) == (512, 4, 1)


def test_an_arm_counts_its_epochs_on_from_its_starts(experiment):
    trained(experiment, "M_1SFT")
    assert [experiment.config_of(name, 1).first_epoch for name in ("M_1SFT", "M_1SFT_kto")] == [0, 1]


def test_steps_are_those_of_the_arms_that_it_matches(experiment):
    assert experiment.steps_of("M_1SFT", 1) == 2  # 13 pairs, 8 a step
    assert experiment.config_of("long", 1).steps == experiment.steps_of("long", 1) == 4
    assert experiment.config_of("M_1SFT", 1).steps is None


def test_seeds_have_folders_of_their_own_and_share_the_data(experiment, tmp_path):
    several = study() | {"seeds": [3, 4]}
    settings = params.read(parameters(tmp_path / "run", tmp_path / "base", study=several))
    control = Study(settings, experiment.run)
    assert [control.folder(seed).root.name for seed in control.seeds] == ["seed-3", "seed-4"]
    assert control.config_of("M_1SFT", 4).output == control.run.root / "seed-4" / "models" / "M_1SFT"
    assert control.config_of("M_1SFT", 4).seed == 4 and len(control.pairs_of("M_1SFT", 4)) == 13
    assert [pair.split for pair in control.pairs_of("N_1SFT", 4)] == ["train"] * 9


def test_a_control_learns_from_the_same_prompts_with_the_datas_rejected_replies(experiment):
    pairs = experiment.pairs_of("M_1SFT")
    worse = [pair.model_copy(update={"rejected": "own"}) for pair in pairs if pair.id in ("c10", "c12")]
    experiment._kept["N_1SFT", ("feedback",), None, "worse", 1] = worse
    assert [(pair.id, pair.rejected) for pair in experiment.pairs_of("N_1SFT_ipo")] == [("c10", "own"), ("c12", "own")]
    assert [(pair.id, pair.rejected) for pair in experiment.pairs_of("N_1SFT_data")] == [("c10", "b"), ("c12", "b")]


def test_metrics_that_are_not_as_training_wrote_them_are_named(experiment):
    path = experiment.run.model("M_1SFT") / "metrics.jsonl"
    write_text(path, '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    write_text(path.with_name("training.json"), json.dumps({"metrics": fingerprint(path)}))
    assert list(experiment.metrics(["M_1SFT"])["M_1SFT"]["loss"]) == [0.5, 0.25]
    write_text(path, '{"step": 1, "loss": 0.5}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl is damaged.*--again"):
        experiment.metrics(["M_1SFT"])


def test_arms_that_learn_from_the_same_replies_can_ask_for_them_at_once(tmp_path):
    given = with_pairs(study_in(tmp_path / "run", save_base(tmp_path / "base"), [1]))
    settings = params.read(given.settings.sections() | {"judge": {"kind": "none"}})

    def own(_: int) -> list[PreferencePair]:
        return Study(settings, given.run).own_replies(BASE, Pairs(splits=("train",)))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(own, range(4)))
    assert len(found[0]) == 4 and all(each == found[0] for each in found)
