"""The judge that a parameter file asks for."""

from __future__ import annotations

from pathlib import Path

from guardalign.config.sections import JudgeSection
from guardalign.files import project_root
from guardalign.judging import embedded
from guardalign.judging.rule_judge import RuleJudge
from guardalign.judging.verdicts import Judge


def chosen_judge(section: JudgeSection, store: Path) -> Judge | None:
    """The judge of ``section``; replies of a language model are kept in ``store``. None without a judge."""
    if section.kind == "none":
        return None
    if section.kind == "embedded":
        return RuleJudge("embedded", embedded.assess)
    if section.kind == "rules":
        from guardalign.judging.rules.judge import assess

        return RuleJudge("rules", assess)
    if section.kind == "panel":
        from guardalign.judging.panel import PanelJudge

        return PanelJudge([judge for each in section.judges if (judge := chosen_judge(each, store))])
    from guardalign.judging.llm_judge import BOTH, LLMJudge
    from guardalign.judging.recorded import recorded_judge
    from guardalign.llm import Client, Endpoint

    orders = BOTH if section.orders == "both" else BOTH[:1]
    prompts = project_root() / section.prompts if section.prompts else None
    if section.kind == "recorded":
        return recorded_judge(Endpoint.of(section), project_root() / str(section.recording), orders, prompts)
    return LLMJudge(Client(Endpoint.of(section), store), orders=orders, prompts=prompts)
