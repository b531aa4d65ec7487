"""Grids of parameters: their points, their folders, how many run at once, and the table beside their parameters."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import yaml

import simulated_verdicts as simulated
from guardalign import processes, report
from guardalign.config.params import Params
from guardalign.errors import ParameterError
from guardalign.files import write_text
from guardalign.workflow import sweep as sweeping
from guardalign.workflow.series import LOCK, Resources
from guardalign.workflow.sweep import points, read_sweep
from series import ROOT, environment, parameters, write_parameters


@pytest.fixture
def base(tmp_path):
    return write_parameters(tmp_path / "base.yaml", parameters(tmp_path / "unused", tmp_path / "model"))


def grid(base, run, **axes):
    return points(base, str(run), {key.replace("__", "."): values for key, values in axes.items()})


def test_every_combination_is_a_point_with_its_own_parameters(base, tmp_path):
    found = points(
        base,
        str(tmp_path / "sweep"),
        {"study.arms.M_1SFT_ipo.learning_rate": ["5e-5", 0.001], "training.batch_size": [4]},
        {"study.seeds": [1, 2]},
    )
    assert [point.name for point in found] == [
        f"study.arms.M_1SFT_ipo.learning_rate-{rate}_training.batch_size-4" for rate in ("5e-5", "0.001")
    ]
    settings = Params.load(found[0].write())
    assert [settings.study.arms[arm].learning_rate for arm in ("M_1SFT_ipo", "M_ipo")] == [5e-5, 1e-3]
    assert settings.study.seeds == (1, 2) and settings.training.batch_size == 4
    assert settings.run == str(tmp_path / "sweep" / found[0].name) == str(found[0].folder.root)


def test_sections_vary_by_name_and_absent_ones_are_made(base, tmp_path):
    models = {"small": {"name": "a/b", "max_length": 512}, "large": {"name": "c", "max_length": 1024}}
    small, large = grid(base, tmp_path / "s", model=models)
    assert (small.name, large.content["model"]) == ("model-small", models["large"])
    (deep,) = grid(base, tmp_path / "s", model__lora__rank=[4])
    assert Params.load(deep.write()).model.lora.rank == 4
    (alone,) = points(base, "own/name", {})
    assert alone.values == {} and alone.content["run"] == "own/name"


@pytest.mark.parametrize(
    "axes, message",
    [
        ({"study.arms.M_1SFT_ipo.learning_rte": [1e-3]}, "did you mean `study.arms.M_1SFT_ipo.learning_rate`"),
        ({"study.arms.M_1SFT_ipo.beta": [1.0, -1.0]}, r"beta--1.0: `study.arms.M_1SFT_ipo.beta` should be"),
        ({"model": [{"name": "a", "max_length": 8}]}, "give the values of `model` names"),
        ({"model.name": ["a/b", "a b"]}, "would share a folder"),
        ({"model": {"a": {}}, "model.name": ["b"]}, "`model.name` is within `model`"),
        ({"run": ["a", "b"]}, "its own `run`"),
        ({"seed": []}, "has no values"),
        ({"seed.first": [1]}, "is not a section"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_is_written(base, tmp_path, axes, message):
    with pytest.raises(ParameterError, match=message):
        points(base, str(tmp_path / "sweep"), axes)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    "text, message", [("base: [", "YAML"), ("bse: x", "not a sweep"), ("base: x\ngrid: []", "grid")]
)
def test_a_file_that_is_no_sweep_is_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=message) as caught:
        read_sweep(path)
    assert str(path) in str(caught.value)


def test_parameters_that_are_there_already_are_left_as_they_are(base, tmp_path):
    (point,) = grid(base, tmp_path / "s", seed=[3])
    path = point.write()
    before = path.stat().st_ino
    assert point.write() == path and path.stat().st_ino == before
    (other,) = grid(base, tmp_path / "s", seed=[3], training__batch_size=[2])
    point.content["training"] = other.content["training"]
    assert Params.load(point.write()).training.batch_size == 2


@pytest.mark.parametrize("path", sorted((ROOT / "params" / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_sweeps_that_are_shipped_can_be_read(path):
    run, found = read_sweep(path)
    assert run == path.stem and len({point.folder for point in found}) == len(found) >= 1


def test_points_that_cannot_run_do_not_stop_the_others(base, tmp_path):
    """Two points whose folders are in use by another process, side by side, each with its own log."""
    found = grid(base, tmp_path / "s", seed=[1, 2])
    with (
        processes.locked(found[0].folder.root / LOCK),
        processes.locked(found[1].folder.root / LOCK),
    ):
        failed = sweeping.run_points(found, Resources(cores=1), at_once=2)
    assert sorted(point.name for point in failed) == ["seed-1", "seed-2"]
    for point in found:
        assert "Another run is working in" in (point.folder.root / "workflow.log").read_text()


def test_results_stand_beside_their_parameters_seeds_together(base, tmp_path):
    found = grid(base, tmp_path / "s", study__arms__M_1SFT_ipo__beta=[0.1, 1.0])
    for seed in (1, 2):
        folder = found[0].folder.root / f"seed-{seed}"
        simulated.run_folder(folder, {("M_1SFT", "M_1SFT_ipo"): 0.1 * seed}, 6, 2)
    written = sweeping.write_tables(str(tmp_path / "s"), found)
    assert [path.name for path in written] == ["points.csv"]
    table, whole = pd.read_csv(written[0]), report.load(found[0].folder.root)
    assert list(table["study.arms.M_1SFT_ipo.beta"].unique()) == [0.1] and (table["seeds"] == 2).all()
    assert table["win_2_low"].tolist() == pytest.approx(whole.rates["win_2_low"].tolist())


def test_settings_side_by_side_and_runs_without_a_judge(base, tmp_path):
    found = grid(base, tmp_path / "s", training__batch_size=[4, 8, 16])
    (found[2].folder.root / "verdicts" / "feedback").mkdir(parents=True)  # it failed before its arms were judged
    for point in found[:2]:
        simulated.run_folder(point.folder.root, {("M_1SFT", "M_1SFT_ipo"): 0.1}, 6, 2)
    judged = sweeping.write_tables(str(tmp_path / "s"), found)
    assert [path.name for path in judged] == ["points.csv", "compare.html"]
    unjudged = grid(base, tmp_path / "n", judge={"none": {"kind": "none"}}, seed=[1, 2])
    write_text(unjudged[0].folder.tables("judging.csv"), "arm,accuracy\nbase,0.5\n")
    (path,) = sweeping.write_tables(str(tmp_path / "n"), unjudged)
    assert pd.read_csv(path).to_dict("records") == [{"judge": "none", "seed": 1, "arm": "base", "accuracy": 0.5}]


def test_the_command_lists_the_points_and_refuses_an_unknown_profile(base, tmp_path):
    sweep = tmp_path / "mine.yaml"
    sweep.write_text(yaml.safe_dump({"base": str(base), "run": str(tmp_path / "s"), "grid": {"seed": [1, 2]}}))

    def command(*options):
        return subprocess.run(
            [sys.executable, "-m", "guardalign.workflow.cli", "sweep", str(sweep), *options],
            env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    listed = command("--dry-run")
    assert listed.stdout.split() == [str(tmp_path / "s" / f"seed-{seed}") for seed in (1, 2)], listed.stderr
    assert not (tmp_path / "s").exists()
    refused = command("--profile", "slrum")
    assert refused.returncode == 1 and "No profile 'slrum'" in refused.stderr and "slurm" in refused.stderr
    assert not (tmp_path / "s" / "seed-2").exists()
