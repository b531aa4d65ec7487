"""How fast the language-model judge asks, what it holds in memory, and what a comparison takes in tokens.

    python benchmarks/judge_throughput.py                      # all, some minutes
    python benchmarks/judge_throughput.py --most 5000          # a shorter memory run
    python benchmarks/judge_throughput.py --machine laptop     # names the file under benchmarks/results

The server is the one of the tests, in a process of its own on 127.0.0.1, which answers 200 ms after a call has come.
The ideal rate is concurrency / latency: no judge that waits for replies can be faster. Beside it stands the rate of a
bare client (aiohttp, the same bodies written beforehand, replies thrown away unread): what server and machine give to
anybody. Tokens are counted as 4 bytes each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests" / "support")]

from guardalign.data.conversations import PreferencePair, Turn  # noqa: E402
from guardalign.judging.llm_judge import BOTH, Item, LLMJudge, Order  # noqa: E402
from guardalign.llm import Client, Endpoint  # noqa: E402
from guardalign.processes import peak_resident  # noqa: E402
from misbehaving_server import judge as honest  # noqa: E402

LATENCY, CONCURRENCY, COMPARISONS = 0.2, 64, 1_000
POINTS = 10
BLOCK = 128 * 4
"""Providers cache whole blocks of 128 tokens, from 1,024 tokens on."""
SMALLEST_CACHED = 1_024 * 4

RULES = (
    "The agent must always start the conversation by acknowledging the customer's concern and offering to help.",
    "The agent should explain any charge that the customer asks about, and how it can be avoided, in plain words.",
    "The agent should ask which kind of account the customer has, but must not ask for its number or other data.",
    "Before moving to a secure messaging service, the agent should ask for the customer's consent and name its risks.",
    "If a problem cannot be solved in the conversation, the agent should offer a telephone call or another way.",
    "The agent should name the page of the web site where the customer finds more, whenever there is one.",
    "If the customer is silent for long, the agent should offer to go on at another time.",
    "If the customer shares anything that could harm their security, the agent should politely ask them to remove it.",
)
TEXT = "thank you for writing about your monthly charge I have looked at the account and found the reason for it"
WORDS = TEXT.split()


def say(number: int, words: int) -> str:
    """Some text of so many words, different for every number."""
    return " ".join(WORDS[(number * 7 + at * (1 + number % 3)) % len(WORDS)] for at in range(words)) + f" ({number})."


def comparisons(number: int) -> Iterator[Item]:
    """Conversations of ten points, their history growing by two messages a point; replies of some 60 words."""
    for at in range(number):
        conversation, point = divmod(at, POINTS)
        turns = tuple(
            Turn(role="user" if turn % 2 == 0 else "agent", text=say(conversation * 100 + turn, 35))
            for turn in range(2 * point + 1)
        )
        pair = PreferencePair(
            id=f"{conversation}.{point}",
            conversation_id=str(conversation),
            turns=turns,
            chosen="",
            rejected="",
            guardrails=tuple(f"{rule} (Company {conversation}.)" for rule in RULES),
        )
        yield pair, say(at, 60), f"{say(at + 1, 60)} BREAKS 3 CLAIM reason"


@contextlib.contextmanager
def server(latency: float) -> Iterator[str]:
    command = [sys.executable, str(ROOT / "tests" / "support" / "misbehaving_server.py"), "--latency", str(latency)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.stdin.close()
        process.wait(30)


def client(url: str, store: Path) -> Client:
    return Client(Endpoint(model="gpt-4o", base_url=url, concurrency=CONCURRENCY), store, progress=False)


async def post_all(url: str, bodies: list[bytes]) -> None:
    """Send every body, so many at a time, and read the replies."""
    waiting = iter(bodies)

    async def post(session: aiohttp.ClientSession) -> None:
        for body in waiting:
            headers = {"content-type": "application/json", "idempotency-key": os.urandom(8).hex()}
            async with session.post(f"{url}/chat/completions", data=body, headers=headers) as reply:
                await reply.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:
        await asyncio.gather(*(post(session) for _ in range(CONCURRENCY)))


def bare_seconds(items: list[Item]) -> float:
    with server(LATENCY) as url, tempfile.TemporaryDirectory() as store:
        judge = LLMJudge(client(url, Path(store)))
        there = judge.client.endpoint
        bodies = [json.dumps(judge.request(item, order).body(there)) for item in items for order in BOTH]
        start = time.perf_counter()
        asyncio.run(post_all(url, [body.encode() for body in bodies]))
        return time.perf_counter() - start


def throughput() -> dict[str, float]:
    """1,000 comparisons in both orders, then the same again from the store, beside a bare client's rate."""
    items = list(comparisons(COMPARISONS))
    bare = bare_seconds(items[1:])
    with server(LATENCY) as url, tempfile.TemporaryDirectory() as store:
        judge = LLMJudge(client(url, Path(store)))
        judge.compare(items[:1], "warm", "up")
        calls = (len(items) - 1) * len(BOTH)
        start, cpu = time.perf_counter(), time.process_time()
        verdicts = judge.compare(items, "one", "two")
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        again = LLMJudge(client(url, Path(store)))
        start = time.perf_counter()
        assert again.compare(items, "one", "two") == verdicts
        replay = time.perf_counter() - start
    assert not any(verdict.invalid for verdict in verdicts)
    ideal = calls * LATENCY / CONCURRENCY
    return {
        "seconds": seconds,
        "ideal_seconds": ideal,
        "share_of_ideal_rate": ideal / seconds,
        "bare_seconds": bare,
        "bare_share_of_ideal_rate": ideal / bare,
        "share_of_bare_rate": bare / seconds,
        "cpu_ms_per_call": 1000 * cpu / calls,
        "second_run_seconds": replay,
        "second_run_calls": again.client.statistics.calls,
    }


