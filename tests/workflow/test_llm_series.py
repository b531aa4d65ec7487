"""The series with a language model wherever one can stand: annotating, filtering for Flow 2, judging, as an arm.

Where there is a Slurm, every stage is a job of it, and the first one is killed. Afterwards no file of the run holds the
key that the server was reached with.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import slurm
from comparisons import endpoint
from guardalign.data.conversations import PreferencePair
from guardalign.files import read_rows
from guardalign.judging.verdicts import Verdict
from misbehaving_server import Server, judge, slots, sometimes
from series import NAMES, environment, parameters, run, save_base, start, write_parameters
from tests.annotation.test_annotation import annotator, conversation

SECRET = "sk-series-0b9d27c64f1e"
CONVERSATIONS = 12


def model(body: dict[str, Any]) -> str:
    """One model in every role. As the judge it finds that a reply that neither helps nor thanks breaks rule 1."""
    system = body["messages"][0]["content"] if body["messages"][0]["role"] == "system" else ""
    if "You judge the replies" not in system:
        return annotator(body) if system else "Hello and thank you, I look up your order."
    answer, replies = json.loads(judge(body)), slots(body)["replies"]
    good = {name: bool(re.search(r"\b(help|thank)\b", text)) for name, text in replies.items()}
    for name, fine in good.items():
        answer[name]["guardrails"][0]["status"] = "complied" if fine else "broken"
        answer[name]["naturalness"]["acceptable"] = True
    answer["preference"]["adherence"] = "tie" if good["A"] == good["B"] else "A" if good["A"] else "B"
    answer["preference"]["naturalness"] = "tie"
    return json.dumps(answer)


def settings(server: Server, folder: Path) -> dict[str, Any]:
    """One's own conversations, everything asked of one server that fails one time in twenty."""
    path = folder / "own.jsonl"
    rows = (conversation(number).model_dump(mode="json") for number in range(CONVERSATIONS))
    path.write_text("".join(json.dumps({"id": row["id"], "turns": row["turns"]}) + "\n" for row in rows))
    there = endpoint(server.url, asks=4).model_dump()
    return parameters(
        folder / "run",
        save_base(folder / "base"),
        source={"kind": "jsonl", "path": str(path), "annotation": there, "shares": {"train": 0.4, "feedback": 0.3}},
        judge=there | {"kind": "llm", "canaries": 2},
        generation={"max_new_tokens": 8, "batch_size": 16, "replies": {"hosted": there}},
    )


def run_as_jobs(params: Path, folder: Path) -> tuple[int, str]:
    """Exit code and output of the series on a Slurm that lives in ``folder`` and kills the first of its jobs.

    Where no Slurm comes up, the series runs here.
    """
    if slurm.missing():
        return run(params)
    with ExitStack() as stack:
        try:
            found = stack.enter_context(slurm.cluster(folder / "cluster", nodes=2, cpus=1))
        except RuntimeError:
            return run(params)
        workflow = start(params, "--profile", str(slurm.profile(folder / "profile")), cluster=found)
        try:
            slurm.wait_for(lambda: slurm.stages_at_work(params), workflow)
            (first,) = slurm.jobs(found)
            subprocess.run(["scancel", first], env=environment() | found, check=True)
            output, _ = workflow.communicate(timeout=1500)
        finally:
            workflow.kill()
        ended = Counter((job["comment"], job["state"]) for job in slurm.jobs(found).values())
    rules = [f"rule_{name[3:]}" for name in NAMES]
    assert ended == {(rule, "COMPLETED"): 1 for rule in rules} | {(rules[0], "CANCELLED"): 1}, output
    return workflow.returncode, output


def test_the_series_runs_on_a_language_model_and_leaves_no_key(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with Server(model, schedule=sometimes(0.05, faults=("429", "500", "reset", "prose"))) as server:
        params = write_parameters(tmp_path / "own.yaml", settings(server, tmp_path))
        code, output = run_as_jobs(params, tmp_path_factory.mktemp("slurm"))
        assert code == 0, output
        assert server.headers[0]["authorization"] == f"Bearer {SECRET}"
    folder = tmp_path / "run"
    pairs = read_rows(folder / "data" / "pairs.jsonl", PreferencePair)
    assert len(pairs) == 2 * CONVERSATIONS
    verdicts = read_rows(folder / "verdicts" / "M_1SFT_ipo-vs-hosted.jsonl", Verdict)
    assert {each.dimensions["adherence"].bin for each in verdicts if not each.invalid} == {"2 better"}
    assert len(verdicts) == 2 * len([pair for pair in pairs if pair.split == "test"])
    kept = read_rows(folder / "data" / "feedback-N_1SFT.jsonl", PreferencePair)
    assert 0 < len(kept) <= len([pair for pair in pairs if pair.split == "feedback"])
    assert "| points | 24 | 24 | 100% |" in (folder / "tables" / "annotation.md").read_text()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {f"{name}.{kind}" for name in NAMES for kind in ("ipynb", "html")} <= names
    assert {"ledger.jsonl", "report.html", "snakemake.log", "dpo-vs-chosen.jsonl"} <= names
    assert SECRET not in output
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
