"""The page's tables are those of the committed results."""

from __future__ import annotations

import importlib.util

from series import ROOT


def test_the_page_shows_the_training_speeds_that_are_committed():
    spec = importlib.util.spec_from_file_location("speed_table", ROOT / "benchmarks" / "speed_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page, tables = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8"), module.committed()
    assert tables and all("× as fast" in table for table in tables)
    assert module.filled(page, tables) == page
