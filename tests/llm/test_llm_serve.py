"""End to end against ``transformers serve``, transformers' own OpenAI-compatible server, with a small real model.

The model talks nonsense, so nothing is judged: what is shown is that real generated text, over HTTP, is handled and
counted.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from comparisons import comparisons, endpoint, pair
from guardalign.config.sections import ServerArm
from guardalign.generation.hosted import hosted_replies, requests
from guardalign.judging import canaries
from guardalign.judging.llm_judge import LLMJudge
from guardalign.llm import Client, Endpoint
from guardalign.world import BASE_MODEL

NEEDED = ("fastapi", "uvicorn")
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="transformers serve needs fastapi and uvicorn (pip install 'transformers[serving]')",
)


def base_model(folder: Path) -> Path:
    """The embedded base model with a chat template."""
    shutil.copytree(BASE_MODEL, folder)
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(model: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--default-seed", "1"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    log = (model.parent / "serve.log").open("ab")
    process = subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return process
        except OSError:
            time.sleep(0.2)
    stop(process)
    pytest.fail("transformers serve did not start: " + (model.parent / "serve.log").read_text()[-2000:])


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    model, port = base_model(tmp_path_factory.mktemp("serve") / "model"), free_port()
    process = serve(model, port)
    try:
        yield endpoint(
            f"http://127.0.0.1:{port}/v1",
            model=str(model),
            reply_format="text",
            max_tokens=24,
            concurrency=2,
            asks=1,
            timeout_seconds=30,
            total_seconds=60,
        )
    finally:
        stop(process)


def test_its_replies_are_an_arm_and_an_interrupted_run_resumes(server: Endpoint, tmp_path: Path) -> None:
    pairs = [pair(at) for at in range(5)]
    arm = ServerArm(**server.model_dump())
    asked = Client(server, tmp_path / "store", progress=False)
    early = [outcome for outcome, _ in zip(asked.run(requests(arm, pairs)), range(2), strict=False)]
    assert [outcome.invalid for outcome in early] == [None, None]
    stored = len(list((tmp_path / "store").glob("??/*.json")))
    replies = hosted_replies(arm, pairs, "served", tmp_path / "store", tmp_path / "served.jsonl")
    assert [reply.pair_id for reply in replies] == [each.id for each in pairs]
    assert all(0 < reply.tokens <= 24 for reply in replies)
    assert 2 <= stored < 5
    again = Client(server, tmp_path / "store", progress=False)
    assert all(outcome.stored for outcome in again.run(requests(arm, pairs)))


def test_judging_ends_in_counted_invalids_never_in_losses(server: Endpoint, tmp_path: Path) -> None:
    client = Client(server, tmp_path, progress=False)
    verdicts = LLMJudge(client).compare(list(comparisons(2)), "one", "two")
    assert len(verdicts) == 4
    assert all(each.invalid is not None and not each.dimensions for each in verdicts)
    assert sum(client.statistics.invalid.values()) == client.statistics.calls == 4
    assert client.ledger.known.tokens == client.statistics.usage.total > 0
    again = Client(server, tmp_path, progress=False)
    LLMJudge(again).compare(list(comparisons(1)), "one", "two")
    assert again.statistics.calls == 2
    report = canaries.check(LLMJudge(client), [pair()], number=1)
    assert str(report).startswith("Do not trust")
