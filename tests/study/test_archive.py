"""A study packed without weights and unpacked in another folder, as a clone does."""

from __future__ import annotations

import shutil

import pytest

from guardalign.data.splitting import pairs_in
from guardalign.errors import InputError
from guardalign.files import RunFolder
from guardalign.models.loading import dropped
from guardalign.study.archive import pack, unpack
from guardalign.study.jobs import jobs_of, run_jobs
from tiny_study import IPO, finished_study, study_in

original = pytest.fixture(scope="module")(finished_study)


@pytest.fixture
def clone(original, tmp_path):
    """The archive alone in another folder, unpacked, with a third seed to train."""
    root = tmp_path / "clone"
    root.mkdir()
    shutil.move(pack(original.run), root)
    assert unpack(RunFolder(root)) and not list(root.rglob("*.safetensors"))
    return study_in(root, original.settings.model.name, [1, 2, 3])


def test_a_clone_trains_the_new_seed_alone(original, clone):
    known, lines = run_jobs(jobs_of(original), log=lambda _: None), []
    found = run_jobs(jobs_of(clone), log=lines.append)
    assert [line.split("/")[2] for line in lines] == ["seed-3"] * 2
    assert found[:4] == known and all(each.fingerprint != found[0].fingerprint for each in found[4:])


def test_a_clone_takes_packed_replies_and_trainings_for_its_own(original, clone):
    lines: list[str] = []
    for seed in original.seeds:
        path = clone.folder(seed).replies(IPO)
        before = path.read_bytes()
        assert clone.train_arm(IPO, seed, log=lines.append).skipped
        clone.answers(IPO, pairs_in(clone.run, "test", "transfer"), path, seed, lines.append)
        assert path.read_bytes() == before and dropped(clone.folder(seed).model(IPO))
    assert not any("to generate" in line for line in lines)


def test_packing_twice_gives_the_same_bytes_and_nothing_is_packed_without_replies(original, tmp_path):
    assert pack(original.run).read_bytes() == pack(original.run).read_bytes()
    with pytest.raises(InputError, match="no replies"):
        pack(RunFolder(tmp_path))
