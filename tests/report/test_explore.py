"""Exploring verdicts: the controls show what they say, a table stands in where nobody can click, text is escaped."""

from __future__ import annotations

import ipywidgets
import pytest

import simulated_verdicts as simulated
from guardalign import report
from guardalign.report import explore


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    comparisons = {("M_1SFT", "M_1SFT_ipo"): 0.2, ("chosen", "rejected"): -0.4}
    return report.load(simulated.run_folder(tmp_path_factory.mktemp("runs") / "run", comparisons, 8, 3))


def controls(widget):
    return {child.description: child for child in widget.children[0].children if getattr(child, "description", "")}


def test_where_nobody_can_click_there_is_a_table(results, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    table = explore.verdicts(results, rows=5)
    assert len(table) == 10 and table.groupby(["1", "2"])["prompt"].nunique().tolist() == [5, 5]
    first = results.first_verdicts[0]
    row = table[(table["1"] == first.arm_1) & (table["prompt"] == first.pair_id)].iloc[0]
    assert row["adherence"] == first.dimensions["adherence"].bin
    assert set(table[table["2"] == "rejected"]["reply 2"]) == {"No."}


def test_a_jupyter_kernel_gets_widgets_whose_controls_select(results, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/06_judging.ipynb")
    widget = explore.verdicts(results)
    assert isinstance(widget, ipywidgets.VBox)
    control, (bar, page) = controls(widget), widget.children
    said = [v for v in results.first_verdicts if v.arm_1 == "M_1SFT"]
    control["Comparison"].value = ("M_1SFT", "M_1SFT_ipo")
    assert bar.children[-1].value == f"of {len(said)}"
    control["Dimension"].value, control["Verdict"].value = "naturalness", "2 better"
    wanted = [v for v in said if v.dimensions["naturalness"].bin == "2 better"]
    assert bar.children[-1].value == f"of {len(wanted)}" and len(wanted) > 1
    assert "naturalness: <b>2 better</b>" in page.value
    control["Example"].value = 2
    assert wanted[1].pair_id in page.value
    control["Conversation"].value = "nobody"
    assert bar.children[-1].value == "of 0" and "No verdict" in page.value
    control["Conversation"].value = wanted[-1].conversation_id
    assert wanted[-1].conversation_id in page.value


def test_quotes_are_marked_and_everything_is_escaped():
    text = "Thank you <b>so</b> much & bye"
    assert explore.marked(text, ["Thank you", "you <b>so", "absent", ""]) == (
        "<mark>Thank you</mark><mark> &lt;b&gt;so</mark>&lt;/b&gt; much &amp; bye"
    )


def test_a_hostile_reply_stays_text(results):
    hostile = "<img src=x onerror=alert(1)>"
    first = results.first_verdicts[0]
    texts = {**results.texts, (first.arm_1, first.pair_id): hostile}
    object.__setattr__(results, "texts", texts)
    shown = explore.example(results, first)
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown and "<img" not in shown
