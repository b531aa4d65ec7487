"""Pages of executed notebooks: complete without network, made again only where the notebook is newer, safe."""

from __future__ import annotations

import os
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import simulated_verdicts as simulated
from browser import chromium, errors
from guardalign import report
from guardalign.report import notebooks

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def executed(path, *texts):
    outputs = [
        new_output("stream", text="printed <b>\n"),
        new_output("stream", text="after it\n"),
        new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": {"width": 40}}),
        new_output("display_data", {"text/html": f"<table><tr><td>{HOSTILE}</td></tr></table>"}),
    ]
    cells = [new_markdown_cell(text) for text in texts]
    cells.append(new_code_cell("x = 1  # counted", execution_count=1, outputs=outputs))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def run(tmp_path):
    executed(
        tmp_path / "notebooks" / "02_sft.ipynb",
        "# Two",
        r"From $M_{1SFT}^{ipo}$ at $1/2\beta$, for $5 and $6; `$not TeX$`",
    )
    executed(tmp_path / "seed-2" / "notebooks" / "07_plots.ipynb", "# Seven")
    return tmp_path


def test_a_page_needs_nothing_from_elsewhere(run):
    assert [page.name for page in notebooks.convert(run)] == ["02_sft.html", "07_plots.html"]
    text = (run / "notebooks" / "02_sft.html").read_text()
    assert text.count("<math") == 2 and "<msubsup><mi>M</mi>" in text and "<mi>β</mi>" in text
    assert "</math>, for $5 and $6" in text and "<code>$not TeX$</code>" in text
    assert 'alt="Figure of the part “Two”"' in text
    assert f"data:image/png;base64,{PIXEL}" in text and "printed &lt;b&gt;\nafter it" in text and "# counted" in text
    assert not re.search(r"(src|href)=.?https?:", text)


def test_only_what_is_newer_is_made_again(run):
    first, second = notebooks.convert(run)
    assert notebooks.convert(run) == []
    later = first.stat().st_mtime_ns + 10**9
    os.utime(first.with_suffix(".ipynb"), ns=(later, later))
    assert notebooks.convert(run) == [first]
    assert second.exists()


def test_a_notebook_that_is_being_written_waits(run):
    half = run / "notebooks" / "03_flow1_alignment.ipynb"
    half.write_text('{"cells": [')
    assert len(notebooks.convert(run)) == 2
    assert not half.with_suffix(".html").exists()


def test_the_report_leads_to_the_pages(run):
    simulated.run_folder(run, {("M_1SFT", "M_1SFT_ipo"): 0.1}, 6, 2)
    text = report.write(run).read_text()
    targets = re.findall(r'<li><a href="([^"#]+)">([^<]+)</a>', text)
    assert targets == [
        ("notebooks/02_sft.html", "02 sft"),
        ("seed-2/notebooks/07_plots.html", "seed-2 07 plots"),
    ]
    assert all((run / target).exists() for target, _ in targets)


def test_an_output_can_run_nothing(run):
    notebooks.convert(run)
    with chromium() as driver:
        driver.get((run / "notebooks" / "02_sft.html").as_uri())
        assert driver.title == "02 sft"
        assert driver.find_element("css selector", "h1").text == "Two"
        assert all("Content Security Policy" in error for error in errors(driver))


@pytest.mark.parametrize("width", [390, 1400])
def test_a_page_fits_the_screen_and_its_pictures_have_words(run, width):
    long = new_output("display_data", {"text/html": f"<table><tr>{'<td>a wide cell</td>' * 40}</tr></table>"})
    wide = new_notebook(cells=[
        new_markdown_cell("# Wide\n\n$$" + " + ".join(f"x_{{{number}}}" for number in range(80)) + "$$"),
        new_code_cell("y = " + "1 + " * 80 + "1", execution_count=1, outputs=[long]),
    ])  # fmt: skip
    nbformat.write(wide, run / "notebooks" / "03_wide.ipynb")
    pages = notebooks.convert(run)
    with chromium(width=width) as driver:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        for page in pages:
            driver.get(page.as_uri())
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width, page.name
            assert driver.execute_script(
                "return [...document.images].filter(each => each.src.startsWith('data:') && !each.alt).length"
            ) == 0  # fmt: skip
