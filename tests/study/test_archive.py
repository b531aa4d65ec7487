"""A study packed without weights and unpacked in another folder, as a clone does."""

from __future__ import annotations

import shutil

import pytest
import torch

from guardalign.config.params import read
from guardalign.data.conversations import PreferencePair, Turn
from guardalign.data.splitting import pairs_in
from guardalign.errors import InputError
from guardalign.files import RunFolder, write_rows
from guardalign.models.encoding import encode
from guardalign.models.loading import drop_weights, dropped, load_tokenizer
from guardalign.study.archive import pack, unpack
from guardalign.study.run import Study
from guardalign.study.settle import jobs_of, settle
from series import parameters, save_base

SFT, IPO = "M_1SFT", "M_1SFT_ipo"
ARMS = {
    SFT: {"method": "sft", "learning_rate": 1e-3},
    IPO: {"start": SFT, "method": "ipo_mean", "learning_rate": 1e-3, "beta": 1.0},
}
SPLITS = ["train"] * 4 + ["validation", "test", "test", "transfer"]


def study_in(root, base, seeds) -> Study:
    plan = {"seeds": seeds, "keep": False, "workers": 1, "arms": ARMS, "contrasts": [{"arm_1": SFT, "arm_2": IPO}]}
    return Study(read(parameters(root, base, study=plan)), RunFolder(root))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    study = study_in(root / "run", save_base(root / "base"), [1, 2])
    pairs = [
        PreferencePair(
            id=f"c{n}", conversation_id=f"c{n}", turns=(Turn(role="user", text=f"Hi {n}"),), chosen="Yes.",
            rejected="No.", split=split,
        )
        for n, split in enumerate(SPLITS)
    ]  # fmt: skip
    write_rows(study.run.data("pairs"), pairs)
    settle(jobs_of(study), log=lambda _: None)
    return study


@pytest.fixture
def clone(original, tmp_path):
    """The archive alone in another folder, unpacked, with a third seed to train."""
    root = tmp_path / "clone"
    root.mkdir()
    shutil.move(pack(original.run), root)
    assert unpack(RunFolder(root)) and not list(root.rglob("*.safetensors"))
    return study_in(root, original.settings.model.name, [1, 2, 3])


def test_a_clone_trains_the_new_seed_alone(original, clone):
    known, said = settle(jobs_of(original), log=lambda _: None), []
    found = settle(jobs_of(clone), log=said.append)
    assert [line.split("/")[2] for line in said] == ["seed-3"] * 2
    assert found[:4] == known and all(each.fingerprint != found[0].fingerprint for each in found[4:])


def test_a_clone_takes_packed_replies_and_trainings_for_its_own(original, clone):
    said: list[str] = []
    for seed in original.seeds:
        path = clone.folder(seed).replies(IPO)
        before = path.read_bytes()
        assert clone.train_arm(IPO, seed, log=said.append).skipped
        clone.answers(IPO, pairs_in(clone.run, "test", "transfer"), path, seed, said.append)
        assert path.read_bytes() == before and dropped(clone.folder(seed).model(IPO))
    assert not any("to generate" in line for line in said)


def test_packing_twice_gives_the_same_bytes_and_nothing_is_packed_without_replies(original, tmp_path):
    assert pack(original.run).read_bytes() == pack(original.run).read_bytes()
    with pytest.raises(InputError, match="no replies"):
        pack(RunFolder(tmp_path))


def test_a_damaged_example_or_outcome_is_made_again(original):
    sequences = encode(load_tokenizer(original.model_of(SFT)), ["Hi."], ["A reply."], 64)
    before = original.logps(SFT, sequences)
    path = original.folder().root / "samples" / f"{SFT}.logps.json"
    for damaged in (path.read_text().replace("-", "", 1), path.read_text()[:-9]):
        path.write_text(damaged)
        assert all(map(torch.equal, before, original.logps(SFT, sequences)))
    job = jobs_of(original, [SFT])[0]
    known, text = job.known(), job.outcome.read_text()
    job.outcome.write_text(text.replace('"steps":', '"steps":1', 1))
    assert job.known() is None
    assert settle([job], log=lambda _: None)[0].steps == known.steps and job.known()


def test_a_notebooks_example_needs_no_weights_a_second_time(original):
    prompts, replies = ["Hi."] * 2, ["A reply.", "Another reply."]
    sequences = encode(load_tokenizer(original.model_of(SFT)), prompts, replies, 64)
    before = original.logps(SFT, sequences)
    drop_weights(original.folder().model(SFT))
    again = original.logps(SFT, sequences)
    assert len(again) == 2 and all(map(torch.equal, before, again)) and dropped(original.folder().model(SFT))
