"""The judge that a parameter file asks for."""

from __future__ import annotations

from pathlib import Path

from guardalign.config.sections import JudgeSection
from guardalign.files import fingerprint, project_root, write_rows
from guardalign.judging import embedded
from guardalign.judging.llm_judge import BOTH, LLMJudge
from guardalign.judging.panel import PanelJudge
from guardalign.judging.rule_judge import RuleJudge
from guardalign.judging.verdicts import Judge
from guardalign.llm import Client, Endpoint, Recording, Store


def chosen_judge(section: JudgeSection, store: Path) -> Judge | None:
    """The judge of ``section``; replies of a language model are kept in ``store``. None without a judge.

    A recorded judge replays ``section.recording``, a store's folder or a file that ``record`` made of it: no key is
    needed and no call is made, and a comparison that was not recorded with the same model, settings and prompt is
    invalid ("not recorded: …").
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
    endpoint, kept = Endpoint.of(section), Store(store)
    if section.kind == "recorded":
        recording = project_root() / str(section.recording)
        kept = Store(recording) if recording.is_dir() else Recording(recording)
    client = Client(endpoint, kept, offline=section.kind == "recorded")
    prompts = project_root() / section.prompts if section.prompts else None
    return LLMJudge(client, orders=BOTH if section.orders == "both" else BOTH[:1], prompts=prompts)


def record(store: Path, path: Path) -> int:
    """Write all replies of a store into one JSONL file, without the prompts; returns how many questions it holds.

    Damaged files are left out.
    """
    source = Store(store)
    replies = {key: [reply.row() for reply in source.replies(key)] for key in source.keys()}  # noqa: SIM118
    kept = {key: rows for key, rows in replies.items() if rows}
    write_rows(path, ({"key": key, "replies": rows, "digest": fingerprint(key, rows)} for key, rows in kept.items()))
    return len(kept)
