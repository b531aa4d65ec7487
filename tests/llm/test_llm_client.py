"""The client against a real local server: what is sent, kept, counted, retried, refused and never paid for twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from comparisons import IMPATIENT, endpoint
from guardalign.errors import GuardalignError, ParameterError
from guardalign.llm import BudgetReached, Client, EndpointError, Message, Outcome, Request
from misbehaving_server import Server

SECRET = "sk-test-5f3a9c0be1774d0e"


class Colour(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: str


def question(text: str = "Which colour?", **changes: object) -> Request:
    return Request(**({"id": text, "messages": (Message("user", text),), "reply": Colour} | changes))


def red(body: dict) -> str:
    return '{"colour": "red"}'


def first(*faults: str | None) -> Callable[[int], str | None]:
    """A schedule whose first calls have these faults."""
    return lambda number: faults[number] if number < len(faults) else None


def client(server: Server, store: Path, **changes: object) -> Client:
    return Client(endpoint(server.url, **changes), store, progress=False)


def test_a_reply_is_stored_and_never_asked_for_again(tmp_path: Path) -> None:
    with Server(red) as server:
        asked = client(server, tmp_path).ask(question())
        assert asked.value == Colour(colour="red")
        assert (asked.calls, asked.stored, server.calls) == (1, False, 1)
        again = client(server, tmp_path).ask(question())
        assert (again.value, again.calls, again.stored, again.cost) == (asked.value, 0, True, 0.0)
        assert server.calls == 1


def test_the_body_has_settings_and_schema_and_the_key_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with Server(red) as server:
        client(server, tmp_path, seed=4, max_tokens=77).ask(question())
        body = server.bodies[0]
        assert (body["model"], body["temperature"], body["seed"], body["max_tokens"]) == ("gpt-4o", 0.0, 4, 77)
        wanted = body["response_format"]["json_schema"]
        assert wanted["strict"] is True
        assert wanted["schema"]["additionalProperties"] is False
        assert wanted["schema"]["required"] == ["colour"]
        assert server.headers[0]["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    "changes",
    [{"model": "gpt-4.1"}, {"temperature": 0.1}, {"max_tokens": 5}, {"seed": 1}, {"reply_format": "text"}],
)
def test_whatever_could_change_the_reply_is_in_the_key(changes: dict[str, object]) -> None:
    plain = question().key(endpoint("http://127.0.0.1:1/v1"))
    assert question().key(endpoint("http://127.0.0.1:1/v1", **changes)) != plain
    assert question().key(endpoint("http://127.0.0.1:1/v1", concurrency=3, timeout_seconds=9)) == plain
    assert question(prompt="judge@2").key(endpoint("http://127.0.0.1:1/v1")) != plain
    assert question(reply=None).key(endpoint("http://127.0.0.1:1/v1")) != plain
    assert question(id="other").key(endpoint("http://127.0.0.1:1/v1")) == plain


def test_equal_questions_on_their_way_are_asked_once(tmp_path: Path) -> None:
    with Server(red, latency=0.1) as server:
        outcomes = list(client(server, tmp_path).run([question(id=str(at)) for at in range(20)]))
        assert server.calls == 1
        assert sorted(int(each.request.id) for each in outcomes) == list(range(20))
        assert all(each.value == Colour(colour="red") for each in outcomes)


def test_an_invalid_reply_is_asked_again_and_never_final(tmp_path: Path) -> None:
    replies = iter(["no idea", "still none", '{"colour": "green"}'])
    with Server(lambda body: next(replies)) as server:
        outcome = client(server, tmp_path).ask(question())
        assert outcome.invalid == "not JSON: no object in the reply"
        assert (outcome.calls, server.calls) == (2, 2)
        assert [body["temperature"] for body in server.bodies] == [0.0, 0.5]
        assert client(server, tmp_path).ask(question()).value == Colour(colour="green")
        assert client(server, tmp_path).ask(question()).value == Colour(colour="green")
        assert server.calls == 3
        assert len({headers["idempotency-key"] for headers in server.headers}) == 3


def test_stored_replies_are_checked_again(tmp_path: Path) -> None:
    with Server(red) as server:
        assert client(server, tmp_path).ask(question()).invalid is None
        strict = question(check=lambda answer: "wrong colour: red" if answer.colour == "red" else None)
        assert client(server, tmp_path).ask(strict).invalid == "wrong colour: red"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429", "429"),
        ("500", "500"),
        ("503", "503"),
        ("reset", "connection lost"),
        ("silence", "time-out"),
        ("cut body", "unreadable response"),
        ("reset midway", "connection lost"),
        ("endless drip", "time-out"),
        ("deep body", "unreadable response"),
    ],
)
def test_transient_faults_are_tried_again(tmp_path: Path, fault: str, reason: str) -> None:
    with Server(red, schedule=first(fault, fault), silence=5.0) as server:
        gave_up = client(server, tmp_path, retries=0, **IMPATIENT).ask(question())
        assert (gave_up.invalid or "").startswith("no reply: ") and reason in (gave_up.invalid or "")
        assert client(server, tmp_path, **IMPATIENT).ask(question()).value == Colour(colour="red")
        assert server.calls == 3
        assert max(server.billed.values()) == 1


@pytest.mark.parametrize("fault", ["prose", "twice", "slow drip", "sent twice"])
def test_harmless_oddities_cost_no_second_call(tmp_path: Path, fault: str) -> None:
    with Server(red, schedule=first(fault)) as server:
        assert client(server, tmp_path).ask(question()).value == Colour(colour="red")
        assert server.calls == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("refusal", "refused"), ("length", "cut off"), ("cut JSON", "not JSON"), ("wrong schema", "wrong schema")],
)
def test_unusable_replies_are_told_apart(tmp_path: Path, fault: str, kind: str) -> None:
    with Server(red, schedule=first(fault)) as server:
        asked = client(server, tmp_path, asks=1)
        assert (asked.ask(question()).invalid or "").split(":")[0] == kind
        assert asked.statistics.invalid == {kind: 1}


def test_free_text_may_be_cut_off_and_a_refusal_is_an_answer(tmp_path: Path) -> None:
    with Server(lambda body: "Once upon a time", schedule=first("length", "refusal")) as server:
        cut = client(server, tmp_path).ask(question("one", reply=None))
        assert (cut.value, cut.finished) == ("Once upon ", False)
        refused = client(server, tmp_path).ask(question("two", reply=None))
        assert (refused.value, refused.finished) == ("I cannot help with that.", True)


def test_thoughts_are_no_part_of_a_free_text(tmp_path: Path) -> None:
    replies = iter(["<think>Be kind.</think>\n\nHello.", "<think>Be", "<think>Be kind."])
    with Server(lambda body: next(replies)) as server:
        assert client(server, tmp_path).ask(question("one", reply=None)).value.strip() == "Hello."
        cut = client(server, tmp_path).ask(question("two", reply=None))
        assert (cut.invalid, server.calls) == ("cut off: the reply ends within its reasoning", 3)


def test_retry_after_holds_back_every_call(tmp_path: Path) -> None:
    with Server(red, schedule=first("429 retry-after 0.8")) as server:
        list(client(server, tmp_path, concurrency=1).run([question(str(at)) for at in range(3)]))
        assert server.times[1] - server.times[0] >= 0.8


def test_tiny_waits_do_not_stop_the_backoff_from_growing(tmp_path: Path) -> None:
    with Server(red, schedule=first(*["429 retry-after 0.001"] * 3)) as server:
        assert client(server, tmp_path).ask(question()).value == Colour(colour="red")
        assert server.times[3] - server.times[0] >= 0.75 * (0.5 + 1 + 2)


@pytest.mark.parametrize("wait", ["0", "0.001", "-3", "Mon, 01 Jan 2001 00:00:00 GMT", "nan", "soon"])
def test_no_retry_after_cancels_the_backoff(tmp_path: Path, wait: str) -> None:
    with Server(red, schedule=first(f"429 retry-after {wait}")) as server:
        assert client(server, tmp_path).ask(question()).value == Colour(colour="red")
        assert server.times[1] - server.times[0] >= 0.3


@pytest.mark.parametrize("wait", ["86400", "1e400", "Wed, 01 Jan 2110 00:00:00 GMT"])
def test_a_huge_retry_after_is_reported_and_not_waited_for(tmp_path: Path, wait: str) -> None:
    with Server(red, schedule=lambda number: f"429 retry-after {wait}") as server:
        asked = client(server, tmp_path, concurrency=2)
        assert f"Retry-After: {wait}" in (asked.ask(question()).invalid or "")
        with pytest.raises(EndpointError, match="Retry-After"):
            list(asked.run([question(str(at)) for at in range(100)]))
        assert server.calls < 15


def test_the_rate_limits_space_the_calls(tmp_path: Path) -> None:
    with Server(red) as server:
        began = time.monotonic()
        list(client(server, tmp_path, requests_per_minute=1200).run([question(str(at)) for at in range(5)]))
        assert max(server.times) - began >= 4 * 0.05
    long = "word " * 400
    with Server(red) as server:
        began = time.monotonic()
        list(client(server, tmp_path, tokens_per_minute=300_000).run([question(long + str(at)) for at in range(3)]))
        assert max(server.times) - began >= 2 * 0.1


def test_concurrency_is_bounded(tmp_path: Path) -> None:
    finished, most = 0, 0

    def count(body: dict) -> str:
        nonlocal most
        most = max(most, server.calls - finished)
        return red(body)

    with Server(count, latency=0.05) as server:
        for _ in client(server, tmp_path, concurrency=3).run([question(str(at)) for at in range(12)]):
            finished += 1
    assert finished == 12
    assert most <= 2 * 3  # three on their way, and at most as many answered but not yet seen here


@pytest.mark.parametrize(
    ("status", "code", "most"),
    [
        ("401", "invalid_api_key", 8),
        ("402", None, 8),
        ("403", None, 8),
        ("404", "model_not_found", 8),
        ("400", "model_not_found", 8),
        ("429", "insufficient_quota", 8),
        ("400", None, 16),
        ("422", None, 16),
    ],
)
def test_an_endpoint_that_refuses_everything_stops_the_run_with_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, code: str | None, most: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with Server(red, schedule=lambda number: status) as server:
        server.errors[status] = {"message": f"This will not do, {SECRET}", "code": code}
        with pytest.raises(EndpointError, match="This will not do") as caught:
            list(client(server, tmp_path, concurrency=4).run([question(str(at)) for at in range(100)]))
        assert server.calls <= most
        assert SECRET not in str(caught.value)
        assert str(caught.value).count("\n") <= 1


def test_refused_requests_do_not_stop_the_run_once_others_were_answered(tmp_path: Path) -> None:
    with Server(red, schedule=lambda number: "400" if number else None) as server:
        server.errors["400"] = "maximum context length exceeded"
        outcomes = list(client(server, tmp_path, concurrency=1).run([question(str(at)) for at in range(40)]))
        assert [each.invalid is None for each in outcomes] == [True] + [False] * 39
        assert "maximum context length" in (outcomes[1].invalid or "")


def test_one_refusal_between_replies_stops_nothing(tmp_path: Path) -> None:
    with Server(red, schedule=lambda number: "404" if number % 2 else None) as server:
        outcomes = list(client(server, tmp_path, concurrency=1).run([question(str(at)) for at in range(20)]))
        assert sum(each.invalid is None for each in outcomes) == 10


def test_a_quota_that_is_used_up_is_not_asked_again(tmp_path: Path) -> None:
    with Server(red, schedule=lambda number: "429") as server:
        server.errors["429"] = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
        client(server, tmp_path).ask(question())
        assert server.calls == 1


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": float("inf")},
        {"completion_tokens": -5_000},
        {"completion_tokens": float("nan")},
        {"prompt_tokens": "many"},
        {"prompt_tokens": 10**40},
        {"prompt_tokens_details": {"cached_tokens": -7}},
        {"prompt_tokens_details": [1]},
    ],
)
def test_usage_that_cannot_be_counts_at_its_worst_case(tmp_path: Path, usage: dict[str, object]) -> None:
    with Server(red) as server:
        server.usage = usage
        asked = client(server, tmp_path)
        assert asked.ask(question()).value == Colour(colour="red")
        assert asked.ledger.known.tokens >= 4096
        assert client(server, tmp_path).ledger.known == asked.ledger.known


def test_more_cached_tokens_than_there_were_do_not_lower_the_cost_below_zero(tmp_path: Path) -> None:
    with Server(red) as server:
        server.usage = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 1_000_000}}
        assert client(server, tmp_path).ask(question()).cost > 0


def test_a_full_disk_asks_nothing_twice(tmp_path: Path, disk: Callable[[int], Path]) -> None:
    questions = [question(f"{at} " + "long " * 800) for at in range(60)]
    with Server(red, idempotent=False, latency=0.05) as server:
        small = disk(300_000)
        with pytest.raises(GuardalignError, match="disk is full"):
            list(client(server, small / "store", concurrency=16, max_tokens=512).run(questions))
        assert 0 < server.calls < 60
        subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
        done = list(client(server, small / "store", concurrency=16, max_tokens=512).run(questions))
        assert all(each.value == Colour(colour="red") for each in done)
        assert server.calls == 60
        assert not list(small.rglob(".*.part"))


@pytest.mark.parametrize("damage", [lambda text: text.replace("red", "rod"), lambda text: text[:60]])
def test_a_damaged_reply_file_is_noticed_and_asked_for_again(tmp_path: Path, damage: Callable[[str], str]) -> None:
    with Server(red) as server:
        client(server, tmp_path).ask(question())
        path = next(tmp_path.glob("*/*.json"))
        path.write_text(damage(path.read_text()))
        offline = Client(endpoint(server.url), tmp_path, offline=True, progress=False)
        assert offline.ask(question()).invalid == "not recorded: the file is damaged"
        assert client(server, tmp_path).ask(question()).value == Colour(colour="red")
        assert server.calls == 2
        older = {name: value for name, value in json.loads(path.read_text()).items() if name != "digest"}
        path.write_text(json.dumps(older))
        assert client(server, tmp_path).ask(question()).stored


def test_the_run_waits_for_no_lock_when_equal_questions_fail(tmp_path: Path) -> None:
    with Server(red, schedule=lambda number: "400") as server:
        outcomes = list(client(server, tmp_path, concurrency=4).run([question(id=str(at)) for at in range(8)]))
        assert len(outcomes) == 8


def test_a_server_without_structured_replies_is_named(tmp_path: Path) -> None:
    with Server(red, schedule=first("400")) as server:
        server.errors["400"] = "response_format is not supported"
        with pytest.raises(EndpointError, match="reply_format: text"):
            client(server, tmp_path).ask(question())
        assert client(server, tmp_path, reply_format="text").ask(question()).value == Colour(colour="red")
        assert "response_format" not in server.bodies[-1]


def test_an_endpoint_that_stopped_answering_ends_the_run(tmp_path: Path) -> None:
    nobody = endpoint("http://127.0.0.1:9/v1", retries=1, concurrency=4)
    with pytest.raises(EndpointError, match="in a row"):
        list(Client(nobody, tmp_path, progress=False).run([question(str(at)) for at in range(500)]))


def test_a_remote_endpoint_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(EndpointError, match="MY_KEY"):
        Client(endpoint("https://example.invalid/v1", api_key_env="MY_KEY"), tmp_path).ask(question())
    monkeypatch.setenv("MY_KEY", "sk-your…key")
    with pytest.raises(EndpointError, match="no API key") as caught:
        Client(endpoint("https://example.invalid/v1", api_key_env="MY_KEY"), tmp_path).ask(question())
    assert "your" not in str(caught.value)


def test_azure_has_its_own_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with Server(red) as server:
        base = server.url.removesuffix("/v1")
        azure = endpoint(base, api_version="2024-10-21", model="my-gpt4")
        assert Client(azure, tmp_path, progress=False).ask(question()).value == Colour(colour="red")
        assert server.paths[-1] == "/openai/deployments/my-gpt4/chat/completions?api-version=2024-10-21"
        assert server.headers[-1]["api-key"] == SECRET


def test_the_budget_is_never_passed_and_a_larger_one_resumes(tmp_path: Path) -> None:
    questions = [question(f"{at} " + "long " * 100) for at in range(40)]
    with Server(red) as server:
        limit = 0.006
        with pytest.raises(BudgetReached, match="raise `max_cost`"):
            list(client(server, tmp_path / "all", max_cost=limit, max_tokens=10).run(questions))
        ledger = client(server, tmp_path / "all").ledger
        assert 0 < ledger.known.cost <= limit
        assert ledger.known.tokens == server.tokens
        calls = server.calls
        with pytest.raises(BudgetReached):
            list(client(server, tmp_path / "all", max_cost=limit, max_tokens=10).run(questions[::-1]))
        assert client(server, tmp_path / "all").ledger.known.cost <= limit
        done = list(client(server, tmp_path / "all", max_tokens=10).run(questions))
        assert all(each.invalid is None for each in done)
        assert server.calls == 40 > calls


def test_a_budget_in_tokens_counts_what_may_have_been_billed(tmp_path: Path) -> None:
    with Server(red, schedule=first("silence"), silence=6.0) as server:
        asked = client(server, tmp_path, max_total_tokens=6000, retries=0, **IMPATIENT)
        assert (asked.ask(question("one")).invalid or "").startswith("no reply: time-out")
        assert len(asked.ledger.open) == 1
        with pytest.raises(BudgetReached, match="unknown outcome"):
            client(server, tmp_path, max_total_tokens=6000).ask(question("two"))
        assert server.calls == 1


def test_clients_of_one_store_share_its_budget(tmp_path: Path) -> None:
    """Such as the judges of a panel."""
    with Server(red) as server:
        one, two = (
            client(server, tmp_path, max_cost=0.01, max_tokens=10, model=name) for name in ("gpt-4o", "gpt-4.1")
        )
        with pytest.raises(BudgetReached):
            for at in range(40):
                one.ask(question(f"{at} " + "long " * 100))
                two.ask(question(f"{at} " + "long " * 100))
        spent = client(server, tmp_path).ledger.known
        assert one.statistics.cost > 0 < two.statistics.cost
        assert spent.cost == pytest.approx(one.statistics.cost + two.statistics.cost) and spent.cost <= 0.01


def test_the_ledger_survives_a_torn_line(tmp_path: Path) -> None:
    with Server(red) as server:
        client(server, tmp_path).ask(question("one"))
        before = client(server, tmp_path).ledger.known
        with (tmp_path / "ledger.jsonl").open("a") as stream:
            stream.write('\n{"is": "paid", "call": "x", "tok')
        assert client(server, tmp_path).ledger.known == before
        client(server, tmp_path).ask(question("two"))
        assert client(server, tmp_path).ledger.known.tokens > before.tokens


def test_money_needs_a_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with pytest.raises(ParameterError, match="mystery"):
        Client(endpoint("https://example.invalid/v1", model="mystery", max_cost=1.0), tmp_path)
    own = tmp_path / "prices.yaml"
    own.write_text("models: {mystery: [1.0, 0.5, 2.0]}\n")
    priced = Client(endpoint("https://example.invalid/v1", model="mystery-2", max_cost=1.0, prices=str(own)), tmp_path)
    assert priced.price is not None
    assert priced.price.completion == 2.0
    for wrong in ("{mystery: [1.0]}", "{mystery: [1.0, 0.5, -2.0]}", "{mystery: [.nan, 0, 0]}", "{}\nbatch: -1"):
        own.write_text(f"models: {wrong}\n")
        with pytest.raises(ParameterError, match="price table"):
            Client(endpoint("https://example.invalid/v1", prices=str(own)), tmp_path)
    monkeypatch.chdir(tmp_path)  # paths in parameters are relative to the project's folder
    packaged = endpoint("https://example.invalid/v1", prices="lib/guardalign/llm/prices.yaml")
    assert Client(packaged, tmp_path).price == Client(endpoint("https://example.invalid/v1"), tmp_path).price
    for content, reason in ((b"models: {a: [1, 1, 1], a: [9, 9, 9]}", "twice"), ("# ü".encode("latin-1"), "YAML")):
        own.write_bytes(content)
        with pytest.raises(ParameterError, match=reason):
            Client(endpoint("https://example.invalid/v1", prices=str(own)), tmp_path)


def test_cost_follows_the_price_table(tmp_path: Path) -> None:
    with Server(red) as server:
        outcome = client(server, tmp_path, model="gpt-4o-2024-08-06").ask(question("x" * 4000))
        assert outcome.usage.prompt == 1000
        assert outcome.usage.completion == len('{"colour": "red"}') // 4 + 1
        assert outcome.cost == pytest.approx((1000 * 2.5 + outcome.usage.completion * 10) / 1e6)
        free = client(server, tmp_path, model="my-own").ask(question("x" * 4000))
        assert free.cost == 0.0


def test_offline_answers_from_the_store_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server(red) as server:
        client(server, tmp_path).ask(question("one"))
        there = endpoint(server.url)
    offline = Client(there, tmp_path, offline=True, progress=False)
    one, two = offline.run([question("one"), question("two")])
    assert one.value == Colour(colour="red")
    assert two.invalid == "not recorded: the store has no reply to this question"


def test_it_works_inside_a_running_event_loop_and_can_be_left_early(tmp_path: Path) -> None:
    async def notebook(server: Server) -> list[Outcome]:
        asked = client(server, tmp_path, concurrency=2)
        return [
            outcome for outcome, _ in zip(asked.run(question(str(at)) for at in range(1000)), range(3), strict=False)
        ]

    with Server(red) as server:
        assert len(asyncio.run(notebook(server))) == 3
        calls = -1
        while calls < server.calls:  # a call that had left before may arrive after
            calls = server.calls
            time.sleep(0.3)
        assert calls < 12


def test_the_key_is_in_no_file_though_the_server_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with Server(lambda body: json.dumps({"colour": SECRET}), schedule=first("400", "500")) as server:
        server.errors.update({"400": f"bad key {SECRET}", "500": f"worse key {SECRET}"})
        asked = client(server, tmp_path, concurrency=1)
        outcomes = list(asked.run([question("one"), question("two")]))
    assert [each.value for each in outcomes if each.value] == [Colour(colour="[key]")]
    assert SECRET not in repr(outcomes) + repr(asked) + repr(asked.endpoint) + str(asked.endpoint.model_dump())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
