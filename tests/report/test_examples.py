"""The verdict browser in a notebook: the report's own, or a table where there is no interaction."""

from __future__ import annotations

import re
from html import unescape

import pytest

import simulated_verdicts as simulated
from guardalign import report
from guardalign.report import examples


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    comparisons = {("M_1SFT", "M_1SFT_ipo"): 0.2, ("chosen", "rejected"): -0.4}
    return report.load(simulated.run_folder(tmp_path_factory.mktemp("runs") / "run", comparisons, 8, 3))


def test_without_interaction_there_is_a_table(results, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    table = examples.browse(results, rows=5)
    assert len(table) == 10 and table.groupby(["1", "2"])["prompt"].nunique().tolist() == [5, 5]
    first = results.first_verdicts[0]
    row = table[(table["1"] == first.arm_1) & (table["prompt"] == first.pair_id)].iloc[0]
    assert row["adherence"] == first.dimensions["adherence"].bin
    assert set(table[table["2"] == "rejected"]["reply 2"]) == {"No."}


def test_a_jupyter_kernel_gets_the_browser_of_the_report(results, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/06_judging.ipynb")
    frame = examples.browse(results).data
    assert frame.startswith('<iframe sandbox="allow-scripts"') and frame.count("<") == 2
    page = unescape(re.search('srcdoc="([^"]*)"', frame)[1])
    assert examples.packed(examples.payload(results)) in page
    assert "default-src 'none'" in page
