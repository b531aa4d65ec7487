#!/usr/bin/env python3
"""Make a Kubernetes job of Snakemake's job script (the last argument) after job.yaml, and print the job's name."""

import json
import subprocess
import sys
from pathlib import Path
from string import Template


def manifest(script: Path) -> str:
    """job.yaml for a job script, whose second line tells the rule, its threads and its resources."""
    marked = next(line for line in script.read_text().splitlines() if line.startswith("# properties = "))
    properties = json.loads(marked.removeprefix("# properties = "))
    resources = properties["resources"]
    return Template(Path(__file__).with_name("job.yaml").read_text()).safe_substitute(
        rule=properties["rule"].replace("_", "-"),
        script=script.resolve(),
        cpu=properties["threads"],
        memory=resources["mem_mb"],
        gpu=resources.get("gpu", 0),
        seconds=60 * resources["runtime"],
    )


if __name__ == "__main__":
    command = ["kubectl", "create", "-f", "-", "-o", "name"]
    sys.exit(subprocess.run(command, input=manifest(Path(sys.argv[-1])), text=True).returncode)
