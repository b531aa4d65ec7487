#!/usr/bin/env python3
"""Print what became of a Kubernetes job (the argument) as Snakemake wants it: running, success or failed."""

import json
import subprocess
import sys


def state(job: str) -> str:
    """A job that is gone has failed; one whose server did not answer is still running as far as anyone knows."""
    asked = subprocess.run(["kubectl", "get", job, "-o", "json", "--ignore-not-found"], capture_output=True, text=True)
    if asked.returncode:
        return "running"
    if not asked.stdout.strip():
        return "failed"
    conditions = json.loads(asked.stdout).get("status", {}).get("conditions") or []
    held = {condition["type"] for condition in conditions if condition["status"] == "True"}
    return "success" if "Complete" in held else "failed" if "Failed" in held else "running"


if __name__ == "__main__":
    print(state(sys.argv[-1]))
