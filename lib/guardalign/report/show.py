"""Prompts, replies, tables and figures as a notebook shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image, Markdown, display
from markupsafe import Markup
from PIL import Image as Picture

from guardalign.annotation.stages import Annotator
from guardalign.config.sections import Annotation, JudgeSection
from guardalign.data.construction import Rejection
from guardalign.data.conversations import Conversation, PreferencePair, Turn
from guardalign.files import RunFolder, resolved
from guardalign.judging.llm_judge import LLMJudge
from guardalign.judging.verdicts import DIMENSIONS, ReplyAssessment
from guardalign.llm import Client, Endpoint, Message
from guardalign.report.readable import readable

INCH = 100  # CSS pixels that a figure's inch takes in a notebook


def conversation(pair: PreferencePair) -> HTML:
    """A point's guardrails, numbered from 1, next to its history."""
    rules = "\n".join(f"{number}. {text}" for number, text in enumerate(pair.guardrails, start=1))
    turns = "\n\n".join(f"{turn.role.title()}: {turn.text}" for turn in pair.turns)
    return _texts([{"guardrails": rules, "conversation": turns}])


def side_by_side(replies: Mapping[str, str], assessments: Mapping[str, ReplyAssessment] | None = None) -> HTML:
    """Replies to one prompt, a row each; with a judge's assessments, what it finds wrong with them."""
    findings = {name: {"the judge": "\n".join(_findings(each))} for name, each in (assessments or {}).items()}
    return _texts([{"": name, "reply": text} | findings.get(name, {}) for name, text in replies.items()])


def _findings(assessment: ReplyAssessment) -> Iterator[str]:
    for name in DIMENSIONS:
        part = assessment.dimension(name)
        yield f"{'✓' if part.acceptable else '✗'} {name}{part.reason and ': '}{part.reason}"


def _texts(rows: Sequence[Mapping[str, str]]) -> HTML:
    style = "text-align:left;vertical-align:top;white-space:pre-wrap;max-width:44em"
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in names)
    lines = ["".join(f'<td style="{style}">{escape(row.get(name, ""))}</td>' for name in names) for row in rows]
    return HTML(f"<table><tr>{head}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")


def prompts(filled: Mapping[str, Sequence[Message]]) -> HTML:
    """Prompts as they leave for a language model, each folded behind its name."""
    message = "<p><b>{}</b></p><pre style='white-space:pre-wrap;max-width:60em'>{}</pre>"
    return HTML("".join(
        f"<details><summary>{escape(name)}</summary>"
        + "".join(message.format(each.role, escape(each.content)) for each in messages) + "</details>"
        for name, messages in filled.items()
    ))  # fmt: skip


def annotation_prompts(pair: PreferencePair, section: Annotation | None) -> HTML:
    """What a language model would be asked in Stage 1 and Stage 2 about the conversation that ``pair`` ends."""
    section = section or Annotation(model="a language model")
    turns = (*pair.turns, Turn(role="agent", text=pair.chosen, tagged=True))
    conversation = Conversation(id=pair.conversation_id, turns=turns, guardrails=pair.guardrails)
    annotator = Annotator(Client(Endpoint.of(section), Path("unused")), section)  # sends and stores nothing
    filled = annotator.requests(conversation, len(pair.turns), Rejection(pair.rejected, pair.broken))
    return prompts({stage: request.messages for stage, request in filled.items()})


def judge_prompt(pair: PreferencePair, section: JudgeSection) -> HTML:
    """What a judge would be asked about the chosen and the rejected reply of ``pair``, in the first order."""
    known = section if section.model else JudgeSection(kind="llm", model="a language model")
    client = Client(Endpoint.of(known), Path("unused"))
    judge = LLMJudge(client, prompts=resolved(known.prompts) if known.prompts else None)
    return prompts({"judge": judge.request((pair, pair.chosen, pair.rejected), "12").messages})


def sentences(texts: Sequence[Markup]) -> None:
    """Display findings that are HTML already, one below the other."""
    display(HTML("".join(f"<p>{text}</p>" for text in texts)))


def saved_figures(run: RunFolder, *names: str) -> None:
    """Display the saved figures of these names, each at its size and in its full resolution; skip what is not there."""
    for path in (run.figures(f"{name}.png") for name in names):
        if path.exists():
            with Picture.open(path) as opened:
                width, title = opened.width / opened.info["dpi"][0], opened.info.get("Title", path.stem)
            display(Image(path.read_bytes(), width=round(width * INCH), alt=title))


def saved_tables(run: RunFolder, **titles: str) -> None:
    """Display the run's tables of these names under their titles; skip what is not there."""
    for name, title in titles.items():
        if run.tables(f"{name}.csv").exists():
            display(Markdown(f"**{title}**"), readable(pd.read_csv(run.tables(f"{name}.csv"))))
