"""End to end against ``transformers serve``, transformers' own OpenAI-compatible server, with a small real model.

The model talks nonsense, so nothing is annotated and nothing judged: what is shown is that real generated text, over
HTTP, is handled and counted, and the run continues.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from comparisons import comparisons, endpoint, pair
from guardalign.annotation.stages import Annotator
from guardalign.config.sections import Annotation, ServerArm
from guardalign.data.conversations import Conversation, Turn
from guardalign.generation.hosted import hosted_replies, requests
from guardalign.judging import canaries
from guardalign.judging.llm_judge import LLMJudge
from guardalign.llm import Client, Endpoint, EndpointError, Message, Request
from tiny import save_checkpoint

NEEDED = ("fastapi", "uvicorn")
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="transformers serve needs fastapi and uvicorn (pip install 'transformers[serving]')",
)


def base_model(folder: Path) -> Path:
    """The embedded base model, or one with random weights where it is not built, with a chat template."""
    from guardalign import world

    shipped = getattr(world, "BASE_MODEL", None)
    if shipped and Path(shipped, "config.json").exists():
        for path in Path(shipped).iterdir():
            if path.is_file():
                (folder / path.name).symlink_to(path.resolve())
        tokenizer = AutoTokenizer.from_pretrained(shipped)
    else:
        tokenizer = AutoTokenizer.from_pretrained(save_checkpoint(folder))
    tokenizer.chat_template = TEMPLATE
    for path in folder.glob("token*"):
        path.unlink()
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


@dataclass
class Served:
    """A running server, its endpoint, and the way to kill it and start it again at the same address."""

    model: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> Endpoint:
        return endpoint(
            f"http://127.0.0.1:{self.port}/v1",
            model=str(self.model),
            reply_format="text",
            max_tokens=24,
            concurrency=2,
            asks=1,
            timeout_seconds=30,
            total_seconds=60,
        )

    def kill(self) -> None:
        stop(self.process)

    def start_again(self) -> None:
        self.process = serve(self.model, self.port)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve") / "model"
    folder.mkdir()
    model, port = base_model(folder), free_port()
    running = Served(model, port, serve(model, port))
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture
def server(served: Served) -> Endpoint:
    return served.endpoint


def test_its_replies_are_an_arm_and_a_cut_off_run_goes_on(server: Endpoint, tmp_path: Path) -> None:
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


def test_construction_ends_in_an_empty_data_card(server: Endpoint, tmp_path: Path) -> None:
    turns = (Turn(role="user", text="Where is my order?"), Turn(role="agent", text="Hello, I look it up."))
    bare = Conversation(id="c1", turns=turns)
    ruled = Conversation(id="c2", turns=turns, guardrails=("The agent must greet the customer.",))
    tagged = ruled.model_copy(update={"id": "c3", "turns": (turns[0], turns[1].model_copy(update={"tagged": True}))})
    client = Client(server, tmp_path, progress=False)
    made = Annotator(client, Annotation(**server.model_dump())).annotate([bare, ruled, tagged])
    assert made.pairs == []
    assert {stage: count for stage, (count, _) in made.yields.items()} == {
        "conversations": 3, "with guardrails": 2, "tagged messages": 1,
        "rejected replies": 0, "confirmed": 0, "points": 0,
    }  # fmt: skip
    assert made.dropped.total() == 3 == client.statistics.calls
    assert "| points | 0 | 0 | - |" in made.markdown()


def test_a_response_format_that_it_ignores_does_no_harm(server: Endpoint, tmp_path: Path) -> None:
    structured = server.model_copy(update={"reply_format": "json_schema"})
    client = Client(structured, tmp_path, progress=False)
    assert all(each.invalid for each in LLMJudge(client).compare(list(comparisons(1)), "one", "two"))
    assert client.statistics.calls == 2


def test_a_server_that_dies_is_gone_on_with_when_it_is_back(served: Served, tmp_path: Path) -> None:
    there = served.endpoint.model_copy(update={"concurrency": 1, "retries": 1})
    questions = [Request(id=str(at), messages=(Message("user", f"hello {at}"),)) for at in range(14)]
    asked = Client(there, tmp_path, progress=False)
    with pytest.raises(EndpointError, match="in a row"):
        for number, outcome in enumerate(asked.run(questions)):
            assert number > 1 or outcome.invalid is None
            if number == 1:
                served.kill()
    done = len(list(tmp_path.glob("??/*.json")))
    assert 2 <= done < 14
    served.start_again()
    again = Client(there, tmp_path, progress=False)
    assert all(outcome.invalid is None for outcome in again.run(questions))
    assert again.statistics.stored == done
