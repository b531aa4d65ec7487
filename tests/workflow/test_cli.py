"""The console command: its help, what it refuses, and what `clean` removes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guardalign.files import RunFolder
from guardalign.processes import locked
from guardalign.workflow.cli import COMMANDS, main
from guardalign.workflow.series import LOCK
from series import ROOT, environment, parameters, study, write_parameters


@pytest.mark.parametrize("name", [name for name, *_ in COMMANDS])
def test_every_command_has_its_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0 and f"guardalign {name}" in capsys.readouterr().out


def test_an_unknown_command_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["rn"])
    assert ended.value.code == 2 and "'run'" in capsys.readouterr().err


def test_parameter_files_are_checked(tmp_path, capsys):
    good, bad = ROOT / "params" / "embedded.yaml", tmp_path / "own.yaml"
    assert main(["check", str(good)]) == 0 and "in range" in capsys.readouterr().out
    bad.write_text(good.read_text().replace("sft, learning_rate", "sft, learning_rte"))
    assert main(["check", str(bad)]) == 1 and "did you mean" in capsys.readouterr().err


def test_an_arm_to_train_is_one_of_the_study(capsys):
    assert main(["study", str(ROOT / "params" / "care.yaml"), "--arms", "M_1STF"]) == 1
    assert "M_1STF" in capsys.readouterr().err


def finished(folder: Path) -> Path:
    RunFolder(folder).record("01_dataset_construction")
    return folder


def test_clean_removes_the_run_of_the_parameters_and_nothing_else(tmp_path, capsys):
    """With a slash in its name."""
    outputs = tmp_path / "outputs"
    mine, other = finished(outputs / "study" / "a"), finished(outputs / "study" / "b")
    finished(mine / "seed-1")
    params = write_parameters(tmp_path / "mine.yaml", parameters(mine, tmp_path / "model"))
    assert main(["clean", str(params)]) == 0 and str(mine) in capsys.readouterr().out
    assert not mine.exists() and other.exists() and outputs.exists()
    assert main(["clean", str(tmp_path / "mistyped.yaml")]) == 1


def test_clean_refuses_folders_that_are_more_or_less_than_a_run(tmp_path, monkeypatch):
    def refused(folder: Path) -> bool:
        return main(["clean", str(write_parameters(tmp_path / "mine.yaml", parameters(folder, tmp_path / "m")))]) == 1

    bystander = tmp_path / "photos" / "holiday.jpg"
    bystander.parent.mkdir()
    bystander.touch()
    assert refused(bystander.parent) and bystander.exists(), "no run"
    sweep = finished(tmp_path / "sweep")
    finished(sweep / "rate-1")
    assert refused(sweep) and (sweep / "rate-1").exists(), "others' parent"
    busy = finished(tmp_path / "busy")
    with locked(busy / LOCK):
        assert refused(busy) and busy.exists(), "in use"
    monkeypatch.chdir(busy)
    assert refused(busy) and busy.exists(), "where the person is"
    assert refused(Path("/")) and refused(tmp_path / "nowhere")


def test_a_file_that_is_not_there_is_named_before_anything_starts(tmp_path, capsys):
    """What the parameter file alone tells."""
    source = {"kind": "jsonl", "path": str(tmp_path / "no.jsonl")}
    recorded = {"kind": "recorded", "model": "m", "recording": str(tmp_path / "no_store")}
    cases = {"no.jsonl": {"source": source, "judge": {"kind": "none"}}, "no_store": {"judge": recorded}}
    for name, changes in cases.items():
        params = write_parameters(tmp_path / "mine.yaml", parameters(tmp_path / "run", tmp_path / "m", **changes))
        assert main(["run", str(params)]) == 1
        assert name in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"judge": {"kind": "none"}}, {"study": study() | {"tuning": None}}])
@pytest.mark.parametrize("command", [["run", "--target", "tables/tuning.csv"], ["stage", "09"]])
def test_where_nothing_can_be_tuned_nothing_starts(tmp_path, changes, command, capsys):
    params = write_parameters(tmp_path / "mine.yaml", parameters(tmp_path / "run", tmp_path / "m", **changes))
    assert main([*command, str(params)]) == 1
    assert "study.tuning" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_braces_in_the_checkouts_path_and_in_the_parameters_are_no_wildcards(tmp_path):
    checkout = tmp_path / "a {b} c"
    for name in ("lib", "notebooks", "params"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", checkout)
    content = parameters(tmp_path / "run {x}", tmp_path / "m {word}")
    params = write_parameters(checkout / "own {y}.yaml", content)
    done = subprocess.run(
        [sys.executable, "-m", "guardalign.workflow.cli", "run", str(params), "--dry-run"],
        env=environment() | {"PYTHONPATH": str(checkout / "lib")}, cwd=checkout, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "dataset_construction" in done.stdout, done.stdout + done.stderr


def test_a_terminal_of_another_encoding_stops_nothing(tmp_path):
    latin = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "guardalign.workflow.cli", "stage", "01", str(tmp_path / "naïve.yaml")]
    done = subprocess.run(command, env=os.environ | environment() | latin, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "yaml" in done.stderr
