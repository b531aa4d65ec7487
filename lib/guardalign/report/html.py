"""What every page is made with: the templates, the filters that write numbers, and the files next to the templates."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from guardalign.report import words
from guardalign.report.readable import readable


def environment() -> Environment:
    """jinja2 with autoescape and the page's filters."""
    made = Environment(
        loader=PackageLoader("guardalign.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.filters |= {
        "arm": words.arm, "notation": words.notation, "percent": words.percent, "share": words.share,
        "p_value": words.p_value, "readable": readable,
    }  # fmt: skip
    made.filters["script_json"] = words.script_json
    made.tests["number"] = lambda cell: bool(re.fullmatch(r"[−+]?[\d,.]+", cell))
    return made


def asset(name: str) -> str:
    return resources.files("guardalign.report").joinpath("templates", name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """The only script that the page's content policy lets run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
