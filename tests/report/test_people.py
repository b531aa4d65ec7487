"""People as judges: the sample is blind and balanced, answers come back as they were meant, bad files are refused."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter

import pytest

import simulated_verdicts as simulated
from browser import chromium, errors
from guardalign import stats
from guardalign.errors import InputError
from guardalign.judging.verdicts import DIMENSIONS
from guardalign.report import people
from guardalign.workflow.cli import main

ARMS = ("M_1SFT", "M_1SFT_ipo", "M_kto")
COMPARISONS = [ARMS[:2], ARMS[1:]]


@pytest.fixture
def sample():
    replies = {arm: simulated.replies(arm) for arm in ARMS}
    replies = {
        arm: [reply.model_copy(update={"text": f"{reply.text} {suffix}"}) for reply in arm_replies]
        for (arm, arm_replies), suffix in zip(replies.items(), "xyz", strict=True)
    }
    return people.draw(simulated.pairs(), replies, COMPARISONS, size=24, seed=3)


def answers(sample, person, choose):
    """One row an item and dimension; ``choose(item, dimension)`` gives (first arm ok, second arm ok, preferred arm)."""
    rows = []
    for item in sample:
        for dimension in DIMENSIONS:
            one, two, preferred = choose(item, dimension)
            sides = {item.arm_1: "B" if item.swapped else "A", item.arm_2: "A" if item.swapped else "B", "": "tie"}
            a, b = (two, one) if item.swapped else (one, two)
            rows.append({
                "person": person, "item": item.item, "dimension": dimension, "a_acceptable": "yes" if a else "no",
                "b_acceptable": "yes" if b else "no", "preferred": sides[preferred],
            })  # fmt: skip
    return rows


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def always_first(item, dimension):
    return True, False, item.arm_1


def test_the_sample_is_balanced_in_comparisons_and_sides(sample):
    assert Counter((item.arm_1, item.arm_2) for item in sample) == {pair: 12 for pair in COMPARISONS}
    for pair in COMPARISONS:
        assert sum(item.swapped for item in sample if (item.arm_1, item.arm_2) == pair) == 6
    for item in sample:
        marks = {"M_1SFT": "x", "M_1SFT_ipo": "y", "M_kto": "z"}
        first, second = (item.arm_2, item.arm_1) if item.swapped else (item.arm_1, item.arm_2)
        assert item.reply_a.endswith(marks[first]) and item.reply_b.endswith(marks[second])
    assert [item.arm_1 for item in sample] != sorted(item.arm_1 for item in sample)


def test_odd_shares_are_balanced_over_the_comparisons():
    replies = {arm: simulated.replies(arm) for arm in ARMS}
    drawn = people.draw(simulated.pairs(), replies, COMPARISONS, size=2)
    assert sorted(item.swapped for item in drawn) == [False, True]


def test_what_people_get_names_no_arm(sample, tmp_path):
    page, table, key = people.export(sample, tmp_path)
    for path in (page, table):
        text = path.read_text()
        assert not any(arm in text for arm in ARMS) and "swapped" not in text
    assert "M_1SFT_ipo" in key.read_text()


def test_answers_of_several_people_come_back_turned_to_the_arms(sample, tmp_path):
    _, _, key = people.export(sample, tmp_path)
    ann = write_csv(tmp_path / "ann.csv", answers(sample, "Ann", always_first))
    ben = write_csv(tmp_path / "ben.csv", answers(sample, "Ben", lambda item, _: (True, True, "")))
    verdicts = people.read([ann, ben], key)
    table = stats.table(stats.frame(verdicts)).set_index("judge")
    assert (table.loc["person Ann", "better_1"] == 1).all()
    assert (table.loc["person Ben", "both"] == 1).all() and (table.loc["person Ben", "preferred"] == 0.5).all()
    kappa = stats.kappa(stats.frame(verdicts), "person Ann", "person Ben")
    assert (kappa["agreement"] == 0).all() and (kappa["n"] == 24).all()


def test_the_exported_table_filled_in_by_a_spreadsheet_is_read(sample, tmp_path):
    _, table, key = people.export(sample, tmp_path)
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row |= {"person": " Cleo ", "a_acceptable": "yes", "b_acceptable": "no ", "preferred": "A"}
    path = tmp_path / "cleo.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    verdicts = people.read([path], key)
    assert {verdict.judge for verdict in verdicts} == {"person Cleo"}
    for verdict in verdicts:
        better = "1 better" if verdict.order == "12" else "2 better"
        assert all(judgement.bin == better for judgement in verdict.dimensions.values())


def spoil(rows, change):
    rows = [dict(row) for row in rows]
    return change(rows) or rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[4].update(preferred="both"), "row 6: preferred"),
        (lambda rows: rows[4].update(a_acceptable=""), "row 6: a_acceptable"),
        (lambda rows: rows[1].update(item="p999"), "row 3: no item p999"),
        (lambda rows: rows[1].update(dimension="style"), "row 3: dimension"),
        (lambda rows: rows[7].update(person=""), "row 9: no name"),
        (lambda rows: rows[7].update(person="Eve"), "one person per file"),
        (lambda rows: rows.append(dict(rows[0])), "row 74"),
        (lambda rows: rows[:-2], "p024, naturalness"),
        (lambda rows: [{k: v for k, v in row.items() if k != "preferred"} for row in rows], "no column preferred"),
    ],
)
def test_wrong_or_partial_files_are_refused_with_the_row(sample, tmp_path, change, message):
    _, _, key = people.export(sample, tmp_path)
    path = write_csv(tmp_path / "ann.csv", spoil(answers(sample, "Ann", always_first), change))
    with pytest.raises(InputError, match=f"ann.csv.*{message}"):
        people.read([path], key)


def test_a_file_in_another_encoding_is_named(sample, tmp_path):
    _, _, key = people.export(sample, tmp_path)
    write_csv(tmp_path / "ann.csv", answers(sample, "Zoë", always_first))
    (tmp_path / "ann.csv").write_bytes((tmp_path / "ann.csv").read_text(encoding="utf-8").encode("cp1252"))
    with pytest.raises(InputError, match=r"ann\.csv is not UTF-8"):
        people.read([tmp_path / "ann.csv"], key)


def test_one_person_answers_once(sample, tmp_path):
    _, _, key = people.export(sample, tmp_path)
    files = [write_csv(tmp_path / name, answers(sample, "Ann", always_first)) for name in ("a.csv", "b.csv")]
    with pytest.raises(InputError, match="Ann"):
        people.read(files, key)


def test_people_stand_beside_the_judge_on_the_same_prompts(sample, tmp_path):
    _, _, key = people.export(sample, tmp_path)
    ann = write_csv(tmp_path / "ann.csv", answers(sample, "Ann", always_first))
    ben = write_csv(tmp_path / "ben.csv", answers(sample, "Ben", lambda item, _: (True, True, "")))
    judged = [verdict for pair in COMPARISONS for verdict in simulated.verdicts(*pair)]
    table = people.beside(people.read([ann, ben], key), judged)
    assert set(table["judge"]) == {"people", "embedded"} and set(table["n"]) == {12}
    mine = table[table["judge"] == "people"]
    assert (mine["win_1"] == 1).all() and (mine["win_2"] == 0.5).all() and (mine["net"] == 0.5).all()


def test_a_sample_that_people_have_is_not_replaced_by_another(sample, tmp_path):
    people.export(sample, tmp_path)
    people.export(sample, tmp_path)
    with pytest.raises(InputError, match="another sample"):
        people.export(sample[:5], tmp_path)


@pytest.mark.parametrize("left", [None, '[{"item": "p0'])
def test_answers_without_their_key_are_not_read(sample, tmp_path, left):
    _, _, key = people.export(sample, tmp_path)
    key.unlink() if left is None else key.write_text(left)
    with pytest.raises(InputError, match=r"key\.json.*missing or damaged"):
        people.read([write_csv(tmp_path / "ann.csv", answers(sample, "Ann", always_first))], key)


def test_too_few_common_prompts_are_named():
    replies = {"a": simulated.replies("a"), "b": simulated.replies("b")[:3]}
    with pytest.raises(InputError, match="a against b"):
        people.draw(simulated.pairs(), replies, [("a", "b")], size=5)


def test_a_cell_that_would_run_as_a_formula_is_text(sample, tmp_path):
    hostile = [sample[0].model_copy(update={"reply_a": '=HYPERLINK("http://x")'})]
    _, table, _ = people.export(hostile, tmp_path)
    with table.open(newline="") as stream:
        assert {row["reply_A"] for row in csv.DictReader(stream)} == {'\'=HYPERLINK("http://x")'}


def test_a_person_answers_in_the_page_and_the_saved_file_is_read(sample, tmp_path):
    items = sample[:2]
    hostile = "</script><img src=x onerror=document.title='owned'>"
    items[0] = items[0].model_copy(update={"reply_a": hostile})
    page, _, key = people.export(items, tmp_path)
    with chromium(downloads=str(tmp_path)) as driver:
        driver.get(page.as_uri())
        driver.find_element("id", "save-csv").click()
        assert "name" in driver.find_element("id", "message").text
        driver.find_element("id", "person").send_keys("Dora")
        for index in range(2):
            for name, value in (("a_acceptable", "yes"), ("b_acceptable", "no"), ("preferred", "A")):
                for choice in driver.find_elements("css selector", f"input[name$='/{name}'][value='{value}']"):
                    choice.click()
            assert driver.find_element("id", "progress").text == f"{index + 1} of 2 answered"
            if index == 0:
                driver.find_element("id", "save-csv").click()
                assert "Prompt 2 is not answered" in driver.find_element("id", "message").text
        for _ in range(20):  # Chromium stores in the background: a busy machine may reload before it has
            driver.refresh()
            if driver.find_element("id", "progress").text == "2 of 2 answered":
                break
            time.sleep(0.2)
        assert driver.find_element("id", "progress").text == "2 of 2 answered"
        assert driver.title != "owned" and hostile in driver.page_source.replace("&lt;", "<").replace("&gt;", ">")
        driver.find_element("id", "save-csv").click()
        saved = tmp_path / "answers-Dora.csv"
        for _ in range(50):
            if saved.exists():
                break
            time.sleep(0.1)
        assert errors(driver) == []
    for verdict in people.read([saved], key):
        assert verdict.judge == "person Dora"
        assert verdict.dimensions["adherence"].bin == ("1 better" if verdict.order == "12" else "2 better")


def test_the_command_draws_a_sample_of_a_run(tmp_path, capsys):
    run = simulated.run_folder(tmp_path / "run", {("M_1SFT", "M_1SFT_ipo"): 0.1}, conversations=8)
    assert main(["judge-sample", str(run), "--items", "4"]) == 0
    items = json.loads((run / "people" / "key.json").read_text())
    assert len(items) == 4 and {(item["arm_1"], item["arm_2"]) for item in items} == {("M_1SFT", "M_1SFT_ipo")}
    assert str(run / "people" / "judge.html") in capsys.readouterr().out
    assert main(["judge-sample", str(run), "--items", "4", "--seed", "1"]) == 1, "answers to the first would be lost"
    with pytest.raises(SystemExit):
        main(["judge-sample", str(run), "--items", "-3"])
    assert "expected a whole number above 0" in capsys.readouterr().err
