"""The judge that a parameter file asks for."""

from __future__ import annotations

from pathlib import Path

from guardalign.config.sections import JudgeSection
from guardalign.errors import InputError
from guardalign.files import resolved
from guardalign.judging import embedded
from guardalign.judging.llm_judge import BOTH, LLMJudge
from guardalign.judging.panel import PanelJudge
from guardalign.judging.rule_judge import RuleJudge
from guardalign.judging.verdicts import Judge
from guardalign.llm import Client, Endpoint


def chosen_judge(section: JudgeSection, store: Path) -> Judge | None:
    """The judge of ``section``; replies of a language model are kept in ``store``. None without a judge.

    A recorded judge replays ``section.recording``, the store of an earlier run: no key is needed and no call is made,
    and a comparison that was not recorded with the same model, settings and prompt is invalid ("not recorded: …").
    Raises InputError if there is no such folder.
    """
    if section.kind == "none":
        return None
    if section.kind == "embedded":
        return RuleJudge("embedded", embedded.assess)
    if section.kind == "rules":
        from guardalign.judging.rules.judge import assess  # the tokenizer it needs takes a second

        return RuleJudge("rules", assess)
    if section.kind == "panel":
        return PanelJudge([judge for each in section.judges if (judge := chosen_judge(each, store))])
    if section.kind == "recorded":
        store = resolved(str(section.recording))
        if not store.is_dir():
            raise InputError(f"judge.recording: {store} is not a folder of recorded replies")
    client = Client(Endpoint.of(section), store, offline=section.kind == "recorded")
    prompts = resolved(section.prompts) if section.prompts else None
    return LLMJudge(client, orders=BOTH if section.orders == "both" else BOTH[:1], prompts=prompts)
