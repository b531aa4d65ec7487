"""Paper B's tasks and their twins: pairs by split, and scores of replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from guardalign.config.params import Params
from guardalign.config.task_sections import TaskSource
from guardalign.data.examples import Example
from guardalign.data.tasks import load_hh, load_tldr
from guardalign.data.tasks.hh import HUB as HH_HUB
from guardalign.data.tasks.tldr import COMPARISONS_HUB
from guardalign.errors import InputError, ParameterError
from guardalign.models.encoding import encode
from guardalign.models.loading import base_model, load_tokenizer
from guardalign.world.twins import TWINS, Opinion, twin

Splits = dict[str, list[Example]]
Read = Callable[[str, str], Opinion]


def source_of(settings: Params, task: str) -> TaskSource:
    """Raises ParameterError if the file has no section ``tasks``."""
    if settings.tasks is None:
        raise ParameterError(f"study.tasks names {task}, but there is no section `tasks`; see params/comparison.yaml")
    return settings.tasks.sources[task]


def splits(settings: Params, task: str) -> Splits:
    """The train, validation and test pairs of a task.

    Pairs of real data that are longer than the model takes are left out; the twins' never are. Raises InputError if
    a source holds fewer usable pairs than are asked for.
    """
    source = source_of(settings, task)
    assert settings.tasks is not None
    wanted = settings.tasks.model_dump(include={"train", "validation", "test"})
    if source.kind == "twin":
        return twin(task).splits(wanted, settings.tasks.data_seed)
    rows, held = (
        fitting(settings, _load(source, where, split))
        for where, split in ((source.train, source.train_split), (source.test, source.test_split))
    )
    Random(settings.tasks.data_seed).shuffle(rows)
    made = {
        "validation": rows[: wanted["validation"]],
        "train": rows[wanted["validation"] :][: wanted["train"]],
        "test": [each.model_copy(update={"id": f"test-{each.id}"}) for each in held[: wanted["test"]]],
    }
    for name, size in wanted.items():
        if len(made[name]) < size:
            raise InputError(f"{task}: {len(made[name])} usable pairs in the {name} split, {size} asked for")
    return made


def _load(source: TaskSource, where: str | None, split: str) -> list[Example]:
    if source.kind == "hh":
        return load_hh(where or HH_HUB, split, source.subset, source.single_turn)
    return load_tldr(where or COMPARISONS_HUB, split)


def fitting(settings: Params, examples: Sequence[Example]) -> list[Example]:
    """The examples that fit the model's ``max_length`` with either reply."""
    tokenizer, most = load_tokenizer(base_model(settings.model.name)), settings.model.max_length

    def fits(example: Example) -> bool:
        replies = [reply for reply in (example.chosen, example.rejected) if reply]
        return all(len(each.tokens) <= most for each in encode(tokenizer, [example.prompt] * len(replies), replies))

    return [example for example in examples if fits(example)]


def reader_of(settings: Params, task: str) -> Read | None:
    """The judge of a twin, which reads single replies; None for real data, which is judged by AlpacaEval's."""
    return TWINS[task].read if source_of(settings, task).kind == "twin" else None


def wins(scores: Sequence[float], preferred: Sequence[float]) -> list[float]:
    """1 if a reply scores higher than the data's preferred one, ½ if both score the same, else 0."""
    return (0.5 + 0.5 * np.sign(np.subtract(scores, preferred))).tolist()
