"""Notebook 07's verdict browser in a real JupyterLab: opened, run and clicked through in Chromium."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

import simulated_verdicts as simulated
from browser import choose, chromium, wait

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("from guardalign.report import examples", "examples.browse(results")


def browser_of_notebook_07(run: Path) -> str:
    """The cells of the source notebook that lead to the browser, on another run, as one cell."""
    source = nbformat.read(ROOT / "notebooks" / "07_plots.ipynb", as_version=4)
    found = [
        cell.source for cell in source.cells for text in NEEDED if cell.cell_type == "code" and text in cell.source
    ]
    assert len(found) == len(NEEDED)
    return "\n".join([f"run = {str(run)!r}", "report = {'level': 0.95}", *found])


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab of its own over a folder with one notebook; yields the notebook's address."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    run = simulated.run_folder(tmp_path / "run", {("M_1SFT", "M_1SFT_ipo"): 0.2, ("M_ipo", "M_kto"): 0.0}, 6, 2)
    (run / "tables").mkdir()
    (run / "tables" / "judging.csv").write_text("arm_1,arm_2\nM_1SFT,M_1SFT_ipo\n")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(browser_of_notebook_07(run))],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "explore.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT / "lib"), "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "IPYTHONDIR": str(tmp_path / "ipython"),
    }  # fmt: skip
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--port-retries=0", "--IdentityProvider.token=test", f"--ServerApp.root_dir={tmp_path}",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    (tmp_path / "home").mkdir()
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log, cwd=tmp_path)
        try:
            _until_up(port, server, tmp_path / "lab.log")
            yield f"http://127.0.0.1:{port}/lab/tree/explore.ipynb?token=test&reset"
        finally:
            server.terminate()
            try:
                server.wait(timeout=60)
            except subprocess.TimeoutExpired:
                server.kill()


def _until_up(port: int, server: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            pytest.fail(f"JupyterLab ended: {log.read_text()[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"JupyterLab does not answer: {log.read_text()[-2000:]}")


def run_first_cell(driver) -> bool:
    """Shift + Enter in the first cell until its prompt says that it runs: JupyterLab may not be ready for the key."""
    try:
        prompt = driver.find_element("css selector", ".jp-Notebook .jp-InputPrompt").text
        if any(sign in prompt for sign in "*123456789"):
            return True
        driver.find_element("css selector", ".jp-Notebook .cm-content").click()
        ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    except WebDriverException:
        pass
    return False


def test_a_reader_explores_verdicts_in_jupyterlab(lab):
    with chromium(width=1400, height=1000) as driver:
        driver.get(lab)
        wait(driver, lambda d: d.find_elements("css selector", ".jp-Notebook .jp-Cell"), 90)
        wait(driver, lambda d: "Idle" in d.find_element("css selector", "body").get_attribute("innerHTML"), 90)
        wait(driver, run_first_cell, 90)
        frame = wait(driver, lambda d: d.find_elements("css selector", ".jp-OutputArea iframe[srcdoc]"), 120)[0]
        driver.switch_to.frame(frame)
        wait(driver, lambda d: d.find_element("tag name", "html").get_attribute("data-ready") == "yes")
        choose(driver, "f-comparison", "IPO without SFT against KTO without SFT")
        choose(driver, "f-dimension", "naturalness")
        choose(driver, "f-bin", "none")
        expected = {
            verdict.pair_id
            for verdict in simulated.verdicts("M_ipo", "M_kto", 0.0, 6, 2, seed=1)
            if verdict.dimensions["naturalness"].bin == "none"
        }
        assert int(driver.find_element("id", "count").text.split()[0]) == len(expected) > 0
        shown = [card.text for card in driver.find_elements("css selector", "#list > li")]
        assert {re.search(r"c\d+-\d", text)[0] for text in shown} <= expected
        assert all("naturalness: none" in text for text in shown)
        assert driver.find_elements("css selector", "#list mark")
