"""Rendering of pages: templates, the filters that write numbers, scripts and styles, and inline figures."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape, unescape
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from guardalign.report.figures.looks import plain
from guardalign.report.figures.style import INK, MUTED, PAPER, RULE, SMALL
from guardalign.report.readable import readable

VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--paper)"}


def render(template: str, script: str = "", **values: object) -> str:
    """A page from a template, with autoescape; ``script``, a file next to it, is the only one that may run there."""
    environment = Environment(
        loader=PackageLoader("guardalign.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"arm": plain, "readable": readable}
    environment.tests["number"] = lambda cell: bool(re.fullmatch(r"[−+]?[\d,.]+", cell))
    run, allowed = "", "'none'"
    if script:
        run = asset(script)
        allowed = f"'sha256-{base64.b64encode(hashlib.sha256(run.encode()).digest()).decode()}'"
    return environment.get_template(template).render(
        css=Markup(asset("page.css")), script=Markup(run), script_hashes=Markup(allowed), **values
    )


def asset(name: str) -> str:
    return resources.files("guardalign.report").joinpath("templates", name).read_text(encoding="utf-8")


def inline(path: Path) -> Markup:
    """A saved figure as an ``svg`` element: its ink and paper follow the page's, its ids are its own, a screen reader
    announces it by its title and caption, and its smallest text never has less than 9 pixels.

    Only for figures this package saved: the file's own markup is trusted, its title and caption are escaped.
    """
    text = path.read_text(encoding="utf-8")
    notes = re.findall(r"<dc:(?:title|description)>(.*?)</dc:(?:title|description)>", text, re.DOTALL)
    spoken = escape(". ".join(unescape(note).strip() for note in notes if note.strip()), quote=True)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>|<!--.*?-->", "", text, flags=re.DOTALL)
    prefix = re.sub(r"\W", "-", path.stem)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    width = float(text.partition('viewBox="0 0 ')[2].split()[0])
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 style="min-width: {9 / SMALL * width:.0f}px"', text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"\n\s*", "\n", text)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{spoken}"', 1))
