"""Executed notebooks as pages that open without Jupyter and without network, in the report's look.

A page lies beside its notebook and is made again only where the notebook is newer.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from guardalign.config.notebooks import import_nbformat
from guardalign.files import write_text
from guardalign.report.html import asset, environment

_FORMULA = re.compile(r"\$([^$\s]+)\$")
_PARTS = (
    (re.compile(r"_\{([^{}]+)\}"), r"<sub>\1</sub>"),
    (re.compile(r"\^\{([^{}]+)\}"), r"<sup>\1</sup>"),
    (re.compile(r"\\beta\b"), "β"),
    (re.compile(r"^[MN](?=<|$)"), r"<i>\g<0></i>"),
)


def folders(root: Path) -> list[Path]:
    """Where a run's executed notebooks lie: its own, and those of its training seeds."""
    return [folder for folder in (root / "notebooks", *sorted(root.glob("seed-*/notebooks"))) if folder.is_dir()]


def convert(root: Path) -> list[Path]:
    """Bring the pages of a run's executed notebooks up to date; returns the ones that were made."""
    notebooks = (path for folder in folders(root) for path in sorted(folder.glob("*.ipynb")))
    return [made for path in notebooks if _stale(path) and (made := _convert(path))]


def links(root: Path) -> list[tuple[str, str]]:
    """The pages of a run's notebooks, relative to ``root``, with the words to show."""
    pages = (path.relative_to(root) for folder in folders(root) for path in sorted(folder.glob("*.html")))
    return [(page.as_posix(), " ".join((*page.parts[:-2], page.stem.replace("_", " ")))) for page in pages]


def _stale(notebook: Path) -> bool:
    page = notebook.with_suffix(".html")
    return not page.exists() or page.stat().st_mtime_ns < notebook.stat().st_mtime_ns


def _convert(notebook: Path) -> Path | None:
    """The page of one notebook; None where the file is none, such as one that is being written."""
    nbformat = import_nbformat()
    try:
        content = nbformat.read(notebook, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError):
        return None
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = _FORMULA.sub(_formula, cell.source)
    body, _ = _exporter().from_notebook_node(content)
    page = environment().get_template("notebook.html").render(
        name=notebook.stem.replace("_", " "), css=Markup(asset("page.css") + asset("notebook.css")),
        script_hashes=Markup("'none'"), body=Markup(body),
    )  # fmt: skip
    write_text(notebook.with_suffix(".html"), page)
    return notebook.with_suffix(".html")


@cache
def _exporter() -> Any:
    """nbconvert's bare cells: its full templates fetch scripts and fonts from the network."""
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True, log_level="ERROR")
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # a log's lines come one by one
    return exporter


def _formula(found: re.Match[str]) -> str:
    """The little TeX that the notebooks' texts hold, as HTML."""
    text = escape(found[1], quote=False)
    for pattern, shown in _PARTS:
        text = pattern.sub(shown, text)
    return text
