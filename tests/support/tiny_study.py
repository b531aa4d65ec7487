"""A study of two arms on eight pairs, whose weights are dropped once they have answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guardalign.config.params import read
from guardalign.data.conversations import PreferencePair, Turn
from guardalign.files import RunFolder, write_rows
from guardalign.study.jobs import jobs_of, run_jobs
from guardalign.study.run import Study
from series import parameters, save_base

SFT, IPO = "M_1SFT", "M_1SFT_ipo"
ARMS = {
    SFT: {"method": "sft", "learning_rate": 1e-3},
    IPO: {"start": SFT, "method": "ipo_mean", "learning_rate": 1e-3, "beta": 1.0},
}
SPLITS = ["train"] * 4 + ["validation", "test", "test", "transfer"]


def study_in(root: Path, base: Path | str, seeds: list[int], **more: Any) -> Study:
    plan = {"seeds": seeds, "keep": False, "workers": 1, "arms": ARMS, "contrasts": [{"arm_1": SFT, "arm_2": IPO}]}
    return Study(read(parameters(root, Path(base), study=plan | more)), RunFolder(root))


def with_pairs(study: Study, rejected: str = "No.") -> Study:
    """The study, its pairs written."""
    pairs = [
        PreferencePair(
            id=f"c{n}", conversation_id=f"c{n}", turns=(Turn(role="user", text=f"Hi {n}"),), chosen="Yes.",
            rejected=rejected, split=split,
        )
        for n, split in enumerate(SPLITS)
    ]  # fmt: skip
    write_rows(study.run.data("pairs"), pairs)
    return study


def finished_study(tmp_path_factory) -> Study:
    """A study of two seeds whose jobs have been run."""
    root = tmp_path_factory.mktemp("study")
    study = with_pairs(study_in(root / "run", save_base(root / "base"), [1, 2]))
    run_jobs(jobs_of(study), log=lambda _: None)
    return study
