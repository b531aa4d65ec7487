# The series of notebooks as a workflow: one rule a notebook, the executed notebook under `log:`, the stage's product under
# `output:`. Paths are relative to the run's folder (snakemake --directory outputs/<run>). A rule's `params:` are the
# sections its notebook shows, so a changed parameter runs again only what depends on it.
#
# Snakemake gives a stage's process as many threads as the rule says: stages that wait for nobody run side by side with
# one thread each, the longest first (priority), and those that everybody waits for take all cores.
#
# `gpu` is what a stage's launch takes, for executors that hand out GPUs; memory, hours and threads of a cluster's jobs
# stand in params/profiles/*/config.yaml.
#
# A notebook counts by its content, which stands among the `params:`: the time of a checkout says nothing. Those are
# functions, since Snakemake takes braces in a text (of a guardrail, of a path) for wildcards.
#
# `guardalign run` starts it and checks the parameters and the folder first.
import json
import sys
from pathlib import Path

from guardalign.config.notebooks import shown_parameters, values_for
from guardalign.config.params import Params
from guardalign.files import fingerprint
from guardalign.launch import gpus

PARAMS = Path(config["params"])
LOADED = Params.load(PARAMS)
SETTINGS = LOADED.sections()
NOTEBOOKS = Path(workflow.basedir) / "notebooks"

# A stage's products are small files that its last cell writes. What is costly (models, replies, verdicts) lies beside
# them under its own fingerprint: Snakemake removes a rule's outputs before it runs, and those must survive that.
COMMAND = "exec {sys.executable:q} -m guardalign.workflow.cli stage {params.notebook} {PARAMS:q} --product {output[0]:q} 2>&1"


# The products of the stages that the plan has arms for.
TRAINED = [f"tables/{stage}.csv" for stage in ("sft", "flow1", "flow2", "methods") if LOADED.study.part(stage)]


def shown(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    sections = values_for(path, SETTINGS)
    return lambda wildcards: json.dumps([fingerprint(path), sections], sort_keys=True)


def gpu(name):
    return gpus(SETTINGS["launch"], shown_parameters(NOTEBOOKS / f"{name}.ipynb"))


# Every product is asked for, not the report alone: a product that a failed run has removed is made again even though an
# older report is still there.
rule series:
    input: "data/pairs.jsonl", "tables/data_card.csv", TRAINED, "tables/judging.csv", "report.html"


rule dataset_construction:
    output: "data/pairs.jsonl", "tables/data_card.csv"
    log: "notebooks/01_dataset_construction.ipynb"
    params: notebook="01_dataset_construction", shown=shown("01_dataset_construction")
    shell: COMMAND


rule sft:
    input: "data/pairs.jsonl"
    output: "tables/sft.csv"
    log: "notebooks/02_sft.ipynb"
    threads: workflow.cores
    resources: gpu=gpu("02_sft")
    params: notebook="02_sft", shown=shown("02_sft")
    shell: COMMAND


rule flow1_alignment:
    priority: 20
    input: "data/pairs.jsonl", "tables/sft.csv"
    output: "tables/flow1.csv"
    log: "notebooks/03_flow1_alignment.ipynb"
    resources: gpu=gpu("03_flow1_alignment")
    params: notebook="03_flow1_alignment", shown=shown("03_flow1_alignment")
    shell: COMMAND


rule flow2_feedback_alignment:
    priority: 10
    input: "data/pairs.jsonl", "tables/sft.csv"
    output: "tables/flow2.csv"
    log: "notebooks/04_flow2_feedback_alignment.ipynb"
    resources: gpu=gpu("04_flow2_feedback_alignment")
    params: notebook="04_flow2_feedback_alignment", shown=shown("04_flow2_feedback_alignment")
    shell: COMMAND


rule method_comparison:
    priority: 30
    input: "data/pairs.jsonl", "tables/sft.csv"
    output: "tables/methods.csv"
    log: "notebooks/05_method_comparison.ipynb"
    resources: gpu=gpu("05_method_comparison")
    params: notebook="05_method_comparison", shown=shown("05_method_comparison")
    shell: COMMAND


rule judging:
    input: "data/pairs.jsonl", TRAINED
    output: "tables/judging.csv"
    log: "notebooks/06_judging.ipynb"
    threads: workflow.cores
    resources: gpu=gpu("06_judging")
    params: notebook="06_judging", shown=shown("06_judging")
    shell: COMMAND


rule plots:
    input: "tables/judging.csv", TRAINED, "tables/data_card.csv"
    output: "report.html"
    log: "notebooks/07_plots.ipynb"
    params: notebook="07_plots", shown=shown("07_plots")
    shell: COMMAND


# Not part of the series: `make tuning`.
rule tuning:
    input: "data/pairs.jsonl"
    output: "tables/tuning.csv"
    log: "notebooks/09_tuning.ipynb"
    threads: workflow.cores
    resources: gpu=gpu("09_tuning")
    params: notebook="09_tuning", shown=shown("09_tuning")
    shell: COMMAND


# Nor are these: `make questions`.
rule question:
    input: "data/pairs.jsonl"
    output: "tables/{question}.csv"
    wildcard_constraints: question="1[0-4]_[a-z_]+"
    log: "notebooks/{question}.ipynb"
    threads: workflow.cores
    resources: gpu=lambda wildcards: gpu(wildcards.question)
    params:
        notebook=lambda wildcards: wildcards.question,
        shown=lambda wildcards: shown(wildcards.question)(wildcards)
    shell: COMMAND
