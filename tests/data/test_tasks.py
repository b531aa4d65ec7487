"""Reading the three tasks: every published form, and every row that does not split."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from guardalign.data.tasks import load_hh, load_instructions, load_tldr
from guardalign.data.tasks.sys_ifeval import can_check, load_sys_ifeval
from guardalign.errors import InputError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(not (SHARED / "hh").is_dir(), reason="the slices of real data are not here")
ASK = "\n\nHuman: Hi\n\nAssistant:"


def lines(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def hh(path: Path, *pairs: tuple[str, str], **options):
    return load_hh(lines(path, [{"chosen": one, "rejected": two} for one, two in pairs]), **options)


def test_hh_splits_at_the_last_reply(tmp_path):
    asked = f"{ASK} Hello.\n\nHuman: Which day?\n\nAssistant:"
    (example,) = hh(tmp_path / "hh.jsonl", (f"{asked} Monday.", f"{asked} Moonday is what I say.\n\nReally."))
    assert example.prompt == asked
    assert (example.chosen, example.rejected) == (" Monday.", " Moonday is what I say.\n\nReally.")


def test_hh_rows_that_do_not_split_are_left_out(tmp_path):
    found = hh(
        tmp_path / "hh.jsonl",
        (f"{ASK} One", f"{ASK} Two"),
        (f"{ASK} Same", f"{ASK} Same"),
        (f"{ASK} Same", f"{ASK} Same "),
        (f"{ASK} One", f"{ASK}  "),
        (f"{ASK} A\n\nHuman: more\n\nAssistant: C", f"{ASK} B"),
        (f"{ASK} A\n\nHuman: more\n\nAssistant: C", f"{ASK} B\n\nHuman: more\n\nAssistant: C"),
        ("\n\nHuman: What?\n\nAssistant: C", "\n\nHuman: Who?\n\nAssistant: C"),
        ("no dialogue", "none at all"),
    )
    assert [example.id for example in found] == ["hh-0"]


def test_single_turn_dialogue_alone(tmp_path):
    long = f"{ASK} Hello.\n\nHuman: And?\n\nAssistant:"
    found = hh(tmp_path / "hh.jsonl", (f"{ASK} 1", f"{ASK} 2"), (f"{long} 1", f"{long} 2"), single_turn=True)
    assert [example.prompt for example in found] == [ASK]


@real
@pytest.mark.parametrize(("name", "usable"), [("helpful", 596), ("harmless", 598)])
def test_real_hh_rows(name, usable):
    path = SHARED / "hh" / f"{name}-base_600.jsonl.gz"
    found = load_hh(str(path))
    assert len(found) == usable
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    for example in found:
        row = rows[int(example.id.removeprefix("hh-"))]
        assert row["chosen"].strip() == f"{example.prompt}{example.chosen}".strip()
        assert (
            row["rejected"].rstrip()
            == row["chosen"][: len(example.prompt)] + row["rejected"][len(example.prompt) :].rstrip()
        )
        assert example.prompt.endswith("\n\nAssistant:")


@real
def test_real_tldr_rows():
    found = load_tldr(str(SHARED / "tldr" / "tldr_model_vs_human_400.csv"))
    assert len(found) == 400
    first = found[0]
    assert first.prompt.startswith("SUBREDDIT: r/AskReddit") and first.prompt.endswith("\n\nTL;DR:")
    assert first.chosen.startswith(" long relationship; fell in love with an other person; admitted it;")
    assert first.rejected is not None and first.rejected.startswith(" Been with my girlfriend")


@real
def test_real_instructions():
    found = load_instructions(str(SHARED / "alpaca_eval" / "gpt4_1106_preview_80.json"))
    assert len(found) == 80 and {each.generator for each in found} == {"gpt4_1106_preview"}
    assert found[0].prompt == f"\n\nHuman: {found[0].instruction}\n\nAssistant:"


def test_tldr_in_openais_own_form(tmp_path):
    info = {"subreddit": "cats", "title": "My cat", "post": "It sleeps."}
    rows = [
        {"info": info, "summaries": [{"text": " A cat sleeps."}, {"text": " A dog."}], "choice": 0},
        {"info": info, "summaries": [{"text": " A cat sleeps."}, {"text": " A dog."}], "choice": 1},
        {"info": info, "summaries": [{"text": " A cat."}, {"text": "A cat. "}], "choice": 1},
        {"info": info, "summaries": [{"text": " A cat."}, {"text": "A dog."}], "choice": None},
    ]
    found = load_tldr(lines(tmp_path / "c.jsonl", rows))
    assert [(e.chosen, e.rejected) for e in found] == [(" A cat sleeps.", " A dog."), (" A dog.", " A cat sleeps.")]
    assert found[0].prompt == "SUBREDDIT: r/cats\n\nTITLE: My cat\n\nPOST: It sleeps.\n\nTL;DR:"


@pytest.mark.parametrize("judged", [{}, {"preferred": None}, {"preferred": ""}], ids=["absent", "null", "empty"])
def test_unjudged_summaries_are_left_out(tmp_path, judged):
    row = {"query": "POST: It sleeps.\n\nTL;DR:", "postprocessed_response": " A dog.", "reference_responses": " A cat."}
    source = lines(tmp_path / "oai1b.jsonl", [row | judged, row | {"preferred": "reference"}])
    assert [(e.chosen, e.rejected) for e in load_tldr(source)] == [(" A cat.", " A dog.")]


def test_tldr_as_prompt_chosen_rejected_has_its_cue_once(tmp_path):
    rows = [{"prompt": "POST: It sleeps.", "chosen": "TL;DR: A cat.", "rejected": "TL;DR: A dog."}]
    (example,) = load_tldr(lines(tmp_path / "c.jsonl", rows))
    assert example.prompt + example.chosen == "POST: It sleeps.\n\nTL;DR: A cat."


def test_a_missing_column_or_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no `rejected`"):
        load_hh(lines(tmp_path / "hh.jsonl", [{"chosen": f"{ASK} a"}]))
    with pytest.raises(InputError, match=r"expected \.json"):
        (tmp_path / "hh.txt").write_text("x")
        load_hh(str(tmp_path / "hh.txt"))


def test_an_instruction_twice_is_refused(tmp_path):
    row = {"dataset": "a", "instruction": "same", "output": "b", "generator": "c"}
    with pytest.raises(InputError, match="1 instructions occur twice"):
        load_instructions(lines(tmp_path / "i.jsonl", [row, row]))


INSTRUCTED = {
    "key": 7, "prompt": "Name a pet. Do not use commas.",
    "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}],
    "messages": [{"role": "system", "content": "Do not use commas."}, {"role": "user", "content": "Name a pet."}],
}  # fmt: skip


def test_instructions_whose_checkers_need_a_download_are_left_out(tmp_path):
    more = INSTRUCTED | {"instruction_id_list": ["length_constraints:number_sentences"]}
    (row,) = load_sys_ifeval(Path(lines(tmp_path / "rows.jsonl", [INSTRUCTED, more])))
    assert row.pair.guardrails == ("Do not use commas.",) and row.pair.turns[-1].text == "Name a pet."


@pytest.mark.skipif(not can_check(), reason="requirements-optional.txt is not installed")
def test_instructions_are_checked(tmp_path):
    two = INSTRUCTED | {"instruction_id_list": ["punctuation:no_comma", "detectable_format:title"], "kwargs": [{}, {}]}
    one, other = load_sys_ifeval(Path(lines(tmp_path / "rows.jsonl", [INSTRUCTED, two])))
    assert (one.followed("A cat"), one.followed("A cat, a dog"), other.followed("A cat")) == (1.0, 0.0, 0.5)


@pytest.mark.skipif(not can_check() or not SHARED.is_dir(), reason="no checkers, or no slices of real data")
def test_every_row_of_s_ifeval_is_checked():
    rows = load_sys_ifeval(SHARED / "realguardrails" / "sys_ifeval.jsonl")
    assert len(rows) > 300 and all(0 <= row.followed("A short, plain answer.") <= 1 for row in rows)
