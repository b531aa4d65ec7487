"""The report leads with what the canaries say of the judge, and shows attacks as text."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

import simulated_verdicts as simulated
from attacks import ATTACKS
from comparisons import endpoint
from guardalign import report
from guardalign.data.conversations import PreferencePair, Reply
from guardalign.files import read_rows, write_rows
from guardalign.judging import canaries
from guardalign.judging.llm_judge import LLMJudge
from guardalign.llm import Client
from misbehaving_server import Server
from tests.judging.test_llm_judge import prefers_first_position
from tests.report.test_report import block, elements

COMPARISONS = {("M_1SFT", "M_1SFT_ipo"): 0.25}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose first arm answers with nothing but attacks; its report is written."""
    root = simulated.run_folder(tmp_path_factory.mktemp("runs") / "attacked", COMPARISONS, conversations=20)
    path = root / "replies" / "M_1SFT.jsonl"
    texts = [attack.encode("utf-8", "replace").decode() for attack in ATTACKS.values()]
    replies = read_rows(path, Reply)
    assert len(replies) >= len(texts)
    write_rows(path, [each.model_copy(update={"text": texts[at % len(texts)]}) for at, each in enumerate(replies)])
    facts = {"06_judging": {"parameters": {"run": "attacked", "source": {"kind": "jsonl"}, "report": {"level": 0.9}}}}
    (root / "run.json").write_text(json.dumps(facts))
    report.write(root)
    return root


def test_attacks_are_text_in_the_page_and_whole_in_its_data(attacked: Path) -> None:
    page = (attacked / "report.html").read_text()
    for name, attributes in elements(page):
        assert not any(key.startswith("on") for key in attributes), (name, attributes)
        assert name not in ("img", "iframe", "object", "embed"), name
        assert not (attributes.get("href") or "").strip().lower().startswith(("javascript:", "data:")), attributes
    assert page.count("<script") == len(re.findall("</script>", page)) == 2
    assert not re.search("<title>[^<]*A wins", page)
    texts = set(block(page)["texts"])
    assert not {name for name, attack in ATTACKS.items() if attack.encode("utf-8", "replace").decode() not in texts}


def judged(root: Path, store: Path, answer: object, judge: str) -> str:
    """Put canaries to a judge that answers so, as notebook 06 does, and render the report again."""
    pairs = read_rows(root / "data" / "test.jsonl", PreferencePair)
    with Server(answer) as server:  # type: ignore[arg-type]
        client = Client(endpoint(server.url, asks=1), store, progress=False)
        found = canaries.check(LLMJudge(client), pairs, number=3)
    verdicts = [each.model_copy(update={"judge": judge}) for each in found.verdicts]
    write_rows(root / "verdicts" / "canaries" / "canaries.jsonl", verdicts)
    report.write(root)
    page = (root / "report.html").read_text()
    assert page.index('id="trust"') < page.index('id="answers"')
    return unescape(re.search(r'<p class="(?:note|distrust)" id="trust">(.*?)</p>', page, re.DOTALL)[1])  # type: ignore[index]


def test_the_report_leads_with_the_canaries(attacked: Path, tmp_path: Path) -> None:
    distrusted = judged(attacked, tmp_path / "1", prefers_first_position, "embedded")
    assert distrusted.startswith("Do not trust: the judge embedded fails the canaries")
    assert "chosen vs rejected: FAILED" in distrusted


def test_no_canaries_under_a_language_model_are_no_reason_to_trust(attacked: Path) -> None:
    (attacked / "verdicts" / "canaries" / "canaries.jsonl").unlink(missing_ok=True)
    facts = json.loads((attacked / "run.json").read_text())
    facts["06_judging"]["parameters"]["judge"] = {"kind": "llm", "model": "x"}
    (attacked / "run.json").write_text(json.dumps(facts))
    report.write(attacked)
    assert "Do not trust: no canaries were put to the judge" in (attacked / "report.html").read_text()
