"""A saved figure as part of a page: inline, its ink and paper following the page's, its ids its own."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from markupsafe import Markup

from guardalign.report.figures.style import INK, MUTED, PAPER, RULE, SMALL

VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--paper)"}
_TITLE = re.compile(r"<dc:title>(.*?)</dc:title>", re.DOTALL)
_CAPTION = re.compile(r"<dc:description>(.*?)</dc:description>", re.DOTALL)


def inline(path: Path) -> Markup:
    """The figure as an ``svg`` element that a screen reader announces by its title and caption, never so small that its
    smallest text has less than 9 pixels.

    Only for figures this package saved: the file's own markup is trusted, its title and caption are escaped.
    """
    text = path.read_text(encoding="utf-8")
    spoken = escape(". ".join(part for part in (title(path), caption(path)) if part), quote=True)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>|<!--.*?-->", "", text, flags=re.DOTALL)
    prefix = re.sub(r"\W", "-", path.stem)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    wide = re.search(r'viewBox="0 0 ([\d.]+)', text)
    least = f"{9 / SMALL * float(wide[1]):.0f}px" if wide else "0"
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 style="min-width: {least}"', text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"\n\s*", "\n", text)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{spoken}"', 1))


def title(path: Path) -> str:
    """What the figure shows."""
    return _note(path, _TITLE)


def caption(path: Path) -> str:
    return _note(path, _CAPTION)


def _note(path: Path, pattern: re.Pattern[str]) -> str:
    found = pattern.search(path.read_text(encoding="utf-8"))
    return re.sub(r"&(amp|lt|gt|quot);", lambda m: {"amp": "&", "lt": "<", "gt": ">", "quot": '"'}[m[1]],
                  found[1].strip()) if found else ""  # fmt: skip
