"""Tuning: what a candidate differs in, which one is chosen, when a grid is widened, and a real one on a twin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from guardalign.config import params
from guardalign.config.plan import Arm, Grid
from guardalign.errors import InputError, ParameterError
from guardalign.files import RunFolder, write_rows, write_text
from guardalign.judging.verdicts import (
    DIMENSIONS,
    Assessment,
    DimensionVerdict,
    GuardrailVerdict,
    ReplyAssessment,
    Verdict,
)
from guardalign.study.run import Study
from guardalign.study.tuning import candidate, choose, tune, widened, worth
from series import parameters, study
from small_comparison import TASK, small

DPO = Arm(method="dpo", learning_rate=1e-4, start="sft")


def tried(values: dict[tuple[float, float], list[float]]) -> pd.DataFrame:
    """A row per candidate (rate, β) and conversation."""
    return pd.DataFrame([
        {"task": "care", "arm": "dpo", "learning_rate": rate, "beta": beta, "conversation_id": str(at), "value": value}
        for (rate, beta), own in values.items()
        for at, value in enumerate(own)
    ])  # fmt: skip


def test_a_candidates_training_is_the_arms_but_for_rate_and_beta(tmp_path):
    model = {"name": str(tmp_path / "base"), "max_length": 512, "lora": {"rank": 4}}
    training = {"batch_size": 2, "optimizer": "rmsprop", "gradient_checkpointing": True}
    content = parameters(tmp_path / "run", tmp_path / "base", model=model, training=training)
    settings = params.read(content)
    arm = settings.study.arms["M_1SFT_kto"].model_copy(update={"options": {"kl_gradient": True}})
    arms = settings.study.arms | {"M_1SFT_kto": arm, "other": candidate(arm, 2e-5, 0.7)}
    settings = settings.model_copy(update={"study": settings.study.model_copy(update={"arms": arms})})
    study = Study(settings, RunFolder(tmp_path / "run"))
    write_text(study.run.model("M_1SFT") / "training.json", "{}")
    own, other = (study.config_of(name, 1).facts() for name in ("M_1SFT_kto", "other"))
    assert {name for name in own if own[name] != other[name]} == {"learning_rate", "beta"}
    assert (other["learning_rate"], other["beta"]) == (2e-5, 0.7) and other["lora"]["rank"] == 4


def test_methods_without_a_beta_vary_the_option_used_instead():
    slic = candidate(Arm(method="slic", learning_rate=1e-4), 1e-5, 0.5)
    assert slic.options == {"slic_delta": 5.0}
    assert candidate(DPO, 1e-5, 0.5).options == {} and candidate(DPO, 1e-5, 0.5, count=8).pairs.count == 8


def test_the_best_candidate_is_chosen_and_ties_stay_near_the_start():
    table = tried({(1e-4, 0.1): [1, 0, 0, 1], (1e-5, 0.1): [1, 1, 0, 1], (1e-5, 0.5): [0, 1, 1, 1]})
    row = choose(table).iloc[0]
    assert (row["learning_rate"], row["beta"], row["worth"]) == (1e-5, 0.5, 0.75)
    assert row["rim"] and row["candidates"] == 3


def test_agreement_distinguishes_a_clear_choice_from_chance():
    rng = np.random.default_rng(0)
    clear = {(1e-5, 0.1): rng.random(80) < 0.2, (1e-4, 0.1): rng.random(80) < 0.8}
    alike = {(1e-5, 0.1): rng.random(80) < 0.5, (1e-4, 0.1): rng.random(80) < 0.5}
    sure, unsure = (choose(tried({at: list(map(float, own)) for at, own in each.items()})) for each in (clear, alike))
    assert sure.loc[0, "agreement"] == 1 and unsure.loc[0, "agreement"] < 0.95


@pytest.mark.parametrize(
    "rate, beta, wider",
    [
        (1e-4, 1.0, ((1e-5, 1e-4, 1e-3), (0.5, 1.0, 2.0))),
        (1e-3, 1.0, ((1e-5, 1e-4, 1e-3, 1e-2), (0.5, 1.0, 2.0))),
        (1e-5, 0.5, ((1e-5, 1e-4, 1e-3, 1e-6), (0.5, 1.0, 2.0, 0.25))),
    ],
)
def test_a_choice_at_the_rim_adds_a_value_beyond_it_by_the_grids_factor(rate, beta, wider):
    grid = Grid(rates=(1e-5, 1e-4, 1e-3), betas=(0.5, 1.0, 2.0))
    assert widened(grid, pd.Series({"learning_rate": rate, "beta": beta})) == Grid(rates=wider[0], betas=wider[1])


def test_an_axis_of_one_value_is_not_widened():
    grid = Grid(rates=(1e-4,))
    assert widened(grid, pd.Series({"learning_rate": 1e-4, "beta": 0.1})) == grid


def test_arms_are_tuned_after_what_they_start_from_and_the_grid_grows_where_it_must(tmp_path):
    """On the real base at a small size."""
    grid = {"rates": [1e-6, 1e-5], "betas": [0.1]}
    plan = {"tuning": {"arms": {"sft": {"rates": [1e-3]}, "dpo": grid}, "pairs": 16, "widen": 1}}
    settings, lines = small(tmp_path, study=plan), []
    tuned = tune(Study(settings, RunFolder(tmp_path)), lines.append)
    candidates = tuned.tried[tuned.tried["arm"] == "dpo"]
    assert set(tuned.tried["task"]) == {TASK} and set(tuned.tried["prompts"]) == {16}
    assert len(candidates) == 3 and candidates["worth"].between(0, 1).all()  # two, and one beyond the rim
    best = tuned.choice.set_index("arm").loc["dpo"]
    assert tuned.plans[TASK].arms["dpo"].learning_rate == best["learning_rate"]
    assert best["worth"] == candidates["worth"].max()
    assert not list((tmp_path / "tuning" / TASK).glob("models/dpo*/*.safetensors"))
    lines.clear()
    again = tune(Study(settings, RunFolder(tmp_path)), lines.append)
    assert lines == [] and again.choice.equals(tuned.choice)


def test_what_cannot_be_tuned_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"study\.tuning"):
        tune(Study(params.read(parameters(tmp_path, tmp_path, study=study() | {"tuning": None})), RunFolder(tmp_path)))
    with pytest.raises(ParameterError, match=r"judge\.kind"):
        tune(Study(params.read(parameters(tmp_path, tmp_path, judge={"kind": "none"})), RunFolder(tmp_path)))
    write_rows(RunFolder(tmp_path).data("pairs"), [])
    with pytest.raises(InputError, match="validation"):
        tune(Study(params.read(parameters(tmp_path, tmp_path)), RunFolder(tmp_path)))


def test_a_reply_is_worth_the_guardrails_it_keeps_and_nothing_if_it_is_unnatural():
    good, bad = Assessment(acceptable=True, score=0), Assessment(acceptable=False, score=-1)
    statuses = ("complied", "broken", "not applicable", "complied", "unknown")
    rules = tuple(GuardrailVerdict(number=n, status=status) for n, status in enumerate(statuses, 1))

    def verdict(natural, guardrails):
        reply = ReplyAssessment(adherence=bad, naturalness=natural, hallucination=good, guardrails=guardrails)
        judgements = {
            name: DimensionVerdict(acceptable_1=each.acceptable, acceptable_2=True, preference="tie")
            for name in DIMENSIONS
            for each in [reply.dimension(name)]
        }
        return Verdict(
            pair_id="p", conversation_id="c", arm_1="a", arm_2="b", judge="j", dimensions=judgements,
            reply_1=reply, reply_2=reply,
        )  # fmt: skip

    assert worth(verdict(good, rules)) == 2 / 3
    assert worth(verdict(bad, rules)) == 0
    assert worth(verdict(good, ())) == 0  # adherence as a whole
