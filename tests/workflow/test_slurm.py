"""What a real Slurm, started here on one machine, is asked for. The whole series as its jobs: test_llm_series."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import yaml

import slurm
from guardalign.files import write_rows
from guardalign.training import TrainingConfig
from series import ROOT, environment, parameters, save_base, start, write_parameters
from tiny import make_examples, save_checkpoint

pytestmark = pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing()))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    try:
        with slurm.cluster(tmp_path_factory.mktemp("slurm"), nodes=2, cpus=1) as found:
            yield environment() | found
    except RuntimeError as error:
        pytest.skip(str(error))


def test_a_workflow_that_receives_sigterm_cancels_its_jobs(cluster, tmp_path):
    params = write_parameters(tmp_path / "tiny.yaml", parameters(tmp_path / "run", save_base(tmp_path / "base")))
    before = slurm.jobs(cluster).keys()
    workflow = start(params, "--profile", str(slurm.profile(tmp_path / "profile")), cluster=cluster)
    try:
        slurm.wait_for(lambda: slurm.stages_at_work(tmp_path), workflow)
        workflow.terminate()
        output, _ = workflow.communicate(timeout=120)
    finally:
        workflow.kill()
    assert workflow.returncode == 128 + 15, output
    (job,) = (job for number, job in slurm.jobs(cluster).items() if number not in before)
    assert job["state"] in ("CANCELLED", "COMPLETING")
    end = time.monotonic() + 60
    while slurm.stages_at_work(tmp_path) and time.monotonic() < end:
        time.sleep(0.3)
    assert not slurm.stages_at_work(tmp_path)


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
