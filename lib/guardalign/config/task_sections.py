"""The ``tasks`` section of a parameter file: paper B's tasks, or their twins in the embedded world."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from guardalign.config.sections import Count, Name, Positive, Section


class TaskSource(Section):
    """Where a task's examples come from: a twin of the embedded world, or HH / TL;DR from the hub or from files.

    ``train`` and ``test`` are hub names or files (none: the loader's own); ``train_split`` and ``test_split`` the hub's
    splits. ``instructions`` names AlpacaEval's file of instructions that this task's arms answer too, ``anchors`` its
    file of their difficulty (none: the hub's), read where annotations of the answers are found.
    """

    kind: Literal["twin", "hh", "tldr"] = "twin"
    train: str | None = None
    test: str | None = None
    train_split: str = "train"
    test_split: str = "test"
    subset: str | None = None
    single_turn: bool = False
    instructions: str | None = None
    anchors: str | None = None


class SideEffects(Section):
    """Texts on which every arm is measured and from which none learns (notebook 13), at most ``count`` of each.

    ``helpful`` and ``harmless`` are files of HH rows, ``sys_ifeval`` one of S-IFEval.
    """

    count: Positive = 200
    helpful: str | None = None
    harmless: str | None = None
    sys_ifeval: str | None = None


class Tasks(Section):
    """The tasks that ``study.tasks`` may name, and how many pairs each split of a task has."""

    sources: dict[Name, TaskSource] = Field(min_length=1)
    data_seed: Count = 0
    train: Positive
    validation: Positive
    test: Positive
