"""The site that `make book` builds: its links lead somewhere, its pages fit the screen and load nothing from elsewhere.

Needs the packages of docs/requirements.txt, which `make book` installs.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from browser import chromium
from series import ROOT

pytest.importorskip("myst_nb", reason="`make book` installs it")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    book = tmp_path_factory.mktemp("book")
    command = ["make", "--no-print-directory", "site", f"PY={sys.executable}", f"BOOK={book}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr  # a broken link is an error
    return [path for path in sorted((book / "html").rglob("*.html")) if path.stem not in ("genindex", "search")]


def test_every_notebook_and_page_is_there(pages):
    names = {path.stem for path in pages}
    assert names >= {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert names >= {path.stem for path in (ROOT / "docs").glob("*.md")} | {"CONTRIBUTING", "CHANGELOG"}


def test_pages_load_nothing_from_elsewhere(pages):
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(script|img|iframe)[^>]+src="(https?:)?//', text), page.name
        assert not re.search(r'<link[^>]+rel="stylesheet"[^>]+href="(https?:)?//', text), page.name


@pytest.mark.parametrize("width", [390, 1400])
def test_pages_fit_the_screen_and_pictures_have_words(pages, width):
    with chromium(width=width) as driver:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for page in pages:
            driver.get(page.as_uri())
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width, page.name
            assert driver.execute_script("return [...document.images].every(each => each.alt)"), page.name