def stream(number: int, orders: tuple[Order, ...]) -> None:
    """Judge ``number`` comparisons, verdicts thrown away as they come; prints the process's largest memory, in MB."""
    with server(0.0) as url, tempfile.TemporaryDirectory() as store:
        judge = LLMJudge(client(url, Path(store)), orders=orders)
        start = time.perf_counter()
        invalid = sum(verdict.invalid is not None for _, verdict in judge.stream(comparisons(number), "one", "two"))
        seconds = time.perf_counter() - start
    peak = peak_resident() / 2**20
    print(
        json.dumps(
            {"comparisons": number, "orders": len(orders), "peak_mb": peak, "seconds": seconds, "invalid": invalid}
        )
    )


def memory(most: int) -> list[dict[str, float]]:
    """The largest memory of a judge's process, for 1,000 comparisons and for ``most``."""
    command = [sys.executable, __file__, "--stream"]
    runs = (
        subprocess.run([*command, str(number)], capture_output=True, text=True, check=True) for number in (1_000, most)
    )
    return [json.loads(run.stdout) for run in runs]


def tokens(number: int = 500) -> dict[str, float]:
    """Tokens and dollars per comparison (both orders)."""
    prompt = completion = 0
    with tempfile.TemporaryDirectory() as store:
        asked = client("http://127.0.0.1:1/v1", Path(store))
        judge = LLMJudge(asked)
        for item in comparisons(number):
            for order in BOTH:
                body = judge.request(item, order).body(asked.endpoint)
                prompt += sum(len(message["content"].encode()) for message in body["messages"])
                completion += len(honest(body).encode())
    price = asked.price
    assert price is not None
    dollars = (prompt * price.prompt + completion * price.completion) / 4 / number / 1e6
    return {"prompt": prompt / 4 / number, "completion": completion / 4 / number, "dollars": dollars}


def common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def cacheable(number: int = 500) -> dict[str, float]:
    """The share of prompt tokens that stand in a beginning some earlier prompt had: byte by byte, and by blocks of
    128 tokens from 1,024 on, as providers cache."""
    with tempfile.TemporaryDirectory() as store:
        judge = LLMJudge(client("http://127.0.0.1:1/v1", Path(store)))
        prompts = (
            "\x00".join(message.content for message in judge.request(item, order).messages)
            for item in comparisons(number)
            for order in BOTH
        )
        seen: set[str] = set()
        previous: list[str] = []
        total = blocks = exact = 0
        for prompt in prompts:
            total += len(prompt)
            exact += max((common(prompt, other) for other in previous), default=0)
            previous = [*previous, prompt][-2 * POINTS * 2 :]
            known = 0
            for end in range(SMALLEST_CACHED, len(prompt) + 1, BLOCK):
                if prompt[:end] not in seen:
                    break
                known = end
            blocks += known
            seen.update(prompt[:end] for end in range(SMALLEST_CACHED, len(prompt) + 1, BLOCK))
    return {"in_shared_prefixes": exact / total, "in_blocks_providers_cache": blocks / total}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--machine", default=f"{platform.machine()}-{os.cpu_count()}cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most", type=int, default=50_000)
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stream:
        stream(arguments.stream, BOTH[:1])
        return
    load = os.getloadavg()[0]
    result = {
        "machine": {"name": arguments.machine, "cpus": os.cpu_count(), "python": platform.python_version()},
        "setting": {"comparisons": COMPARISONS, "orders": 2, "latency_seconds": LATENCY, "concurrency": CONCURRENCY},
        "load_before": load,
        "throughput": [throughput() for _ in range(arguments.repeats)],
        "tokens_per_comparison": tokens(),
        "prompt_cache": cacheable(),
        "memory": memory(arguments.most),
    }
    path = ROOT / "benchmarks" / "results" / f"judge-{arguments.machine}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
