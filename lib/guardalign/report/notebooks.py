"""Executed notebooks as pages that open without Jupyter and without network, in the report's look.

nbconvert makes them, with the template in ``templates/notebook``. A page is next to its notebook and is made again
only if the notebook is newer.
"""

from __future__ import annotations

import os
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from latex2mathml.converter import convert as mathml

from guardalign.files import write_text
from guardalign.report.html import asset

# TeX as pandoc reads it ("$5 and $6" is none), and code, in which there is no TeX.
_FORMULA = re.compile(
    r"(?P<code>(`+).+?\2)|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\s`](?:[^$`]*[^$\s`])?)\$(?!\d)", re.DOTALL
)

_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def _files(root: Path, suffix: str) -> list[Path]:
    """In the folders of a run's executed notebooks: its own first, then those of its training seeds."""
    return sorted(root.glob(f"notebooks/*.{suffix}")) + sorted(root.glob(f"seed-*/notebooks/*.{suffix}"))


def convert(root: Path) -> list[Path]:
    """Bring the pages of a run's executed notebooks up to date; returns the ones that were made."""
    return [page for path in _files(root, "ipynb") if _stale(path) and (page := _convert(path))]


def links(root: Path, beside: Path) -> list[tuple[str, str]]:
    """The pages of a run's notebooks, relative to the folder ``beside``, with the words to show."""
    return [
        (Path(os.path.relpath(page, beside)).as_posix(), " ".join((*page.relative_to(root).parts[:-2], _title(page))))
        for page in _files(root, "html")
    ]


def _title(path: Path) -> str:
    return path.stem.replace("_", " ")


def _stale(notebook: Path) -> bool:
    page = notebook.with_suffix(".html")
    return not page.exists() or page.stat().st_mtime_ns < notebook.stat().st_mtime_ns


def _convert(notebook: Path) -> Path | None:
    """The page of one notebook; None if the file is not a notebook, such as one that is being written."""
    try:
        content = nbformat.read(notebook, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError):
        return None
    heading = _title(notebook)
    for cell in content.cells:
        if cell.cell_type == "markdown":
            heading = (_HEADING.findall(cell.source) or [heading])[-1]
            cell.source = _FORMULA.sub(_formula, cell.source)
        cell.metadata.setdefault("alt", f"Figure of the part “{heading}”")  # of pictures without a text
    css = asset("page.css") + asset("notebook.css")
    page, _ = _exporter().from_notebook_node(content, resources={"page": {"title": _title(notebook), "css": css}})
    write_text(notebook.with_suffix(".html"), page)
    return notebook.with_suffix(".html")


@cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    templates = str(Path(__file__).parent / "templates")
    exporter = HTMLExporter(
        template_name="notebook", extra_template_basedirs=[templates], exclude_anchor_links=True, log_level="ERROR"
    )
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # a log's lines come one by one
    return exporter


def _formula(match: re.Match[str]) -> str:
    """TeX as MathML, which browsers set without a script; invalid TeX is left unchanged."""
    if match["code"]:
        return match[0]
    display = "block" if match["block"] else "inline"
    try:
        return mathml((match["block"] or match["inline"]).strip(), display=display)
    except Exception:  # latex2mathml has no common base of its errors
        return escape(match[0], quote=False)
