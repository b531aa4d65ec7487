"""Prompts and replies as a notebook shows them: plain HTML, no style of its own beyond a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image, display
from markupsafe import Markup
from PIL import Image as Picture

from guardalign.data.conversations import PreferencePair
from guardalign.files import RunFolder
from guardalign.judging.verdicts import ReplyAssessment
from guardalign.llm import Message

INCH = 100  # CSS pixels that a figure's inch takes in a notebook
_CELL = "text-align:left;vertical-align:top;white-space:pre-wrap;max-width:44em"


def conversation(pair: PreferencePair) -> HTML:
    """A point's guardrails, numbered from 1, next to its history."""
    rules = "".join(f"<li>{escape(text)}</li>" for text in pair.guardrails)
    turns = "".join(f"<p><b>{turn.role.title()}</b>: {escape(turn.text)}</p>" for turn in pair.turns)
    return HTML(_table([["guardrails", "conversation"]], [[f"<ol>{rules}</ol>", turns]]))


def side_by_side(replies: Mapping[str, str], said: Mapping[str, ReplyAssessment] | None = None) -> HTML:
    """Replies to one prompt, a row each; with a judge's assessments, what it finds wrong with them."""
    said = said or {}
    head = ["", "reply", *(["the judge"] if said else [])]
    rows = [
        [f"<b>{escape(name)}</b>", escape(text), *([_findings(said[name])] if name in said else [])]
        for name, text in replies.items()
    ]
    return HTML(_table([head], rows))


def _findings(said: ReplyAssessment) -> str:
    lines = []
    for name, part in (
        ("adherence", said.adherence),
        ("naturalness", said.naturalness),
        ("hallucination", said.hallucination),
    ):
        lines.append(f"{'✓' if part.acceptable else '✗'} {name}" + (f": {escape(part.reason)}" if part.reason else ""))
    return "<br>".join(lines)


def prompts(filled: Mapping[str, Sequence[Message]]) -> HTML:
    """Prompts as they leave for a language model, each behind its name: click to read."""
    style = "white-space:pre-wrap;max-width:60em"
    return HTML(
        "".join(
            f"<details><summary>{escape(name)}</summary>"
            + "".join(
                f"<p><b>{each.role}</b></p><pre style='{style}'>{escape(each.content)}</pre>" for each in messages
            )
            + "</details>"
            for name, messages in filled.items()
        )
    )


def sentences(texts: Sequence[Markup]) -> None:
    """Display findings that are HTML already, one below the other."""
    display(HTML("".join(f"<p>{text}</p>" for text in texts)))


def saved_figures(run: RunFolder, *names: str) -> None:
    """Display the saved figures of these names, each at its size and in its full resolution; skip what is not there."""
    for path in (run.figures(f"{name}.png") for name in names):
        if path.exists():
            display(Image(path.read_bytes(), width=_width(path), alt=_title(path)))


def _title(picture: Path) -> str:
    with Picture.open(picture) as opened:
        return str(opened.info.get("Title", picture.stem))


def _width(picture: Path) -> int:
    with Picture.open(picture) as opened:
        return round(opened.width / opened.info["dpi"][0] * INCH)


def percent(table: pd.DataFrame, columns: Sequence[str], digits: int = 0) -> pd.DataFrame:
    """A copy with the shares in ``columns`` as percentages, and their intervals (``_low``, ``_high``)."""
    shown = table.copy()
    for name in columns:
        low, high = f"{name}_low", f"{name}_high"
        if low in table:
            spans = zip(table[name], table[low], table[high], strict=True)
            shown[name] = [_span(100 * value, 100 * least, 100 * most, digits) for value, least, most in spans]
            shown = shown.drop(columns=[low, high])
        else:
            shown[name] = [f"{100 * value:.{digits}f} %" for value in table[name]]
    return shown


def _span(value: float, low: float, high: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{digits}f} % [{low:.{digits}f}, {high:.{digits}f}]"


def _table(head: list[list[str]], rows: list[list[str]]) -> str:
    top = "".join(f'<th style="text-align:left">{cell}</th>' for cell in head[0])
    body = "".join("<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
