"""The whole series for real, tiny: every notebook through papermill and Snakemake; again, changed, broken, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest

from guardalign.config.notebooks import failure
from guardalign.data.conversations import Reply
from guardalign.files import RunFolder, fingerprint, read_rows
from guardalign.judging.verdicts import Verdict
from guardalign.papers import PANELS
from series import NAMES, PHASE, ROOT, SMALL, parameters, run, run_stage, save_base, start, study, write_parameters

PRODUCTS = ("data/pairs.jsonl", "tables/sft.csv")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def series(tmp_path_factory, base):
    """A finished run: its parameter file, its folder and what it printed."""
    folder = tmp_path_factory.mktemp("series")
    params = write_parameters(folder / "tiny.yaml", parameters(folder / "run", base))
    code, output = run(params, checked=True)
    assert code == 0, output
    return params, RunFolder(folder / "run"), output


def stages_of(output: str) -> list[str]:
    return [name for name in NAMES if f"  {name} …" in output]


def test_every_notebook_is_executed_without_an_error(series):
    _, folder, output = series
    assert stages_of(output) == list(NAMES)
    assert output.startswith("Estimate: ")
    assert output.strip().splitlines()[-1] == f"Report: {folder.report}"
    for name in NAMES:
        executed = folder.notebooks / f"{name}.ipynb"
        assert failure(executed) is None
        assert all(cell.execution_count for cell in nbformat.read(executed, 4).cells if cell.cell_type == "code")


def test_the_run_folder_holds_every_product(series):
    _, folder, _ = series
    for arm in ("M_1SFT", "M_2SFT", "M_ipo", "M_kto", "M_1SFT_ipo", "M_1SFT_kto", "N_1SFT", "N_1SFT_ipo", "N_1SFT_kto"):
        assert (folder.model(arm) / "model.safetensors").exists() and folder.replies(arm).exists()
    test = [json.loads(line) for line in folder.data("pairs").read_text().splitlines()]
    prompts = {row["id"] for row in test if row["split"] == "test"}
    for pair in PANELS.values():
        lines = folder.verdicts(*pair).read_text().splitlines()
        assert {Verdict.model_validate_json(line).pair_id for line in lines} == prompts
    assert set(pd.read_csv(folder.tables("methods.csv"))["arm"]) == {"M_1SFT", "dpo"}
    facts = folder.facts
    assert set(NAMES) <= facts.keys() and facts["02_sft"]["parameters"]["seed"] == 1
    assert "<svg" in folder.report.read_text()


def test_figures_are_shown_as_pictures(series):
    _, folder, _ = series
    for name in NAMES[:-1]:
        outputs = [
            out
            for cell in nbformat.read(folder.notebooks / f"{name}.ipynb", 4).cells
            for out in cell.get("outputs", [])
        ]
        shown = any("image/png" in out.get("data", {}) for out in outputs)
        assert shown == (name != "06_judging"), name  # whose verdicts 07 draws


def test_a_second_run_does_nothing(series):
    params, folder, _ = series
    before = {path: path.stat().st_mtime_ns for path in folder.root.glob("[a-z]*/**/*") if path.is_file()}
    code, output = run(params)
    assert code == 0 and stages_of(output) == []
    assert "Every stage is up to date." in output and output.strip().endswith(f"Report: {folder.report}")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_changed_parameter_runs_again_what_depends_on_it_and_nothing_else(series, tmp_path, base):
    _, folder, _ = series
    content = parameters(folder.root, base)
    content["study"] = study(M_kto={"beta": 0.2})
    code, output = run(write_parameters(tmp_path / "changed.yaml", content), "--dry-run")
    assert code == 0, output
    planned = {line.split()[0] for line in output.splitlines() if line.split() and line.split()[-1] == "1"}
    assert {"flow1_alignment", "judging", "plots"} <= planned
    assert not planned & {"dataset_construction", "sft", "flow2_feedback_alignment", "method_comparison"}


@pytest.mark.parametrize(
    ("file", "change", "rule", "kept"),
    [
        (
            "verdicts/M_2SFT-vs-M_1SFT_ipo.jsonl",
            ('"preference":"', '"preference": "'),
            "judging",
            {"sft", "flow1_alignment"},
        ),
        ("replies/M_2SFT.jsonl", ('"text":"', '"text":"x'), "judging", {"sft", "flow1_alignment"}),
        ("data/pairs.jsonl", ('"chosen":"', '"chosen":"x'), "dataset_construction", set()),
    ],
)
def test_a_damaged_file_of_pairs_replies_or_verdicts_is_made_again(series, file, change, rule, kept):
    params, folder, _ = series
    path = folder.root / file
    whole = path.read_text()
    assert change[0] in whole
    path.write_text(whole.replace(*change, 1))
    code, output = run(params, "--dry-run")
    planned = {line.split()[0] for line in output.splitlines() if line.split() and line.split()[-1] == "1"}
    path.write_text(whole)
    assert code == 0 and {rule, "plots"} <= planned and not planned & kept, output


def test_a_missing_stage_names_the_notebook_that_makes_it(tmp_path, base):
    params = write_parameters(tmp_path / "tiny.yaml", parameters(tmp_path / "run", base))
    code, output = run_stage(ROOT / "notebooks" / "07_plots.ipynb", params)
    assert code == 1 and "MissingStage" in output
    assert "notebooks/06_judging.ipynb makes it" in output


def test_a_folder_of_other_parameters_is_refused_by_a_single_notebook(series, tmp_path, base):
    _, folder, _ = series
    content = parameters(folder.root, base, training={"batch_size": 4})
    params = write_parameters(tmp_path / "other.yaml", content)
    copy = tmp_path / "03_flow1_alignment.ipynb"
    copy.write_text((ROOT / "notebooks" / copy.name).read_text())
    kept = (folder.notebooks / copy.name).read_bytes()
    code, output = run_stage(copy, params)
    (folder.notebooks / copy.name).write_bytes(kept)
    assert code == 1 and "ForeignRun" in output and "02_sft" in output and "training" in output


def stage_of(tmp_path: Path, source: str) -> Path:
    shown = nbformat.v4.new_code_cell('run = "x"', metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "stage.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[shown, nbformat.v4.new_code_cell(source)], metadata=kernel), path)
    return path


@pytest.mark.parametrize(
    "source, message, exit_code",
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "its kernel was killed", 1),
        ("1 / 0", "ZeroDivisionError: division by zero", 1),
        ("pass", "ended without making", 1),
        ("from guardalign.errors import Preempted\nraise Preempted('saved')", "saved", os.EX_TEMPFAIL),
    ],
)
def test_a_stage_fails_without_its_product(tmp_path, base, source, message, exit_code):
    params = write_parameters(tmp_path / "tiny.yaml", parameters(tmp_path / "run", base))
    code, output = run_stage(stage_of(tmp_path, source), params, tmp_path / "product.csv")
    assert code == exit_code and message in output and "Traceback" not in output


@pytest.mark.parametrize("shift", [-3600, 3600])
def test_a_product_counts_by_being_new_not_by_its_time(tmp_path, base, shift):
    """A file system may use a different clock; an older file is not a product of this stage."""
    params = write_parameters(tmp_path / "tiny.yaml", parameters(tmp_path / "run", base))
    product = tmp_path / "product.csv"
    product.write_text("old")
    make = f"import os, pathlib, time\np = pathlib.Path({str(product)!r})\n"
    write = f"p.write_text('new')\nos.utime(p, (time.time() + {shift},) * 2)"
    code, output = run_stage(stage_of(tmp_path, make + write), params, product)
    assert code == 0, output
    code, output = run_stage(stage_of(tmp_path, make), params, product)
    assert code == 1 and str(product) in output


def test_an_expected_end_is_two_lines_in_the_notebook(tmp_path, base):
    params = write_parameters(tmp_path / "tiny.yaml", parameters(tmp_path / "run", base))
    source = "from guardalign.errors import InputError\nraise InputError('There is nothing to do.')"
    run_stage(stage_of(tmp_path, source), params)
    cells = nbformat.read(tmp_path / "run" / "notebooks" / "stage.ipynb", 4).cells
    [error] = [out for cell in cells for out in cell.get("outputs", []) if out["output_type"] == "error"]
    assert error["traceback"] == ["InputError: There is nothing to do."]


def test_the_reason_of_a_failed_stage_is_printed_in_any_locale(tmp_path, base):
    params = write_parameters(tmp_path / "tiny.yaml", parameters(tmp_path / "run", base))
    dies = "import os, sys\nif 'stage' in sys.orig_argv: os.write(2, 'lost in nowhere: é'.encode()), os._exit(1)"
    (tmp_path / "sitecustomize.py").write_text(dies)
    latin = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    latin["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT / "lib")])
    process = start(params, "--target", "data/pairs.jsonl", cluster=latin)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and "nowhere" in output, output


def test_wrong_parameters_stop_the_series_before_it_starts(tmp_path, base):
    content = parameters(tmp_path / "run", base, study=study(M_1SFT={"learning_rte": 1e-3}))
    code, output = run(write_parameters(tmp_path / "wrong.yaml", content))
    assert code == 1 and "did you mean `study.arms.M_1SFT.learning_rate`?" in output
    assert not (tmp_path / "run").exists() and "Traceback" not in output


def test_two_runs_do_not_work_in_one_folder(series):
    params, _, _ = series
    first = start(params)
    time.sleep(1.0)
    code, output = run(params)
    first.communicate(timeout=600)
    assert code == 1 and "Another run is working in" in output


def wait_for(path: Path, process, seconds: float = 1500.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


def processes_of(marker: str) -> list[int]:
    """Living processes whose command line names ``marker``: the run's folder is in all of them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and marker in " ".join(process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def descendants(process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_killed_run_leaves_nothing_behind_and_ends_with_the_same_tables(series, tmp_path, base):
    """SIGKILL in the first stage, SIGTERM in training, SIGKILL in the next training; then the run to its end."""
    _, whole, _ = series
    params = write_parameters(tmp_path / "tiny.yaml", parameters(tmp_path / "run", base))
    folder = RunFolder(tmp_path / "run")
    moments = [
        (signal.SIGKILL, folder.notebooks / "01_dataset_construction.ipynb"),
        (signal.SIGTERM, folder.model("M_1SFT") / "metrics.jsonl"),
        (signal.SIGKILL, folder.model("N_1SFT")),
    ]
    for number, moment in moments:
        process = start(params, "--target", "tables/sft.csv")
        try:
            wait_for(moment, process)
        except BaseException:
            process.kill()
            raise
        below = descendants(process)
        os.kill(process.pid, number)
        process.communicate(timeout=120)
        _, alive = psutil.wait_procs(below, timeout=30)
        assert not [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        assert not processes_of(str(tmp_path))
    code, output = run(params, "--target", "tables/sft.csv")
    assert code == 0, output
    for name in PRODUCTS:
        assert fingerprint(folder.root / name) == fingerprint(whole.root / name), name
    assert not list(folder.root.rglob("*.part"))


def mount(size: str, folder: Path, *options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip(f"no file system of a given size can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("200k", folder)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_with_more_space_it_resumes(small_disk, tmp_path, base):
    params = write_parameters(tmp_path / "tiny.yaml", parameters(small_disk / "run", base))
    code, output = run(params, "--target", "data/pairs.jsonl")
    assert code == 1 and ("The disk is full" in output or "No space left on device" in output), output
    assert "Traceback" not in output and not list(small_disk.rglob("*.part"))
    mount("64m", small_disk, "remount")
    code, output = run(params, "--target", "data/pairs.jsonl")
    assert code == 0, output
    pairs = RunFolder(small_disk / "run").data("pairs")
    assert all(json.loads(line)["id"] for line in pairs.read_text().splitlines())


@pytest.mark.parametrize(
    "name, product",
    [
        ("00_embedded_base_model", "tables/pretraining.csv"),
        ("08_people_as_judges", "people/key.json"),
        ("09_tuning", "tables/tuning.csv"),
        ("15_methods_on_tasks", "run.json"),
    ],
)
def test_the_notebooks_beside_the_series_are_executed_too(series, tmp_path, base, name, product):
    _, folder, _ = series
    small = SMALL.model_dump(mode="json") | {
        "phases": [PHASE.model_dump(mode="json") | {"echoes_per_step": each} for each in (1, 0)]
    }
    grid = {"arms": {"M_1SFT": {"rates": [1e-3]}, "M_1SFT_ipo": {"rates": [1e-3], "betas": [0.1]}}}
    content = parameters(folder.root, base, pretraining=small, study=study() | {"tuning": grid})
    params = write_parameters(tmp_path / "beside.yaml", content)
    code, output = run_stage(ROOT / "notebooks" / f"{name}.ipynb", params, folder.root / product)
    assert code == 0, output
    assert failure(folder.notebooks / f"{name}.ipynb") is None and name in folder.facts


def test_an_arm_and_a_contrast_of_a_parameter_file_go_the_whole_way(series, tmp_path, base):
    """From two lines more in the file to the report: nothing else is trained again."""
    _, folder, _ = series
    more = study(cautious={"start": "M_1SFT", "method": "dpo", "learning_rate": 1e-4, "steps": 2, "beta": 0.5})
    more["contrasts"] = [*more["contrasts"], {"arm_1": "M_1SFT", "arm_2": "cautious", "question": "Is less more?"}]
    kept = (folder.model("M_1SFT_ipo") / "training.json").stat().st_mtime_ns
    code, output = run(write_parameters(tmp_path / "more.yaml", parameters(folder.root, base, study=more)))
    assert code == 0, output
    assert stages_of(output) == ["03_flow1_alignment", "06_judging", "07_plots"]
    trained = json.loads((folder.model("cautious") / "training.json").read_text())
    assert trained["result"]["steps"] == 2 and trained["config"]["beta"] == 0.5
    assert (folder.model("M_1SFT_ipo") / "training.json").stat().st_mtime_ns == kept
    assert folder.verdicts("M_1SFT", "cautious").exists()
    for name in ("judging", "win_rates"):
        assert "cautious" in set(pd.read_csv(folder.tables(f"{name}.csv"))["arm_2"])
    assert "cautious" in set(pd.read_csv(folder.tables("flow1.csv"))["arm"])
    drawn = [path for path in folder.root.glob("figures/*.csv") if "cautious" in path.read_text()]
    assert drawn and "cautious" in folder.report.read_text()


def test_a_damaged_record_and_files_from_the_future_need_no_hand(series):
    params, folder, _ = series
    record, pairs = folder.root / "run.json", folder.data("pairs")
    record.write_text(record.read_text()[:50])
    os.utime(pairs, (time.time() + 3600,) * 2)
    code, output = run(params)
    assert code == 0 and stages_of(output) == list(NAMES) and str(record) in output, output
    assert set(NAMES) <= folder.facts.keys() and pairs.stat().st_mtime <= time.time()
    code, output = run(params, "--target", "tables/sft.csv")
    assert code == 0 and stages_of(output) == [] and output.strip().endswith(f"Made: {folder.tables('sft.csv')}")


def test_several_seeds_are_one_run_with_one_report(tmp_path, base):
    """Two seeds of a plan of five arms: each in its own folder, on the same data, in the same tables and figures."""
    whole = study()
    arms = {name: whole["arms"][name] for name in ("M_1SFT", "M_1SFT_ipo", "N_1SFT", "N_1SFT_ipo", "dpo")}
    named = [each for each in whole["contrasts"] if {each["arm_1"], each["arm_2"]} <= arms.keys()]
    plan = {"arms": arms, "contrasts": named, "seeds": [1, 2], "keep": False, "samples": 2}
    content = parameters(tmp_path / "run", base, study=plan)
    code, output = run(write_parameters(tmp_path / "seeds.yaml", content))
    assert code == 0, output
    folder = RunFolder(tmp_path / "run")
    weights = [fingerprint(folder.root / f"seed-{n}" / "models" / "M_1SFT" / "model.safetensors") for n in (1, 2)]
    assert weights[0] != weights[1] and not folder.model("M_1SFT").exists()
    left = {path.parent.name for path in (folder.root / "seed-2" / "models").glob("*/*.safetensors")}
    assert left == {"M_1SFT", "N_1SFT"}  # the others start there
    table = pd.read_csv(folder.tables("win_rates.csv"))
    assert (table["seeds"] == 2).all() and set(table["arm_2"]) == {"M_1SFT_ipo", "N_1SFT_ipo"}
    assert (folder.root / "seed-2" / "verdicts" / "M_1SFT-vs-M_1SFT_ipo.jsonl").exists()
    greedy, drawn = (
        read_rows(folder.root / "seed-1" / own / "replies" / "M_1SFT.jsonl", Reply) for own in ("", "sampled")
    )
    tested = {row.pair_id for row in drawn}
    assert len(tested) == len(drawn) and {name.rpartition("#")[2] for name in tested} == {"1", "2"}
    assert {name.rpartition("#")[0] for name in tested} <= {row.pair_id for row in greedy}
    texts = {row.pair_id: row.text for row in drawn}
    assert any(texts[f"{row.pair_id}#1"] != texts[f"{row.pair_id}#2"] for row in greedy if f"{row.pair_id}#1" in texts)
    assert set(pd.read_csv(folder.tables("sampled.csv"))["n"]) == {len(drawn)}
    assert "Sampled replies" in folder.report.read_text()
    code, output = run_stage(ROOT / "notebooks" / "06_judging.ipynb", tmp_path / "seeds.yaml")
    assert code == 0, output  # replies are known as those of the weights that are gone


def test_without_a_judge_arms_are_compared_by_what_they_prefer(series, tmp_path, base):
    """The last test: it changes the series' own folder, so that only what depends on the judge runs again."""
    _, folder, _ = series
    content = parameters(folder.root, base, judge={"kind": "none"})
    code, output = run(write_parameters(tmp_path / "none.yaml", content))
    assert code == 0, output
    assert {"04_flow2_feedback_alignment", "06_judging", "07_plots"} <= set(stages_of(output))
    assert "02_sft" not in stages_of(output)
    table = pd.read_csv(folder.tables("judging.csv"))
    assert list(table["arm"][:2]) == ["base", "M_1SFT"] and table["accuracy"].between(0, 1).all()
    assert "No judge read this run" in folder.report.read_text()
    assert folder.figures("held_out.svg").exists() and not folder.figures("forest.svg").exists()
