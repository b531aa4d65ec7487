"""The Batch API mode against a local server of its endpoints: half the price, resumable, nothing asked twice."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from batch_server import BatchServer
from comparisons import comparisons, endpoint
from guardalign.errors import GuardalignError
from guardalign.judging.llm_judge import LLMJudge
from guardalign.llm import BudgetReached, Client, EndpointError, Message, Request
from guardalign.llm.batch import BatchRecord


def judge(server: BatchServer, store: Path, **changes: object) -> LLMJudge:
    settings = {"mode": "batch", "poll_seconds": 0.01, "retries": 1, "timeout_seconds": 5, "total_seconds": 5}
    return LLMJudge(Client(endpoint(server.url, **(settings | changes)), store, progress=False))


def states(store: Path) -> list[str]:
    paths = sorted(store.glob("batches/*.json"))
    return [BatchRecord.model_validate_json(path.read_text()).state for path in paths]


def test_a_batch_gives_the_verdicts_of_single_calls_at_half_the_price(tmp_path: Path) -> None:
    with BatchServer() as server:
        batched = judge(server, tmp_path / "batch")
        verdicts = batched.compare(list(comparisons(6)), "one", "two")
        assert server.calls == 0
        assert len(server.batches) == 1
        single = LLMJudge(Client(endpoint(server.url), tmp_path / "single", progress=False))
        assert single.compare(list(comparisons(6)), "one", "two") == verdicts
    assert batched.client.statistics.cost == pytest.approx(single.client.statistics.cost / 2)
    assert batched.client.statistics.usage == single.client.statistics.usage
    assert batched.client.ledger.known.cost == pytest.approx(batched.client.statistics.cost)
    assert states(tmp_path / "batch") == ["completed"]
    assert not list((tmp_path / "batch").glob("batches/*.jsonl"))


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    with BatchServer() as server:
        first = judge(server, tmp_path).compare(list(comparisons(3)), "one", "two")
        again = judge(server, tmp_path)
        assert again.compare(list(comparisons(3)), "one", "two") == first
        assert (len(server.batches), again.client.statistics.calls) == (1, 0)
        (path,) = tmp_path.glob("batches/*.json")  # as after a kill between the ledger's line and the record's end
        path.write_text(path.read_text().replace('"completed"', '"sent"'))
        assert judge(server, tmp_path).compare(list(comparisons(3)), "one", "two") == first
        assert judge(server, tmp_path).client.ledger.known.tokens == server.tokens


def test_a_batch_of_another_provider_in_the_same_store_is_left_to_it(tmp_path: Path) -> None:
    with BatchServer(polls=3) as other, BatchServer() as server:
        with pytest.raises(EndpointError, match="run again to collect it"):
            judge(other, tmp_path, batch_hours=1e-9).compare(list(comparisons(2)), "one", "two")
        assert all(each.invalid is None for each in judge(server, tmp_path).compare(list(comparisons(3)), "one", "two"))
        assert sorted(states(tmp_path)) == ["completed", "sent"]
        assert all(each.invalid is None for each in judge(other, tmp_path).compare(list(comparisons(2)), "one", "two"))
        assert len(other.batches) == 1 and states(tmp_path) == ["completed"] * 2


def test_lines_that_are_missing_spoilt_or_delivered_twice(tmp_path: Path) -> None:
    kinds = ["missing", "error", "twice", "cut", "junk", None]
    fates: dict[str, str | None] = {}

    def spoils(name: str) -> str | None:
        return fates.setdefault(name, kinds[len(fates) % len(kinds)])

    with BatchServer() as server:
        server.spoils = spoils
        asked = judge(server, tmp_path, asks=1)
        verdicts = asked.compare(list(comparisons(6)), "one", "two")
        found = Counter((each.invalid or "valid").split(":")[0] for each in verdicts)
        assert found == {"valid": 4, "no reply": 4, "refused by the server": 2, "not JSON": 2}
        assert asked.client.ledger.known.tokens == asked.client.statistics.usage.total
        assert asked.client.ledger.open == {}
        server.spoils = lambda name: None
        assert all(each.invalid is None for each in judge(server, tmp_path).compare(list(comparisons(6)), "one", "two"))
        assert len(server.batches) == 2
        good = {name for name, fate in fates.items() if fate in ("twice", None)}
        assert Counter(server.made_lines).keys() >= good
        assert all(Counter(server.made_lines)[name] == 1 for name in good)


def test_unusable_replies_are_asked_again_in_a_second_batch(tmp_path: Path) -> None:
    with BatchServer() as server:
        server.spoils = lambda name: "junk" if name.endswith("-0") else None
        asked = judge(server, tmp_path)
        verdicts = asked.compare(list(comparisons(2)), "one", "two")
        assert all(each.invalid is None for each in verdicts)
        assert len(server.batches) == 2
        assert asked.client.statistics.usage.total == server.tokens
        assert asked.client.ledger.known.tokens == server.tokens


def test_a_batch_still_running_is_collected_by_the_next_run(tmp_path: Path) -> None:
    with BatchServer(polls=50) as server:
        with pytest.raises(EndpointError, match="run again to collect it"):
            judge(server, tmp_path, batch_hours=1e-5).compare(list(comparisons(4)), "one", "two")
        assert states(tmp_path) == ["sent"]
        assert len(judge(server, tmp_path).client.ledger.open) == 1
        asked = judge(server, tmp_path)
        assert all(each.invalid is None for each in asked.compare(list(comparisons(4)), "one", "two"))
        assert len(server.batches) == 1
        assert asked.client.ledger.open == {}
        assert asked.client.ledger.known.tokens == server.tokens


@pytest.mark.parametrize("retries", [0, 3])
def test_a_batch_whose_confirmation_was_lost_is_found_at_the_provider(tmp_path: Path, retries: int) -> None:
    with BatchServer() as server:
        server.die_after_create = True
        with pytest.raises(EndpointError, match="Run again"):
            judge(server, tmp_path, retries=retries).compare(list(comparisons(2)), "one", "two")
        assert states(tmp_path) == ["made"]
        server.die_after_create = False
        verdicts = judge(server, tmp_path, retries=retries).compare(list(comparisons(2)), "one", "two")
        assert all(each.invalid is None for each in verdicts)
        assert len(server.batches) == 1
        assert judge(server, tmp_path).client.ledger.open == {}


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c"])
def test_replies_with_other_line_separators_arrive_and_can_be_recorded(tmp_path: Path, separator: str) -> None:
    def answer(body: dict) -> str:
        return json.dumps({"text": f"one{separator}two"}, ensure_ascii=False)

    request = Request("q", (Message("user", f"What{separator}now?"),), prompt="p")
    with BatchServer(answer) as server:
        there = endpoint(server.url, mode="batch", poll_seconds=0.01)
        outcome = Client(there, tmp_path / "store", progress=False).ask(request)
    assert separator in outcome.value or json.loads(outcome.value) == {"text": f"one{separator}two"}
    assert outcome.invalid is None
    replayed = Client(there, tmp_path / "store", offline=True, progress=False).ask(request)
    assert replayed.value == outcome.value


def test_a_full_disk_loses_no_reply_of_a_batch(tmp_path: Path, disk: Callable[[int], Path]) -> None:
    with BatchServer(lambda body: '{"text": "' + "word " * 4_000 + '"}') as server:
        small = disk(400_000)
        requests = [Request(str(at), (Message("user", str(at)),)) for at in range(40)]
        there = endpoint(server.url, mode="batch", poll_seconds=0.01)
        with pytest.raises(GuardalignError, match="disk is full"):
            list(Client(there, small / "store", progress=False).run(requests))
        subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
        done = list(Client(there, small / "store", progress=False).run(requests))
        assert all(each.invalid is None for each in done)
        assert len(server.batches) == 1
        assert len(server.made_lines) == 40


def test_a_batch_never_sent_is_sent_by_the_next_run(tmp_path: Path) -> None:
    with BatchServer() as server:
        asked = judge(server, tmp_path, retries=0)
        url = server.url
    with pytest.raises(EndpointError):
        asked.compare(list(comparisons(2)), "one", "two")
    assert states(tmp_path) == ["made"]
    with BatchServer(port=int(url.split(":")[2].split("/")[0])) as server:
        assert all(each.invalid is None for each in judge(server, tmp_path).compare(list(comparisons(2)), "one", "two"))
        assert len(server.batches) == 1


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_a_batch_that_ends_badly_leaves_counted_invalids_and_what_it_did_make(tmp_path: Path, status: str) -> None:
    with BatchServer() as server:
        server.ends = status
        names: list[str] = []

        def first_half(name: str) -> str | None:
            names.append(name)
            return "missing" if len(names) > 4 else None

        server.spoils = first_half
        verdicts = judge(server, tmp_path, asks=1).compare(list(comparisons(4)), "one", "two")
    assert [each.invalid for each in verdicts if each.invalid] == [f"no reply: the batch is {status} without it"] * 4


def test_a_batch_that_does_not_fit_the_budget_is_not_sent(tmp_path: Path) -> None:
    with BatchServer() as server:
        with pytest.raises(BudgetReached):
            judge(server, tmp_path, max_cost=0.05).compare(list(comparisons(10)), "one", "two")
        assert not server.batches
        with pytest.raises(BudgetReached):
            judge(server, tmp_path, max_cost=0.05, batch_size=1).compare(list(comparisons(10)), "one", "two")
        assert 0 < len(server.batches) < 20
        assert judge(server, tmp_path).client.ledger.known.cost <= 0.05


def test_many_questions_are_cut_into_batches(tmp_path: Path) -> None:
    with BatchServer() as server:
        verdicts = judge(server, tmp_path, batch_size=8).compare(list(comparisons(10)), "one", "two")
        assert all(each.invalid is None for each in verdicts)
        assert len(server.batches) == 3
