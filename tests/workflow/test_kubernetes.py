"""The profile for Kubernetes as far as it goes without a cluster: a stand-in for kubectl runs what the jobs say."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time

import pytest
import yaml

from series import ROOT, environment

PROFILE = ROOT / "params" / "profiles" / "kubernetes"
# Keeps each manifest, runs its container's command at once, and answers as the real one does.
KUBECTL = """#!{python}
import json, os, subprocess, sys, yaml
from pathlib import Path
folder = Path(os.environ["JOBS"])
if sys.argv[1] == "create":
    job = yaml.safe_load(sys.stdin)
    name = job["metadata"]["generateName"] + str(len(list(folder.iterdir())))
    done = subprocess.run(job["spec"]["template"]["spec"]["containers"][0]["command"], capture_output=True, text=True)
    kind = "Failed" if done.returncode else "Complete"
    status = {{"conditions": [{{"type": kind, "status": "True"}}]}}
    (folder / name).write_text(json.dumps(job | {{"status": status, "log": done.stdout + done.stderr}}))
    print("job.batch/" + name)
else:
    path = folder / sys.argv[2].removeprefix("job.batch/")
    print(path.read_text() if path.exists() else "")
"""
SNAKEFILE = """
rule first_stage:
    output: "made.txt"
    threads: 2
    resources: gpu=1
    shell: "test -e once || {{ touch once; exit 1; }}; echo made > {output}"
"""


@pytest.fixture
def cluster(tmp_path):
    """The environment with the stand-in, and the folder of the jobs it was given."""
    tool = tmp_path / "bin" / "kubectl"
    tool.parent.mkdir()
    tool.write_text(KUBECTL.format(python=sys.executable))
    tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
    (tmp_path / "jobs").mkdir()
    path = os.pathsep.join([str(tool.parent), os.environ["PATH"]])
    return environment() | {"PATH": path, "JOBS": str(tmp_path / "jobs")}, tmp_path / "jobs"


def test_a_failed_job_is_made_again_with_what_its_rule_asks_for(cluster, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    found, jobs = cluster
    profile = tmp_path / "profile"
    shutil.copytree(PROFILE, profile)
    settings = yaml.safe_load((profile / "config.yaml").read_text())
    settings |= {"latency-wait": 5, "seconds-between-status-checks": 1}
    settings = {key: value for key, value in settings.items() if key not in ("set-threads", "set-resources")}
    (profile / "config.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(profile), "--", "made.txt"]
    done = subprocess.run(command, env=found, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made.txt").read_text() == "made\n"
    first, second = (json.loads(path.read_text()) for path in sorted(jobs.iterdir()))
    assert [job["status"]["conditions"][0]["type"] for job in (first, second)] == ["Failed", "Complete"]
    assert first["metadata"]["generateName"] == "guardalign-first-stage-"
    (container,) = second["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "2", "memory": "16000M"},
        "limits": {"memory": "16000M", "nvidia.com/gpu": "1"},
    }
    assert second["spec"]["activeDeadlineSeconds"] == 7200
    claims = {volume["name"] for volume in second["spec"]["template"]["spec"]["volumes"]}
    assert claims == {mount["name"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("status, state", [({}, "running"), (None, "failed"), ({"conditions": None}, "running")])
def test_a_job_that_is_gone_has_failed_and_one_without_a_word_goes_on(cluster, status, state):
    found, jobs = cluster
    if status is not None:
        (jobs / "some").write_text(json.dumps({"status": status}))
    asked = [str(PROFILE / "status.py"), "job.batch/some"]
    assert subprocess.run(asked, env=found, capture_output=True, text=True, check=True).stdout.strip() == state


def test_a_server_that_does_not_answer_is_no_failure(tmp_path):
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho no route >&2; exit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    found = environment() | {"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])}
    asked = [str(PROFILE / "status.py"), "job.batch/some"]
    assert subprocess.run(asked, env=found, capture_output=True, text=True, check=True).stdout.strip() == "running"


def test_a_pod_told_to_end_lets_its_stage_save(tmp_path):
    """What job.yaml starts is a pod's first process: it passes SIGTERM on and ends as the stage does."""
    stage = tmp_path / "stage.sh"
    stage.write_text("trap 'echo saved > saved; exit 75' TERM; touch started; while :; do sleep 0.05; done\n")
    job = yaml.safe_load((PROFILE / "job.yaml").read_text())
    *command, script = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert script == "${script}"
    pod = subprocess.Popen([*command, str(stage)], cwd=tmp_path, start_new_session=True)
    end = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < end:
        time.sleep(0.05)
    pod.terminate()
    assert pod.wait(60) == 75
    assert (tmp_path / "saved").read_text() == "saved\n"
