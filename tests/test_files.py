"""Files appear whole or not at all, and say what is missing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess

import pytest

from guardalign.data.conversations import Turn
from guardalign.errors import ForeignRun, GuardalignError, InputError, MissingStage
from guardalign.files import (
    RunFolder,
    damaged,
    fingerprint,
    intact,
    new_folder,
    read_rows,
    replacing,
    require,
    write_rows,
    write_text,
)


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [Turn(role="user", text="Grüße 👋\u2028\nzweite Zeile"), Turn(role="agent", text="ok", tagged=True)]
    write_rows(tmp_path / "deep" / "rows.jsonl", rows)
    assert read_rows(tmp_path / "deep" / "rows.jsonl", Turn) == rows
    assert b"\r" not in (tmp_path / "deep" / "rows.jsonl").read_bytes()


def test_a_broken_row_names_file_and_line(tmp_path):
    write_text(tmp_path / "rows.jsonl", '{"role":"user","text":"a"}\n{"role":"user"\n')
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2"):
        read_rows(tmp_path / "rows.jsonl", Turn)


@pytest.mark.parametrize("change", [b"mou", b"\xff", b""], ids=["letter", "no text", "cut"])
def test_a_file_of_rows_that_is_not_as_it_was_written_is_named(tmp_path, change):
    path = tmp_path / "data" / "rows.jsonl"
    write_rows(path, [Turn(role="user", text="house"), Turn(role="agent", text="ok")])
    assert intact(path) and damaged(tmp_path) == []
    path.write_bytes(path.read_bytes().replace(b"hou", change))
    assert not intact(path) and damaged(tmp_path) == [path]
    with pytest.raises(InputError, match=r"rows\.jsonl is damaged"):
        read_rows(path, Turn)
    (tmp_path / "data" / "rows.jsonl.sha256").unlink()
    if change == b"mou":
        assert [row.text for row in read_rows(path, Turn)] == ["mouse", "ok"]
    write_rows(path, [Turn(role="agent", text="again")])
    assert damaged(tmp_path) == [] and len(read_rows(path, Turn)) == 1


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_a_checksum_is_what_sha256sum_reads(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"a": "ü"}])
    subprocess.run(["sha256sum", "--check", "rows.jsonl.sha256"], cwd=tmp_path, check=True)


def test_rows_with_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"role":"user","text":"a"}\n', encoding="utf-8-sig")
    assert read_rows(tmp_path / "rows.jsonl", Turn) == [Turn(role="user", text="a")]


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_text(path, "old")

    def rows():
        yield {"a": 1}
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        write_rows(path, rows())
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["rows.jsonl"]


@pytest.mark.parametrize("writing", [replacing, new_folder])
def test_a_full_disk_is_a_clear_error(tmp_path, writing):
    with pytest.raises(GuardalignError, match="disk is full"), writing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_device_without_space_is_a_clear_error(tmp_path):
    disk_is_full = pytest.raises(GuardalignError, match="The disk is full")
    with disk_is_full, replacing(tmp_path / "a.txt"), open("/dev/full", "w") as full:
        full.write("x")
        full.flush()


def test_fingerprints_follow_content_and_not_order_of_keys(tmp_path):
    write_text(tmp_path / "a" / "x.json", "1")
    write_text(tmp_path / "b" / "x.json", "1")
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    write_text(tmp_path / "b" / "x.json", "2")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint(Turn(role="user", text="a")) == fingerprint({"role": "user", "text": "a", "tagged": False})


def test_a_missing_stage_names_its_notebook(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(MissingStage, match="02_sft"):
        require(run.model("M_1SFT"), notebook="02_sft")
    run.model("M_1SFT").mkdir(parents=True)
    assert require(run.model("M_1SFT"), notebook="02_sft") == tmp_path / "models" / "M_1SFT"


def test_stages_record_what_they_used_and_later_ones_compare(tmp_path):
    run = RunFolder(tmp_path)
    run.record("01_data", parameters={"seed": 1, "source": {"kind": "world"}}, content="abc")
    run.record("02_sft", parameters={"seed": 1, "sft": {"learning_rate": 0.1}})
    assert run.facts["01_data"]["content"] == "abc" and run.facts["versions"]["python"]
    run.agree(["01_data", "02_sft"], {"seed": 1, "sft": {"learning_rate": 0.1}, "judge": {}})
    with pytest.raises(ForeignRun, match="another `sft`"):
        run.agree(["01_data", "02_sft"], {"seed": 1, "sft": {"learning_rate": 0.2}})
    run.agree(["03_flow1"], {"seed": 2})
