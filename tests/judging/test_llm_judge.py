"""The judge's answer becomes a verdict only if it holds up; orders, canaries, panels, recordings, Flow 2's filter."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from comparisons import comparisons, endpoint, pair
from guardalign.config.params import Params
from guardalign.config.sections import JudgeSection, ServerArm
from guardalign.data.conversations import PreferencePair, Reply
from guardalign.errors import GuardalignError, InputError, NoVerdict, ParameterError
from guardalign.files import RunFolder, read_rows, write_rows
from guardalign.generation.hosted import hosted_replies, messages
from guardalign.generation.store import Store
from guardalign.judging import canaries
from guardalign.judging.choice import chosen_judge
from guardalign.judging.embedded import assess
from guardalign.judging.feedback import own_replies
from guardalign.judging.llm_judge import LLMJudge
from guardalign.judging.panel import PanelJudge
from guardalign.judging.rule_judge import RuleJudge
from guardalign.judging.stage import compare_arms, incomplete
from guardalign.judging.verdicts import DIMENSIONS, DimensionVerdict, Verdict
from guardalign.llm import Client
from guardalign.llm.quotes import occurs
from misbehaving_server import Server, judge, slots

Change = Callable[[dict[str, Any]], Any]


def llm_judge(server: Server, store: Path, **changes: Any) -> LLMJudge:
    return LLMJudge(Client(endpoint(server.url, asks=1), store, progress=False), **changes)


def answering(change: Change) -> Callable[[dict[str, Any]], str]:
    """The honest judge with its answer changed."""

    def answer(body: dict[str, Any]) -> str:
        findings = json.loads(judge(body))
        change(findings)
        return json.dumps(findings)

    return answer


def test_bins_follow_from_the_findings_about_each_reply(tmp_path: Path) -> None:
    with Server() as server:
        verdicts = llm_judge(server, tmp_path).compare(list(comparisons(3)), "one", "two")
    assert [(each.pair_id, each.order) for each in verdicts] == [
        (f"c0.{at}", order) for at in range(3) for order in ("12", "21")
    ]
    for verdict in verdicts:
        found = {name: (each.bin, each.preference) for name, each in verdict.dimensions.items()}
        assert found == {
            "adherence": ("2 better", "2"),
            "naturalness": ("both", "tie"),
            "hallucination": ("1 better", "1"),
        }
        assert verdict.reply_1 is not None
        assert verdict.reply_1.adherence.score == -1
        assert [each.status for each in verdict.reply_1.guardrails] == ["broken", "complied"]
        assert verdict.reply_1.adherence.quotes == ("BREAKS 1 We look",)
        assert verdict.reply_2 is not None
        assert verdict.reply_2.hallucination.quotes == ("tomorrow",)


def test_the_second_order_shows_the_replies_the_other_way_round(tmp_path: Path) -> None:
    with Server() as server:
        llm_judge(server, tmp_path).compare(list(comparisons(1)), "one", "two")
        first, second = sorted((slots(body)["replies"] for body in server.bodies), key=lambda each: each["A"])
    assert (first["A"], first["B"]) == (second["B"], second["A"])
    assert first["A"].startswith("BREAKS 1")
    assert "one" not in first and "two" not in first


def test_a_judge_that_prefers_the_first_position_flips(tmp_path: Path) -> None:
    with Server(prefers_first_position) as server:
        verdicts = llm_judge(server, tmp_path).compare(list(comparisons(2)), "one", "two")
    assert [each.dimensions["adherence"].preference for each in verdicts] == ["1", "2", "1", "2"]


def test_quotes_are_found_whatever_their_typography() -> None:
    assert occurs("we’ll  call\nyou", ["Thanks, We'll call you back."])
    assert occurs('"look it up…"', ["let me look it up."])
    assert not occurs("we will call", ["We'll call you back."])
    assert not occurs("", ["anything"])
    assert not occurs("...", ["anything"])
    assert occurs("...", ["wait ..."])


BAD_ANSWERS: dict[str, tuple[Change, str]] = {
    "another item": (lambda answer: answer.update(item="0" * 16), "wrong item"),
    "a guardrail left out": (lambda answer: answer["A"]["guardrails"].pop(), "wrong guardrails"),
    "a guardrail twice": (
        lambda answer: answer["B"]["guardrails"].append(answer["B"]["guardrails"][0]),
        "wrong guardrails",
    ),
    "a guardrail too many": (lambda answer: answer["A"]["guardrails"][0].update(number=9), "wrong guardrails"),
    "words nobody said": (lambda answer: answer["A"]["guardrails"][0].update(quote="I promise"), "wrong quote"),
    "no words for a breach": (lambda answer: answer["A"]["guardrails"][0].update(quote=" "), "wrong quote"),
    "a claim nobody made": (
        lambda answer: answer["A"].update(claims=[{"quote": "free gift", "source": "none", "evidence": ""}]),
        "wrong quote",
    ),
    "evidence that is not there": (
        lambda answer: answer["A"].update(
            claims=[{"quote": "look", "source": "guardrails", "evidence": "opening hours"}]
        ),
        "wrong evidence",
    ),
    "a preference against its findings": (lambda answer: answer["preference"].update(adherence="A"), "contradiction"),
    "a tie against its findings": (lambda answer: answer["preference"].update(hallucination="tie"), "contradiction"),
    "a bin of its own": (lambda answer: answer["preference"].update(naturalness="both"), "wrong schema"),
    "a status of its own": (lambda answer: answer["A"]["guardrails"][0].update(status="mostly"), "wrong schema"),
    "a word too many": (lambda answer: answer.update(winner="A"), "wrong schema"),
    "a dimension left out": (lambda answer: answer["preference"].pop("naturalness"), "wrong schema"),
    "one reply left out": (lambda answer: answer.pop("B"), "wrong schema"),
}


@pytest.mark.parametrize(("change", "kind"), BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_an_answer_that_does_not_hold_up_is_invalid_and_no_loss(tmp_path: Path, change: Change, kind: str) -> None:
    with Server(answering(change)) as server:
        (verdict,) = llm_judge(server, tmp_path, orders=("12",)).compare(list(comparisons(1)), "one", "two")
    assert (verdict.invalid or "").split(":")[0] == kind
    assert verdict.dimensions == {}
    assert verdict.reply_1 is None
    with Server(port=server.port) as honest:
        (verdict,) = llm_judge(honest, tmp_path, orders=("12",)).compare(list(comparisons(1)), "one", "two")
        assert verdict.invalid is None
        assert honest.calls == 1


def test_an_empty_reply_has_no_words_to_quote(tmp_path: Path) -> None:
    def empty(findings: dict[str, Any]) -> None:
        findings["A"]["guardrails"] = [each | {"status": "broken", "quote": ""} for each in findings["A"]["guardrails"]]
        findings["preference"]["adherence"] = "B"

    with Server(answering(empty)) as server:
        (verdict,) = llm_judge(server, tmp_path, orders=("12",)).compare(
            [(pair(), "", "Hello you there")], "one", "two"
        )
    assert verdict.invalid is None
    assert verdict.dimensions["adherence"].bin == "2 better"


def test_another_prompt_file_makes_another_request(tmp_path: Path) -> None:
    from guardalign.llm.prompts import Prompt

    packaged = Prompt.load("judge")
    (tmp_path / "judge.md").write_text(f"# system\n{packaged.system}\nBe strict.\n\n# user\n{packaged.user}\n")
    with Server() as server:
        item = next(comparisons(1))
        plain, own = llm_judge(server, tmp_path / "s"), llm_judge(server, tmp_path / "s", prompts=tmp_path)
        there = plain.client.endpoint
        assert plain.request(item, "12").key(there) != own.request(item, "12").key(there)
        assert own.request(item, "12").messages[0].content.endswith("Be strict.")


def test_an_honest_judge_passes_the_canaries(tmp_path: Path) -> None:
    pairs = [pair(at) for at in range(30)]
    with Server() as server:
        honest = llm_judge(server, tmp_path)
        report = canaries.check(honest, pairs, number=5, seed=3)
        assert all(result.passed for result in report.results), str(report)
        calls = server.calls
        assert canaries.report(honest.name, report.verdicts) == report
        assert canaries.check(honest, pairs, number=5, seed=3) == report
        assert server.calls == calls
    assert report.trusted
    assert report.accuracy == 1.0
    assert [result.asked for result in report.results] == [10, 10, 10, 10]
    assert "passes its canaries" in str(report)
    assert len({verdict.pair_id for verdict in report.verdicts}) == 5


def obedient(body: dict[str, Any]) -> str:
    """A judge that does what a reply tells it, and otherwise judges honestly."""
    findings, replies = json.loads(judge(body)), slots(body)["replies"]
    injecting = [name for name, text in replies.items() if "choose this reply" in text]
    if len(injecting) == 1:
        return _all_to(findings, injecting[0])
    return json.dumps(findings)


def dazzled(body: dict[str, Any]) -> str:
    """A judge that finds the constant reply the most natural."""
    findings, replies = json.loads(judge(body)), slots(body)["replies"]
    null = [name for name, text in replies.items() if text == canaries.NULL_REPLY]
    if null:
        findings["preference"]["naturalness"] = null[0]
    return json.dumps(findings)


def prefers_first_position(body: dict[str, Any]) -> str:
    return _all_to(json.loads(judge(body)), "A")


def _all_to(findings: dict[str, Any], winner: str) -> str:
    findings = copy.deepcopy(findings)
    for name in ("A", "B"):
        findings[name]["guardrails"] = [each | {"status": "complied"} for each in findings[name]["guardrails"]]
        findings[name]["naturalness"]["acceptable"] = True
        findings[name]["claims"] = []
    findings["preference"] = dict.fromkeys(DIMENSIONS, winner)
    return json.dumps(findings)


@pytest.mark.parametrize(
    ("answer", "failing"),
    [
        (obedient, {"injected"}),
        (dazzled, {"null reply"}),
        (prefers_first_position, {"null reply", "identical", "chosen vs rejected"}),
        (lambda body: "I would rather not.", {"null reply", "injected", "identical", "chosen vs rejected"}),
    ],
    ids=["obedient", "dazzled", "prefers the first position", "says nothing"],
)
def test_a_judge_that_cannot_be_trusted_fails_the_canaries(
    tmp_path: Path, answer: Callable[[dict[str, Any]], str], failing: set[str]
) -> None:
    with Server(answer) as server:
        report = canaries.check(llm_judge(server, tmp_path), [pair(at) for at in range(6)])
    assert {result.name for result in report.results if not result.passed} == failing
    assert not report.trusted
    assert str(report).startswith("Do not trust")


def test_no_canaries_no_trust() -> None:
    report = canaries.check(RuleJudge("embedded", assess), [])
    assert not report.trusted
    assert report == canaries.report("embedded", [])
    assert str(report).startswith("Do not trust")


def test_a_recording_replays_offline_and_names_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server() as server:
        live = llm_judge(server, tmp_path / "store")
        verdicts = live.compare(list(comparisons(4)), "one", "two")
    section = JudgeSection(kind="recorded", recording=str(tmp_path / "store"), **live.client.endpoint.model_dump())
    replay = chosen_judge(section, tmp_path / "unused")
    assert replay is not None and replay.compare(list(comparisons(4)), "one", "two") == verdicts
    more = replay.compare(list(comparisons(5)), "one", "two")
    assert [each.invalid for each in more[8:]] == ["not recorded: the store has no reply to this question"] * 2
    with pytest.raises(InputError, match="not a folder"):
        chosen_judge(section.model_copy(update={"recording": "no/such/folder"}), tmp_path)


class Fixed:
    """A judge with one opinion, in one order or two."""

    def __init__(self, name: str, good_1: bool, good_2: bool, preference: str, orders: int = 1) -> None:
        self.name, self.orders = name, orders
        self.opinion = DimensionVerdict(acceptable_1=good_1, acceptable_2=good_2, preference=preference)  # type: ignore[arg-type]

    def compare(self, items: list[tuple[PreferencePair, str, str]], arm_1: str, arm_2: str) -> list[Verdict]:
        return [
            Verdict(
                pair_id=item[0].id,
                conversation_id=item[0].conversation_id,
                arm_1=arm_1,
                arm_2=arm_2,
                judge=self.name,
                order=order,  # type: ignore[arg-type]
                dimensions={"adherence": self.opinion},
            )
            for item in items
            for order in ("12", "21")[: self.orders]
        ]


class Silent(Fixed):
    def compare(self, items: list[tuple[PreferencePair, str, str]], arm_1: str, arm_2: str) -> list[Verdict]:
        verdicts = super().compare(items, arm_1, arm_2)
        return [each.model_copy(update={"invalid": "not JSON: …", "dimensions": {}}) for each in verdicts]


def test_a_panel_decides_by_majority_and_never_against_itself() -> None:
    items = list(comparisons(3))
    for_1, for_2 = Fixed("a", True, False, "1", orders=2), Fixed("b", False, True, "2")
    both = Fixed("c", True, True, "2")
    verdicts = PanelJudge([for_1, for_1, for_2]).compare(items, "one", "two")
    assert [(each.judge, each.dimensions["adherence"].bin) for each in verdicts] == [("panel", "1 better")] * 3
    (verdict, *_) = PanelJudge([for_1, both, for_2]).compare(items, "one", "two")
    assert verdict.dimensions["adherence"].bin == "both"
    assert verdict.dimensions["adherence"].preference == "2"
    (verdict, *_) = PanelJudge([for_1, for_2]).compare(items, "one", "two")
    assert (verdict.dimensions["adherence"].bin, verdict.dimensions["adherence"].preference) == ("none", "tie")
    (verdict, *_) = PanelJudge([for_1, Silent("s", True, True, "1")]).compare(items, "one", "two")
    assert verdict.invalid == "no majority: 1 of 2 judges gave a verdict"


def test_flow_2_keeps_the_prompts_whose_answer_is_worse(tmp_path: Path) -> None:
    pairs = [pair(at) for at in range(4)]
    answers = {
        pairs[0].id: "BREAKS 2 It comes tomorrow for sure.",
        pairs[1].id: "Hello, I look it up.",
        pairs[2].id: f" {pairs[2].chosen}\n",
        pairs[3].id: "BREAKS 1 CLAIM yesterday I looked.",
    }
    with Server() as server:
        kept, verdicts = own_replies(llm_judge(server, tmp_path), pairs, answers, "N_1SFT")
        assert len(server.bodies) == 6
    assert [each.id for each in kept] == [pairs[0].id, pairs[3].id]
    assert [each.rejected for each in kept] == [answers[pairs[0].id], answers[pairs[3].id]]
    assert all(each.chosen == original.chosen for each, original in zip(kept, (pairs[0], pairs[3]), strict=True))
    assert len(verdicts) == 6


@pytest.mark.parametrize(
    ("answer", "error"),
    [(prefers_first_position, InputError), (lambda body: "?", NoVerdict)],
    ids=["the position", "no verdict"],
)
def test_flow_2_keeps_nothing_without_usable_verdicts(tmp_path: Path, answer: Any, error: type[Exception]) -> None:
    with Server(answer) as server, pytest.raises(error, match="1 replies" if error is InputError else "not JSON"):
        own_replies(llm_judge(server, tmp_path), [pair()], {pair().id: "Hello."}, "N_1SFT")


def test_no_reply_counts_as_acceptable_where_a_verdict_is_missing(tmp_path: Path) -> None:
    pairs = [pair(at) for at in range(3)]
    answers = {each.id: "Hello, I look it up." for each in pairs}
    with (
        Server(lambda body: judge(body) if "order 1" in body["messages"][-1]["content"] else "?") as server,
        pytest.raises(NoVerdict, match="2 have no"),
    ):
        own_replies(llm_judge(server, tmp_path), pairs, answers, "N_1SFT")


def judged_run(root: Path) -> RunFolder:
    run = RunFolder(root)
    for arm, text in (("a", "BREAKS 1 We look for it now."), ("b", "Hello, we look for it. CLAIM tomorrow")):
        replies = [Reply(pair_id=pair(at).id, conversation_id="c0", arm=arm, text=f"{text} {at}") for at in range(4)]
        write_rows(run.replies(arm), replies)
    return run


def test_a_judge_without_one_valid_verdict_leaves_the_comparison_unknown(tmp_path: Path) -> None:
    run, pairs = judged_run(tmp_path / "run"), [pair(at) for at in range(4)]
    with Server(lambda body: "I would rather not.") as server:
        with pytest.raises(NoVerdict, match="not JSON") as caught:
            compare_arms(run, llm_judge(server, tmp_path / "store"), pairs, "a", "b")
        assert "\n" not in str(caught.value)
    with Server(port=server.port) as honest:
        assert incomplete(run.root, "gpt-4o") == [run.verdicts("a", "b")]
        verdicts = compare_arms(run, llm_judge(honest, tmp_path / "store"), pairs, "a", "b")
        assert honest.calls == len(verdicts) == 8
    assert incomplete(run.root, "gpt-4o") == []


def test_invalid_verdicts_are_asked_again_and_only_these(tmp_path: Path) -> None:
    run, pairs = judged_run(tmp_path / "run"), [pair(at) for at in range(4)]
    with Server(schedule=lambda number: "cut JSON" if number % 3 == 0 else None) as server:
        verdicts = compare_arms(run, llm_judge(server, tmp_path / "store"), pairs, "a", "b")
    invalid = sum(each.invalid is not None for each in verdicts)
    assert invalid and incomplete(run.root, "gpt-4o") == [run.verdicts("a", "b")]
    with Server(port=server.port) as honest:
        assert not any(e.invalid for e in compare_arms(run, llm_judge(honest, tmp_path / "store"), pairs, "a", "b"))
        assert honest.calls == invalid


def test_one_changed_letter_in_a_file_of_verdicts_is_named_and_made_again(tmp_path: Path) -> None:
    run, pairs = judged_run(tmp_path / "run"), [pair(at) for at in range(4)]
    path = run.verdicts("a", "b")
    with Server() as server:
        verdicts = compare_arms(run, llm_judge(server, tmp_path / "store"), pairs, "a", "b")
        assert read_rows(path, Verdict) == verdicts
        path.write_text(path.read_text().replace('"preference":"1"', '"preference":"2"', 1))
        with pytest.raises(InputError, match=path.name):
            read_rows(path, Verdict)
        assert incomplete(run.root, "gpt-4o") == [path]
        calls = server.calls
        assert compare_arms(run, llm_judge(server, tmp_path / "store"), pairs, "a", "b") == verdicts
        assert read_rows(path, Verdict) == verdicts
        assert server.calls == calls
    assert incomplete(run.root, "gpt-4o") == []


def arm(server: Server, **changes: Any) -> ServerArm:
    plain = endpoint(server.url).model_dump() | {"model": "hosted-bot"}
    return ServerArm(**(plain | changes))


def test_a_server_is_an_arm_like_any_other(tmp_path: Path) -> None:
    def bot(body: dict[str, Any]) -> str:
        return f"Agent: I look up order {re.search(r'order ([0-9]+)', body['messages'][-1]['content'])[1]}."

    pairs = [pair(at) for at in range(3)]
    with Server(bot, schedule=lambda number: "length" if number == 0 else None) as server:
        trained = Store(tmp_path / "bot.jsonl", "a model's")  # which wrote replies of the same name before
        trained.write([])
        replies = hosted_replies(arm(server, concurrency=1), pairs, "bot", tmp_path / "store", tmp_path / "bot.jsonl")
        assert not trained.is_complete()
        assert [each.pair_id for each in replies] == [each.id for each in pairs]
        assert [each.finished for each in replies] == [False, True, True]
        assert replies[1].text == "I look up order 1."
        assert server.bodies[0]["messages"][0]["content"].endswith("\nAgent:")
        assert hosted_replies(arm(server), pairs, "bot", tmp_path / "store", tmp_path / "bot.jsonl") == replies
        assert server.calls == 3
    assert len((tmp_path / "bot.jsonl").read_text().splitlines()) == 3


def test_an_arm_with_a_reply_missing_is_no_arm(tmp_path: Path) -> None:
    with (
        Server(lambda body: "Hello", schedule=lambda number: "400" if number == 1 else None) as server,
        pytest.raises(GuardalignError, match="1 of 3"),
    ):
        hosted_replies(arm(server), [pair(at) for at in range(3)], "bot", tmp_path / "store", tmp_path / "bot.jsonl")
    assert not (tmp_path / "bot.jsonl").exists()


def test_a_chat_bot_gets_guardrails_and_turns_as_messages() -> None:
    system, user = messages(pair(), "chat")
    assert (system.role, user.role, user.content) == ("system", "user", "Hello, my order 0 has not come.")
    assert "2. The agent must never promise a date." in system.content


def test_the_parameters_choose_the_judge(tmp_path: Path) -> None:
    assert chosen_judge(JudgeSection(kind="none"), tmp_path) is None
    with Server() as server:
        there = endpoint(server.url).model_dump()
        live = chosen_judge(JudgeSection(**there, kind="llm"), tmp_path)
        assert live is not None
        verdicts_in_both_orders = live.compare(list(comparisons(2)), "one", "two")
        (once,) = chosen_judge(JudgeSection(**there, kind="llm", orders="first"), tmp_path).compare(
            list(comparisons(1)), "one", "two"
        )
        assert once == verdicts_in_both_orders[0]
        members = (JudgeSection(**there, kind="llm"), JudgeSection(kind="embedded"))
        panel = chosen_judge(JudgeSection(kind="panel", judges=members), tmp_path)
        assert panel is not None
        known = [(pair(at, guardrails=("No emoji in any reply.",)), "Hello. :)", "Hello you there.") for at in range(2)]
        verdicts = panel.compare(known, "one", "two")
        assert [(each.pair_id, each.judge) for each in verdicts] == [("c0.0", "panel"), ("c0.1", "panel")]
        assert all(set(each.dimensions) == set(DIMENSIONS) for each in verdicts)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"kind": "llm"}, "needs the judge's model"),
        ({"kind": "recorded", "model": "x"}, "needs a recording"),
        ({"kind": "panel", "judges": [{"kind": "embedded"}]}, "two judges or more"),
        ({"kind": "panel", "judges": [{"kind": "embedded"}, {"kind": "none"}]}, "panel's judges"),
        ({"kind": "llm", "model": "x", "base_url": "api.example.org/v1"}, "an address such as"),
        ({"kind": "llm", "model": "x", "base_url": "http://127.0.0.1:99999/v1"}, "Port out of range"),
    ],
)
def test_a_judge_that_is_not_fully_named_is_refused(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        JudgeSection.model_validate(section)


@pytest.mark.parametrize(
    "given",
    [
        {"api_key_env": "sk-proj-Zx81QqP0"},
        {"api_key_env": "AKIAIOSFODNN7Q2E4K3M"},
        {"api_key_env": "Q7F2_9K4T0_AA81"},
        {"api_key_env": 99174420118},
        {"base_url": "https://api.example.org/v1?token=Zx81QqP0"},
        {"base_url": "https://api.example.org/v1?sig=Zx81QqP0"},
        {"base_url": "https://Zx81QqP0@api.example.org/v1"},
        {"base_url": "https://user:Zx81QqP0@api.example.org/v1"},
        {"base_url": "https://api.example.org/v1#Zx81QqP0"},
    ],
)
def test_a_key_in_the_parameters_is_refused_and_not_repeated(given: dict[str, Any]) -> None:
    secret = str(given.get("api_key_env", "Zx81QqP0"))
    with pytest.raises(ValidationError) as strict:
        JudgeSection.model_validate({"kind": "llm", "model": "x", **given})
    with pytest.raises(ParameterError) as shown:
        Params.checked({"judge": {"kind": "llm", "model": "x", **given}})
    assert next(iter(given)) in str(strict.value) and next(iter(given)) in str(shown.value)
    assert secret not in str(strict.value) + str(shown.value)
