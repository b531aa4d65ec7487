"""What training costs elsewhere: likelihood and preferences on texts no arm learns from, instructions, refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import pandas as pd

from guardalign import stats
from guardalign.config.plan import BASE
from guardalign.config.task_sections import SideEffects
from guardalign.data.conversations import PreferencePair
from guardalign.data.examples import Prompt
from guardalign.data.tasks import load_hh
from guardalign.data.tasks.sys_ifeval import Instructed, can_check, load_sys_ifeval
from guardalign.files import RunFolder, resolved
from guardalign.generation.replystats import refuses
from guardalign.judging.stage import replies_of
from guardalign.study.run import Study
from guardalign.study.tasks import fitting
from guardalign.world.pretraining import corpus

SHARES = ("harmless", "instructions", "answers")
"""Measures between 0 and 1."""


def measured(study: Study) -> pd.DataFrame:
    """A row per arm (base among them), seed, measure and text: arm, seed, measure, id, conversation_id, value.

    Measures, more is better in all: ``pretraining`` and ``helpful``, log-likelihood in nats per token of the embedded
    base model's own training text (source ``world``) and of HH's chosen replies; ``harmless``, HH's chosen reply is
    likelier than the rejected one; ``instructions``, share of S-IFEval's that are followed; ``answers``, the reply to a
    test prompt is no refusal, where the chosen one is none. What the section ``side_effects`` names no file for, or has
    no checkers for, is left out.

    Scores and replies are kept in ``side_effects/`` of each seed's folder; an arm without them whose weights were
    dropped is trained again. Raises MissingStage without replies to the test prompts.
    """
    section = study.settings.side_effects
    ask = section.sys_ifeval if can_check() else None
    instructed = load_sys_ifeval(resolved(ask), section.count) if ask else []
    texts = _texts(study, section)
    rows = [
        (arm, seed, *row)
        for seed in study.seeds
        for arm in (BASE, *study.plan.order())
        for row in _rows(study, arm, seed, texts, instructed)
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "measure", "id", "conversation_id", "value"])


def effects(rows: pd.DataFrame, weights: Mapping[str, Mapping[str, float]], level: float = 0.95) -> pd.DataFrame:
    """For each measure and each effect of ``weights`` (effect → arm → weight) the weighted sum of the arms' values.

    Arms are paired by seed and text. Columns: measure, effect, value, value_low, value_high, n, conversations, seeds.
    """
    found = []
    for name, measure_rows in rows.groupby("measure", sort=False):
        wide = measure_rows.pivot_table(index=["seed", "conversation_id", "id"], columns="arm", values="value")
        for effect, weighted in weights.items():
            ends = (sum(min(0, each) for each in weighted.values()), sum(max(0, each) for each in weighted.values()))
            bounds = ends if name in SHARES else stats.UNBOUNDED
            value = (wide[list(weighted)] * pd.Series(weighted)).sum(axis=1, skipna=False).rename("value")
            change = value.dropna().reset_index().assign(measure=name, effect=effect)
            found.append(stats.means(change, ["measure", "effect"], {"value": bounds}, level))
    return pd.concat(found, ignore_index=True).drop(columns="value_p")


def _texts(study: Study, section: SideEffects) -> dict[str, Sequence[Prompt]]:
    found: dict[str, Sequence[Prompt]] = {}
    for name, path in (("helpful", section.helpful), ("harmless", section.harmless)):
        if path:
            examples = load_hh(str(resolved(path)))
            found[name] = fitting(study.settings, examples)[: section.count]
    if study.settings.source.kind == "world":
        found["pretraining"] = list(islice(_pretraining(), section.count))
    return found


def _pretraining() -> Iterator[PreferencePair]:
    """The agents' turns that the embedded base model saw last, as chosen replies."""
    for conversation in corpus():
        for position in range(1, len(conversation.turns), 2):
            yield PreferencePair(
                id=f"{conversation.id}.{position}",
                conversation_id=conversation.id,
                turns=conversation.turns[:position],
                guardrails=conversation.guardrails,
                chosen=conversation.turns[position].text,
                rejected="",
            )


def _rows(
    study: Study, arm: str, seed: int, texts: Mapping[str, Sequence[Prompt]], instructed: Sequence[Instructed]
) -> Iterator[tuple[str, str, str, float]]:
    """Measure, id, conversation_id and value."""
    folder = study.folder(None if arm == BASE else seed)
    side_effects = folder.root / "side_effects"
    for name, prompts in texts.items():
        for each in study.score(arm, seed, prompts, RunFolder(side_effects / name)):
            likelier, likelihood = each.chosen > (each.rejected or 0.0), each.chosen / each.chosen_tokens
            yield name, each.id, each.conversation_id, float(likelier) if name == "harmless" else likelihood
    asked = [row.pair for row in instructed]
    replies = study.answers(arm, asked, side_effects / "instructions" / f"{arm}.jsonl", seed) if asked else []
    for row, reply in zip(instructed, replies, strict=True):
        yield "instructions", reply.pair_id, reply.pair_id, row.followed(reply.text)
    test_replies = replies_of(folder, arm)
    for pair in study.rows("test"):
        if not refuses(pair.chosen):
            yield "answers", pair.id, pair.conversation_id, float(not refuses(test_replies[pair.id]))
