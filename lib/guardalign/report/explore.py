"""Reading verdicts in a notebook: pick a comparison, a dimension, a verdict, a conversation; see what was judged.

>>> from guardalign.report import explore
>>> explore.verdicts(results)      # ``report.load(run.root)``; widgets in JupyterLab, a table where nobody can click

Under papermill and nbconvert there is no one to click and no widget survives in the saved notebook: there the same call
returns a table of examples.
"""

from __future__ import annotations

import os
from html import escape
from typing import Any

import pandas as pd

from guardalign.judging.verdicts import BINS, DIMENSIONS, Dimension, ReplyAssessment, Verdict
from guardalign.report.examples import reply_text
from guardalign.report.results import Results
from guardalign.report.words import arm as arm_name

ANY = "any"
_BOX = "flex:1;min-width:18em;border:1px solid;border-radius:6px;padding:.5em .75em;white-space:pre-wrap"


def verdicts(results: Results, interactive: bool | None = None, rows: int = 12) -> Any:
    """Widgets over all verdicts of the main judge (first seed), or a table of ``rows`` of them for each comparison.

    ``interactive`` is found out if not given: a kernel that a Jupyter server started has somebody in front of it.
    """
    shown = [said for said in results.first_verdicts if said.judge == results.judge]
    if interactive is None:
        interactive = "JPY_SESSION_NAME" in os.environ
    return _widgets(results, shown) if interactive else table(results, shown, rows)


def table(results: Results, said: list[Verdict], rows: int) -> pd.DataFrame:
    """The first ``rows`` prompts of each comparison: bins, replies, and what the judge holds against them."""
    taken: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in said:
        group = taken.setdefault((verdict.arm_1, verdict.arm_2), [])
        if len(group) < rows and verdict.pair_id not in {other.pair_id for other in group}:
            group.append(verdict)
    return pd.DataFrame([
        {"1": v.arm_1, "2": v.arm_2, "prompt": v.pair_id}
        | {name: v.dimensions[name].bin if v.invalid is None else "invalid" for name in DIMENSIONS}
        | {"reply 1": reply_text(results, v.arm_1, v.pair_id), "reply 2": reply_text(results, v.arm_2, v.pair_id)}
        for group in taken.values()
        for v in group
    ])  # fmt: skip


def example(results: Results, verdict: Verdict) -> str:
    """One verdict as HTML: guardrails, history, both replies with quotes marked, what was said. All text is escaped."""
    pair = results.pairs.get(verdict.pair_id)
    rules = "".join(f"<li>{escape(text)}</li>" for text in pair.guardrails) if pair else ""
    turns = "".join(f"<p><b>{turn.role.title()}:</b> {escape(turn.text)}</p>" for turn in pair.turns) if pair else ""
    sides = "".join(
        _side(place, name, reply_text(results, name, verdict.pair_id), said)
        for place, name, said in ((1, verdict.arm_1, verdict.reply_1), (2, verdict.arm_2, verdict.reply_2))
    )
    bins = "; ".join(f"{name}: <b>{verdict.dimensions[name].bin}</b>" for name in verdict.dimensions)
    return (
        f"<p>{escape(verdict.pair_id)} · order {verdict.order} · {bins or escape(verdict.invalid or '')}</p>"
        f"<details><summary>{len(pair.guardrails) if pair else 0} guardrails</summary><ol>{rules}</ol></details>"
        f"<div>{turns}</div><div style='display:flex;flex-wrap:wrap;gap:1em'>{sides}</div>"
    )


def marked(text: str, quotes: list[str]) -> str:
    """``text`` escaped, with every quote that occurs in it marked; overlapping quotes are joined."""
    spans = sorted((text.find(quote), text.find(quote) + len(quote)) for quote in quotes if quote and quote in text)
    parts, at = [], 0
    for start, end in spans:
        if end > at:
            start = max(start, at)
            parts += [escape(text[at:start]), f"<mark>{escape(text[start:end])}</mark>"]
            at = end
    return "".join([*parts, escape(text[at:])])


def _side(place: int, name: str, text: str, said: ReplyAssessment | None) -> str:
    quotes, lines = [], []
    if said:
        parts = [(dimension, said.dimension(dimension)) for dimension in DIMENSIONS]
        quotes = [quote for _, part in parts for quote in part.quotes] + [part.quote for part in said.guardrails]
        lines = [
            f"{'✓' if part.acceptable else '✗'} {dimension}" + (f": {escape(part.reason)}" if part.reason else "")
            for dimension, part in parts
        ] + [f"✗ breaks guardrail {part.number}" for part in said.guardrails if part.status == "broken"]
    return (
        f"<div style='{_BOX}'><b>{place}: {arm_name(name)}</b>\n{marked(text, quotes) or '(empty reply)'}"
        f"<div style='font-size:85%;margin-top:.5em'>{'<br>'.join(lines)}</div></div>"
    )


def _widgets(results: Results, shown: list[Verdict]) -> Any:
    import ipywidgets

    pairs = list(dict.fromkeys((said.arm_1, said.arm_2) for said in shown))
    comparison = ipywidgets.Dropdown(description="Comparison", options=[(f"{a} vs {b}", (a, b)) for a, b in pairs])
    dimension = ipywidgets.Dropdown(description="Dimension", options=list(DIMENSIONS))
    verdict = ipywidgets.Dropdown(description="Verdict", options=[ANY, *BINS, "invalid"])
    conversation = ipywidgets.Combobox(
        description="Conversation", placeholder="all", options=sorted({said.conversation_id for said in shown})
    )
    place = ipywidgets.BoundedIntText(description="Example", value=1, min=1, max=1)
    count, page = ipywidgets.Label(), ipywidgets.HTML()
    found: list[Verdict] = []

    def show(_: Any = None) -> None:
        page.value = example(results, found[place.value - 1]) if found else "<p>No verdict of this kind.</p>"

    def choose(_: Any = None) -> None:
        found[:] = select(shown, comparison.value, dimension.value, verdict.value, conversation.value)
        count.value = f"of {len(found)}"
        place.max = max(1, len(found))
        place.value = 1
        show()

    for control in (comparison, dimension, verdict, conversation):
        control.observe(choose, "value")
    place.observe(show, "value")
    choose()
    controls = ipywidgets.HBox(
        [comparison, dimension, verdict, conversation, place, count], layout={"flex_flow": "row wrap"}
    )
    return ipywidgets.VBox([controls, page])


def select(
    shown: list[Verdict], comparison: tuple[str, str], dimension: Dimension, bin_: str, conversation: str
) -> list[Verdict]:
    """The verdicts that the controls ask for; ``any`` and an empty conversation ask for all."""
    return [
        said
        for said in shown
        if (said.arm_1, said.arm_2) == comparison
        and (not conversation or said.conversation_id == conversation)
        and (bin_ == ANY or bin_ == ("invalid" if said.invalid is not None else said.dimensions[dimension].bin))
    ]
