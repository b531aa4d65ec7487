"""A Slurm cluster of one machine: its own munge, controller and nodes in a folder, gone with the test."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL

import psutil
import yaml

from guardalign.processes import end_tree, start
from series import ROOT

PROFILE = ROOT / "params" / "profiles" / "slurm" / "config.yaml"
# What a cluster of one small machine without accounting has otherwise than the profile says.
HERE = {
    "slurm-status-command": "squeue",
    "slurm-init-seconds-before-status-checks": 7,  # the next comes 17 s later
    "latency-wait": 5,
    "default-resources": {"slurm_partition": "main", "mem_mb": 1000, "runtime": 20},
    "set-threads": {"sft": 1, "judging": 1},
    "set-resources": {"sft": {"mem_mb": 2000}},
}
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
CONFIGURATION = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_min_interval=200000,bf_interval=1
MinJobAge=3600
KillWait=5
UnkillableStepTimeout=10
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """What this machine lacks for a cluster of its own, or None."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"no Slurm here: {', '.join(absent)} not found (Debian: apt-get install slurm-wlm munge)"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "Snakemake's executor for Slurm is not installed"
    return None if os.geteuid() == 0 else "the node daemon of Slurm starts as root only"


@contextmanager
def cluster(folder: Path, nodes: int = 1, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Start a cluster and yield the variables with which ``sbatch`` and its like find it.

    Raises RuntimeError with the end of the logs where the nodes do not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir()
    names = [f"node{number}" for number in range(nodes)]
    settings = _configure(folder, names, cpus)
    path = os.pathsep.join([str(_srun(folder, settings)), PATH])
    environment = {"SLURM_CONF": str(settings), "PATH": path}
    with ExitStack() as stack:
        for command in _daemons(folder, settings, names):
            log = stack.enter_context((folder / f"{command[0]}.out").open("a"))
            child = start(command, env=os.environ | environment, stdin=DEVNULL, stdout=log, stderr=log)
            stack.callback(end_tree, child.pid, patience=5.0)
            _wait_for_socket(folder)
        _wait_for_nodes(environment, names, folder)
        stack.callback(_cancel_all, environment)
        yield environment


def jobs(environment: dict[str, str]) -> dict[str, dict[str, str]]:
    """Every job the controller remembers, by id: its state and its rule's name as the comment tells it."""
    output = _ask(environment, "squeue", "--states=all", "--noheader", "--format=%i|%T|%k")
    rows = [line.split("|", 2) for line in output.splitlines() if line.strip()]
    return {number: {"state": state, "comment": comment} for number, state, comment in rows}


def profile(folder: Path) -> Path:
    """The project's own profile in ``folder``, as it has to be for the cluster here."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(yaml.safe_load(PROFILE.read_text()) | HERE))
    return folder


def stages_at_work(folder: Path) -> list[int]:
    """Living processes that execute a notebook of the run in ``folder``."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and {"stage", "papermill"} & set(process.info["cmdline"] or [])
        and str(folder) in " ".join(process.info["cmdline"] or [])
    ]


def wait_for(found: Callable[[], object], workflow: subprocess.Popen[str], seconds: float = 600.0) -> None:
    """Return when ``found`` says so; fails where the workflow ends before, or the time has passed."""
    end = time.monotonic() + seconds
    while not found():
        assert workflow.poll() is None, workflow.stdout and workflow.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.3)


def _configure(folder: Path, names: list[str], cpus: int) -> Path:
    ports = free_ports(len(names) + 1)
    rest = f"NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000"
    lines = [f"NodeName={name} Port={port} {rest}" for name, port in zip(names, ports[1:], strict=True)]
    text = CONFIGURATION.format(
        host=socket.gethostname(),
        controller=ports[0],
        user=pwd.getpwuid(os.geteuid()).pw_name,
        folder=folder,
        nodes="\n".join(lines),
    )
    path = folder / "slurm.conf"
    path.write_text(text)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    return path


def _srun(folder: Path, settings: Path) -> Path:
    """A folder with an ``srun`` that knows the cluster: Snakemake's job step takes SLURM_CONF out of its environment,
    which is fine only where the configuration is in /etc."""
    script = folder / "bin" / "srun"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nSLURM_CONF={settings} exec {shutil.which("srun", path=PATH)} "$@"\n')
    script.chmod(0o755)
    return script.parent


def _daemons(folder: Path, settings: Path, names: list[str]) -> list[list[str]]:
    munge = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"]
    munge += [f"--{kind}-file={folder}/munge.{kind}" for kind in ("pid", "log", "seed")]
    return [
        munge,
        ["slurmctld", "-D", "-c", "-f", str(settings)],
        *(["slurmd", "-D", "-f", str(settings), "-N", name] for name in names),
    ]


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for_socket(folder: Path) -> None:
    end = time.monotonic() + 20
    while not (folder / "munge.socket").exists():
        if time.monotonic() > end:
            raise RuntimeError(f"munge did not start:\n{_logs(folder)}")
        time.sleep(0.05)


def _wait_for_nodes(environment: dict[str, str], names: list[str], folder: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        states = _ask(environment, "sinfo", "--noheader", "--Node", "--format=%T").split()
        if states == ["idle"] * len(names):
            return
        time.sleep(0.2)
    raise RuntimeError(f"Slurm's nodes did not come up:\n{_logs(folder)}")


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-1500:] for path in sorted(folder.glob("*.[lo][ou][gt]")))


def _ask(environment: dict[str, str], *command: str) -> str:
    variables = os.environ | environment
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30).stdout


def _cancel_all(environment: dict[str, str]) -> None:
    _ask(environment, "scancel", "--full", "--state=RUNNING")
    _ask(environment, "scancel", "--state=PENDING")
    end = time.monotonic() + 15
    while _ask(environment, "squeue", "--noheader") and time.monotonic() < end:
        time.sleep(0.2)
