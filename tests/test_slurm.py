"""The first stages of the series as jobs of a real Slurm, started here on one machine; one of them is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil
import pytest
import yaml

import slurm
from guardalign.files import RunFolder, write_rows
from guardalign.notebooks import failure
from guardalign.training import TrainingConfig
from series import ROOT, environment, parameters, save_base, write_parameters
from tiny import make_examples, save_checkpoint

pytest.importorskip("snakemake_executor_plugin_slurm")
pytestmark = pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing()))
PROFILE = ROOT / "params" / "profiles" / "slurm" / "config.yaml"
# What a cluster of one small machine without accounting has otherwise than the profile says.
HERE = {
    "slurm-status-command": "squeue",
    "slurm-init-seconds-before-status-checks": 1,
    "latency-wait": 5,
    "default-resources": {"slurm_partition": "main", "mem_mb": 1000, "runtime": 20},
    "set-threads": {"sft": 1, "judging": 1},
    "set-resources": {"sft": {"mem_mb": 2000}},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    try:
        with slurm.cluster(tmp_path_factory.mktemp("slurm"), nodes=2, cpus=1) as found:
            yield environment() | found
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def series(tmp_path):
    """A tiny parameter file, its run's folder and a profile for the cluster here."""
    base = save_base(tmp_path / "base")
    params = write_parameters(tmp_path / "tiny.yaml", parameters(tmp_path / "run", base))
    profile = yaml.safe_load(PROFILE.read_text()) | HERE
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(profile))
    return params, RunFolder(tmp_path / "run"), tmp_path / "profile"


def start(cluster, params, profile):
    command = [sys.executable, "-m", "guardalign.workflow", str(params), "--profile", str(profile)]
    command += ["--target", "tables/sft.csv"]
    return subprocess.Popen(command, env=cluster, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(found, workflow, seconds=600.0):
    end = time.monotonic() + seconds
    while not (result := found()):
        assert workflow.poll() is None, workflow.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.3)
    return result


def papermills(folder):
    """The stages at work in a run's folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and {"guardalign.papermill_command", "guardalign.run_notebook"} & set(process.info["cmdline"] or [])
        and str(folder) in " ".join(process.info["cmdline"] or [])
    ]


def test_a_killed_job_is_submitted_again_and_the_series_goes_on(cluster, series):
    params, folder, profile = series
    workflow = start(cluster, params, profile)
    try:
        wait_for(lambda: papermills(folder.root), workflow)
        (number,) = slurm.jobs(cluster)
        subprocess.run(["scancel", number], env=cluster, check=True)
        wait_for(lambda: not papermills(folder.root), workflow, 60)
        output, _ = workflow.communicate(timeout=1200)
    finally:
        workflow.kill()
    assert workflow.returncode == 0, output
    states = sorted((job["comment"], job["state"]) for job in slurm.jobs(cluster).values())
    assert states == [
        ("rule_dataset_construction", "CANCELLED"),
        ("rule_dataset_construction", "COMPLETED"),
        ("rule_sft", "COMPLETED"),
    ]
    assert folder.tables("sft.csv").exists() and failure(folder.notebooks / "02_sft.ipynb") is None


def test_a_workflow_that_is_told_to_end_calls_its_jobs_off(cluster, series):
    params, folder, profile = series
    before = slurm.jobs(cluster).keys()
    workflow = start(cluster, params, profile)
    try:
        wait_for(lambda: papermills(folder.root), workflow)
        workflow.terminate()
        output, _ = workflow.communicate(timeout=120)
    finally:
        workflow.kill()
    assert workflow.returncode == 128 + 15, output
    (job,) = (job for number, job in slurm.jobs(cluster).items() if number not in before)
    assert job["state"] in ("CANCELLED", "COMPLETING")
    end = time.monotonic() + 60
    while papermills(folder.root) and time.monotonic() < end:
        time.sleep(0.3)
    assert not papermills(folder.root)


MULTI_NODE = """
srun --nodes=2 --ntasks-per-node=1 bash -c 'exec {python} -m accelerate.commands.launch --config_file {settings} \
  --machine_rank $SLURM_NODEID --main_process_ip 127.0.0.1 -m guardalign.training {job}'
"""


def test_srun_starts_one_training_on_two_nodes(cluster, tmp_path):
    """As docs/cluster.md has it, with one CPU process a node in place of four GPUs."""
    (port,) = slurm.free_ports(1)
    settings = yaml.safe_load((ROOT / "params" / "accelerate" / "multi_node.yaml").read_text())
    settings |= {"use_cpu": True, "num_processes": 2, "main_process_port": port}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(settings))
    write_rows(tmp_path / "examples.jsonl", make_examples(2, 2))
    job = TrainingConfig(
        arm="arm", model=str(save_checkpoint(tmp_path / "base")), output=tmp_path / "out", method="sft",
        learning_rate=1e-3, batch_size=4, epochs=1, data=tmp_path / "examples.jsonl",
    )  # fmt: skip
    (tmp_path / "job.json").write_text(job.model_dump_json())
    script = MULTI_NODE.format(python=sys.executable, settings=tmp_path / "two.yaml", job=tmp_path / "job.json")
    found = cluster | {"GUARDALIGN_PROCESSES": "2"}
    done = subprocess.run(
        ["sbatch", "--wait", "--nodes=2", f"--output={tmp_path / 'log'}", "--wrap", script],
        env=found, cwd=ROOT, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert json.loads((tmp_path / "out" / "training.json").read_text())["result"]["world_size"] == 2
