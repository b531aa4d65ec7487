"""A small OpenAI-compatible server that misbehaves on schedule, over real sockets.

It answers judge prompts by reading them as a model would: the slots of the user message are found by their marks. A
reply breaks guardrail k where it says ``BREAKS k``, is not natural where it says ``UNNATURAL``, and claims what follows
``CLAIM``. Every completion that it makes is billed; one sent again under the same Idempotency-Key is not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

SLOT = re.compile(r"<<<(\w+) ([0-9a-f]{16})\n(.*)\n\2 \1>>>")
BEFORE_ANSWERING = ("429", "429 retry-after", "500", "503", "reset", "silence")
SPOILT = ("cut JSON", "wrong schema", "echo", "wrong item", "refusal", "length")
HARMLESS = ("prose", "twice", "slow drip", "sent twice")
ON_THE_LINE = ("cut body", "endless drip", "reset midway")
FAULTS = BEFORE_ANSWERING + SPOILT + HARMLESS + ON_THE_LINE


def slots(body: dict[str, Any]) -> dict[str, Any]:
    """The data in the slots of a prompt, decoded."""
    return {name: json.loads(data) for name, _, data in SLOT.findall(body["messages"][-1]["content"])}


def judge(body: dict[str, Any]) -> str:
    """An honest verdict on the item of a judge prompt."""
    data = slots(body)
    item = re.search(r"Judge item ([0-9a-f]+)\.", SLOT.sub("", body["messages"][-1]["content"]))[1]
    asked = judged_dimensions(body)
    findings = {name: assess(text, data["guardrails"], asked) for name, text in data["replies"].items()}
    preference = {dimension: prefer(findings, dimension) for dimension in asked}
    return json.dumps({"item": item, **findings, "preference": preference})


def judged_dimensions(body: dict[str, Any]) -> list[str]:
    headings = re.findall(r"^## (\w+)$", body["messages"][0]["content"], re.MULTILINE)
    return [name.lower() for name in headings if name != "Answer"]


def assess(text: str, guardrails: dict[str, str], asked: list[str]) -> dict[str, Any]:
    words = " ".join(text.split()[:4])
    broken = set(re.findall(r"BREAKS (\d+)", text))
    fields = {
        "guardrails": [
            {
                "number": int(number),
                "status": "broken" if number in broken else "complied" if words else "not applicable",
                "quote": words,
                "reason": "so it says",
            }
            for number in guardrails
        ],
        "naturalness": {"acceptable": "UNNATURAL" not in text and bool(words), "reason": "so it says"},
        "claims": [{"quote": claim, "source": "none", "evidence": ""} for claim in re.findall(r"CLAIM (\w+)", text)],
    }
    kept = {"adherence": "guardrails", "naturalness": "naturalness", "hallucination": "claims"}
    return {kept[name]: fields[kept[name]] for name in asked}


def prefer(findings: dict[str, Any], dimension: str) -> str:
    def badness(name: str) -> int:
        found = findings[name]
        if dimension == "adherence":
            return sum(each["status"] == "broken" for each in found["guardrails"])
        return not found["naturalness"]["acceptable"] if dimension == "naturalness" else len(found["claims"])

    a, b = badness("A"), badness("B")
    return "tie" if a == b else "A" if a < b else "B"


class Server:
    """Runs in a thread of its own while used as a context manager.

    ``schedule(n)`` names the fault of call n (from 0; any status will do, with "retry-after" and its value behind it),
    or None. ``silence``: seconds that a silent or endlessly dripping reply lasts. ``keep``: whether to remember request
    bodies and headers. ``errors``: message or whole error by fault. ``usage`` changes what is reported.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], str] | None = None,
        schedule: Callable[[int], str | None] = lambda n: None,
        latency: float = 0.0,
        silence: float = 5.0,
        port: int = 0,
        keep: bool = True,
        idempotent: bool = True,
    ) -> None:
        self.answer, self.schedule, self.latency, self.silence = answer or judge, schedule, latency, silence
        self.keep, self.idempotent, self.port = keep, idempotent, port
        self.calls = 0
        self.tokens = 0
        self.billed: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.errors: dict[str, str | dict[str, str]] = {}
        self.usage: dict[str, Any] = {}
        self.paths: deque[str] = deque(maxlen=100)
        self._made: dict[str, dict[str, Any]] = {}
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                content = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = head[0].split(" ")
                await self.route(method, path, headers, content, writer)
        writer.transport.abort()

    async def route(
        self, method: str, path: str, headers: dict[str, str], content: bytes, writer: asyncio.StreamWriter
    ) -> None:
        self.paths.append(path)
        if method != "POST" or not path.split("?")[0].endswith("/chat/completions"):
            await send(writer, 404, {"error": {"message": f"no {path} here"}})
            return
        body = json.loads(content)
        number, self.calls = self.calls, self.calls + 1
        if self.keep:
            self.bodies.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
        fault = self.schedule(number)
        if fault:
            self.faults[fault] += 1
        failing = fault in BEFORE_ANSWERING or (fault or "")[:3].isdigit()
        began = time.monotonic()
        made = {} if failing else self._complete(body, fault, headers.get("idempotency-key", ""))
        # Making the reply is part of the latency: on top of it, a wave of calls would wait for each other's replies.
        await asyncio.sleep(max(0.0, self.latency - (time.monotonic() - began)))
        if failing:
            await self._fail(fault or "", writer)
        else:
            await self._deliver(fault, made, writer)

    async def _fail(self, fault: str, writer: asyncio.StreamWriter) -> None:
        if fault == "reset":
            writer.transport.abort()
            raise ConnectionResetError
        if fault == "silence":
            await asyncio.sleep(self.silence)
            raise ConnectionResetError
        _, waits, wait = fault.partition("retry-after")
        extra = {"retry-after": wait.strip() or "0.2"} if waits else {}
        message = self.errors.get(fault, fault)
        await send(
            writer, int(fault[:3]), {"error": message if isinstance(message, dict) else {"message": message}}, extra
        )

    def _complete(self, body: dict[str, Any], fault: str | None, key: str) -> dict[str, Any]:
        """The completion; made and billed once for every Idempotency-Key."""
        if self.idempotent and key in self._made:
            return self._made[key]
        self.billed[key] += 1
        answer = completion(body, *spoil(self.answer(body), fault, body))
        answer["usage"] |= self.usage
        self.tokens += answer["usage"]["total_tokens"]
        if self.idempotent:
            self._made[key] = answer
        return answer

    async def _deliver(self, fault: str | None, made: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        data = json.dumps(made).encode()
        if fault == "deep body":
            await send_bytes(writer, 200, b'{"choices":' + b"[" * 200_000)
        elif fault == "cut body":
            await send_bytes(writer, 200, data[: len(data) // 2])
        elif fault == "reset midway":
            writer.write(header(200, len(data)) + data[: len(data) // 2])
            await writer.drain()
            writer.transport.abort()
            raise ConnectionResetError
        elif fault in ("slow drip", "endless drip"):
            await self._drip(data, 0.05 if fault == "slow drip" else self.silence, writer)
        else:
            await send_bytes(writer, 200, data)
            if fault == "sent twice":
                await send_bytes(writer, 200, data)

    async def _drip(self, data: bytes, seconds: float, writer: asyncio.StreamWriter) -> None:
        writer.write(header(200, len(data)))
        pieces = 10 if seconds < 1 else int(seconds / 0.05)
        for at in range(pieces):
            writer.write(data[len(data) * at // pieces : len(data) * (at + 1) // pieces])
            await writer.drain()
            await asyncio.sleep(seconds / pieces)


def spoil(text: str, fault: str | None, body: dict[str, Any]) -> tuple[str, str, str | None]:
    """Content, finish_reason and refusal of a reply with ``fault``."""
    if fault == "cut JSON":
        return text[: len(text) * 2 // 3], "stop", None
    if fault == "length":
        return text[: len(text) * 2 // 3], "length", None
    if fault == "refusal":
        return "", "stop", "I cannot help with that."
    changed = {
        "wrong schema": lambda: json.dumps({"verdict": "A", "item": "?"}),
        "echo": lambda: body["messages"][-1]["content"],
        "wrong item": lambda: re.sub(r'"item": "[0-9a-f]{16}"', '"item": "00000000deadbeef"', text),
        "prose": lambda: f"Certainly! Here is my verdict:\n```json\n{text}\n```\nI hope this helps {{you}}.",
        "twice": lambda: f"{text}\n{text}",
    }
    return changed.get(fault or "", lambda: text)(), "stop", None


def completion(body: dict[str, Any], content: str, finish: str, refusal: str | None) -> dict[str, Any]:
    prompt = sum(len(message["content"]) for message in body["messages"]) // 4
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": len(content) // 4 + 1,
            "total_tokens": prompt + len(content) // 4 + 1,
        },
    }


def header(status: int, length: int, extra: dict[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in (extra or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def send_bytes(
    writer: asyncio.StreamWriter, status: int, data: bytes, extra: dict[str, str] | None = None
) -> None:
    writer.write(header(status, len(data), extra) + data)
    await writer.drain()


async def send(writer: asyncio.StreamWriter, status: int, data: Any, extra: dict[str, str] | None = None) -> None:
    await send_bytes(writer, status, json.dumps(data).encode(), extra)


def sometimes(share: float, seed: int = 0, faults: tuple[str, ...] = FAULTS) -> Callable[[int], str | None]:
    """A schedule that spoils ``share`` of the calls, all faults equally often; the same for the same seed."""
    dice = random.Random(seed)

    def schedule(number: int) -> str | None:
        return dice.choice(faults) if dice.random() < share else None

    return schedule


def main() -> None:
    """Serve judge prompts for benchmarks: prints the port, then serves until the input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    arguments = parser.parse_args()
    with Server(latency=arguments.latency, keep=False, idempotent=False) as server:
        print(server.port, flush=True)
        input()


if __name__ == "__main__":
    with contextlib.suppress(EOFError):
        main()
