"""A task's pairs by split, whatever they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from guardalign.config.task_sections import Tasks, TaskSource
from guardalign.data.examples import Example
from guardalign.data.tasks import Loaded, load_hh, load_tldr
from guardalign.data.tasks.hh import HUB as HH_HUB
from guardalign.data.tasks.tldr import COMPARISONS_HUB
from guardalign.errors import InputError
from guardalign.world.twins import twin

Splits = dict[str, list[Example]]
Fits = Callable[[Example], bool]
OVERLONG = "longer than the model's max_length"


def splits(task: str, tasks: Tasks, fits: Fits = lambda _: True) -> tuple[Splits, Counter[str]]:
    """The train, validation and test pairs of a task, and what was set aside while reading them.

    Of real data, pairs that do not fit the model (``fits``) are set aside; the twins' always do.
    Raises InputError where a source holds fewer usable pairs than are asked for.
    """
    source = tasks.sources[task]
    sizes = {"train": tasks.train, "validation": tasks.validation, "test": tasks.test}
    if source.kind == "twin":
        return twin(task).splits(sizes, tasks.data_seed), Counter()
    learnt, held = _load(source, source.train, source.train_split), _load(source, source.test, source.test_split)
    rows, answered = ([each for each in loaded.examples if fits(each)] for loaded in (learnt, held))
    long = Counter({OVERLONG: len(learnt.examples) + len(held.examples) - len(rows) - len(answered)})
    Random(tasks.data_seed).shuffle(rows)
    made = {
        "validation": rows[: tasks.validation],
        "train": rows[tasks.validation : tasks.validation + tasks.train],
        "test": [each.model_copy(update={"id": f"test-{each.id}"}) for each in answered[: tasks.test]],
    }
    for name, size in sizes.items():
        if len(made[name]) < size:
            raise InputError(f"{task}: {len(made[name])} usable pairs in the {name} split, {size} are asked for")
    return made, learnt.set_aside + held.set_aside + long


def _load(source: TaskSource, where: str | None, split: str) -> Loaded:
    if source.kind == "hh":
        return load_hh(where or HH_HUB, split, source.subset, source.single_turn)
    return load_tldr(where or COMPARISONS_HUB, split)
