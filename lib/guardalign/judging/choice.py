"""The judge that a parameter file asks for."""

from __future__ import annotations

from pathlib import Path

from guardalign.judging.embedded import EmbeddedJudge
from guardalign.judging.verdicts import Judge
from guardalign.sections import JudgeSection


def chosen_judge(section: JudgeSection, store: Path) -> Judge | None:
    """The judge of ``section``; what a language model says is kept in ``store``. None where there is no judge."""
    if section.kind == "none":
        return None
    if section.kind == "embedded":
        return EmbeddedJudge()
    from guardalign.judging.llm_judge import BOTH, LLMJudge
    from guardalign.llm import Client, Endpoint

    orders = BOTH if section.orders == "both" else BOTH[:1]
    return LLMJudge(Client(Endpoint.of(section), store), orders=orders)
