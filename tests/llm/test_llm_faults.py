"""Two thousand comparisons against a server that misbehaves, by a judge that is killed three times on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from comparisons import IMPATIENT, comparisons, endpoint
from guardalign.judging.llm_judge import LLMJudge
from guardalign.llm import Client
from guardalign.llm.structured import Unreadable, the_object
from misbehaving_server import FAULTS, Server, sometimes

COMPARISONS = 2_000
FAULTY = 0.2


def answered(store: Path) -> set[str]:
    """The questions whose store holds a verdict (the reply to them is one object with the right item)."""
    found = set()
    for path in store.glob("??/*.json"):
        record = json.loads(path.read_bytes())
        for reply in record["replies"]:
            try:
                answer = the_object(reply["text"])
            except Unreadable:
                continue
            if answer.get("item", "?") in record["request"]["body"]["messages"][-1]["content"] and "A" in answer:
                found.add(path.stem[:40])
    return found


def judge_until_killed(server: Server, store: Path, after: int) -> int:
    """Start a judge in a process of its own, kill it when it has made ``after`` calls; returns its exit status."""
    calls = server.calls
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "support" / "comparisons.py"),
        server.url,
        str(store),
        str(COMPARISONS),
    ]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + 300
    while server.calls < calls + after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait(60)


def test_every_comparison_ends_and_none_is_paid_for_twice(tmp_path: Path) -> None:
    dice = random.Random(7)
    with Server(schedule=sometimes(FAULTY, seed=5), silence=5.0, latency=0.01) as server:
        for _ in range(3):
            before, seen = answered(tmp_path), len(server.headers)
            assert judge_until_killed(server, tmp_path, dice.randrange(20, 700)) == -signal.SIGKILL
            asked = {headers["idempotency-key"][:40] for headers in server.headers[seen:]}
            assert asked
            assert not asked & before
        assert 0 < len(answered(tmp_path)) < COMPARISONS
        before, seen = answered(tmp_path), len(server.headers)

        client = Client(endpoint(server.url, **IMPATIENT), tmp_path, progress=False)
        verdicts = LLMJudge(client, orders=("12",)).compare(list(comparisons(COMPARISONS)), "one", "two")
        asked = {headers["idempotency-key"][:40] for headers in server.headers[seen:]}
        assert not asked & before

        assert len(verdicts) == COMPARISONS
        assert [each.pair_id for each in verdicts] == [pair.id for pair, _, _ in comparisons(COMPARISONS)]
        valid = [each for each in verdicts if each.invalid is None]
        assert {tuple(each.dimensions[name].bin for name in sorted(each.dimensions)) for each in valid} == {
            ("2 better", "1 better", "both")
        }
        counted = Counter((each.invalid or "").split(":")[0] for each in verdicts if each.invalid)
        assert counted == client.statistics.invalid
        assert 0 < sum(counted.values()) < 0.1 * COMPARISONS
        assert set(server.faults) == set(FAULTS)

        # One completion for each Idempotency-Key: nothing was made twice, whatever was lost on the line or by a kill.
        assert set(server.billed.values()) == {1}
        assert client.ledger.known.tokens <= client.ledger.most.tokens

        # What stayed invalid is asked again by the next run, and nothing else is.
        seen = len(server.headers)
        again = Client(endpoint(server.url, **IMPATIENT), tmp_path, progress=False)
        LLMJudge(again, orders=("12",)).compare(list(comparisons(COMPARISONS)), "one", "two")
        asked = {headers["idempotency-key"][:40] for headers in server.headers[seen:]}
        assert len(asked) == sum(counted.values())
        assert again.statistics.stored == len(valid)
