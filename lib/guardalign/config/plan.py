"""The ``study`` section of a parameter file: arms, what each learns from, and which are compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from guardalign.config.reading import read_mapping
from guardalign.config.sections import NAME, Count, Method, Positive, Rate, Section
from guardalign.files import resolved

BASE, CARE = "base", "care"
RANDOM, NONE = "random", "none"
TAKEN = (BASE, RANDOM, NONE, "chosen", "rejected", "data")
Stage = Literal["sft", "flow1", "flow2", "methods"]
NOTEBOOKS: dict[Stage, str] = {
    "sft": "02_sft",
    "flow1": "03_flow1_alignment",
    "flow2": "04_flow2_feedback_alignment",
    "methods": "05_method_comparison",
}
"""The notebook that trains the arms of each stage."""
TUNING = "09_tuning"

Beta = Annotated[float, Field(gt=0, le=100)]


class Pairs(Section):
    """What an arm learns from: the first ``count`` pairs (default: all) of ``splits``.

    ``rejected`` is ``data``, or an arm whose own replies to these prompts take the place of the data's rejected ones;
    then only prompts are kept where the judge finds its reply worse than the chosen one (paper A's Flow 2), or, with
    ``replies: acceptable``, where its reply, another than the chosen one, keeps all guardrails.
    ``prompts_of`` keeps the same prompts of an arm together with the data's rejected replies.
    ``part: [k, n]`` takes the k-th of n equal parts of the splits' conversations; ``swapped`` is the share of pairs,
    drawn by the training seed, whose chosen and rejected replies are exchanged.
    """

    splits: tuple[Literal["train", "feedback"], ...] = Field(default=("train", "feedback"), min_length=1)
    count: Positive | None = None
    rejected: str = "data"
    prompts_of: str | None = None
    # Left out where they say nothing: the fingerprints of arms without them stay what they were.
    replies: Literal["worse", "acceptable"] = Field(default="worse", exclude_if=lambda value: value == "worse")
    part: tuple[Positive, Positive] | None = Field(default=None, exclude_if=lambda value: value is None)
    swapped: Annotated[float, Field(ge=0, le=1)] = Field(default=0.0, exclude_if=lambda value: value == 0)

    @property
    def judged(self) -> str | None:
        """The arm whose replies decide which prompts are kept; None if all are."""
        return self.prompts_of or (self.rejected if self.rejected != "data" else None)

    @model_validator(mode="after")
    def _keeps_one_arms_prompts(self) -> Pairs:
        if self.prompts_of and self.rejected != "data":
            raise ValueError("prompts_of needs rejected: data; rejected: <arm> implies that arm's prompts")
        if self.part and self.part[0] > self.part[1]:
            raise ValueError("part: [k, n] is the k-th of n parts, so k is at most n")
        return self


class Rlhf(Section):
    """Method ``rlhf``: a reward model (Bradley–Terry, TRL's RewardTrainer), then TRL's RLOO or GRPO against it.

    ``generations`` replies are drawn per prompt, ``prompts`` prompts per step; ``beta`` weighs the KL penalty. What is
    no option of the arm is the arm's own: ``reward_epochs`` are its epochs.
    """

    trainer: Literal["rloo", "grpo"] = "rloo"
    reward_learning_rate: Rate
    reward_epochs: Positive = 1
    learning_rate: Rate
    beta: Annotated[float, Field(ge=0)] = 0.05
    steps: Positive
    prompts: Positive = 8
    generations: Annotated[int, Field(ge=2)] = 4
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0


class Arm(Section):
    """A model of the study: trained from ``start`` with ``method`` on ``pairs``.

    ``reference`` is the frozen model of the loss (default: the start): an arm, ``base``, ``random`` (the base model's
    architecture with weights drawn anew by the training seed) or ``none`` (a constant: log-probabilities of 0).
    ``seed`` is the training seed (default: each of the plan's). ``steps`` are optimiser steps in place of ``epochs``: a
    number, or arms whose steps together it matches. ``stage`` says which notebook trains it (default: ``Plan.stage``).
    Method ``rlhf`` trains a reward model and then the policy against it; its ``options`` are those of ``Rlhf``.
    """

    name: str = Field(default="", exclude=True)
    start: str = BASE
    reference: str | None = None
    method: Literal[Method, "rlhf"]
    learning_rate: Rate
    beta: Beta = 0.1
    epochs: Positive = 1
    steps: Positive | tuple[str, ...] | None = None
    options: dict[str, float | bool | str] = Field(default_factory=dict)
    seed: Count | None = None
    pairs: Pairs = Pairs()
    stage: Stage | None = None

    @model_validator(mode="after")
    def _has_its_methods_options(self) -> Arm:
        if self.method != "rlhf":
            if self.options:  # the losses, which declare them, need torch
                from guardalign.losses import check_options

                check_options(self.method, self.options)
        elif not isinstance(self.steps, int):
            raise ValueError("method rlhf needs steps: how many the policy is trained for")
        else:
            self.rlhf  # noqa: B018  (refuses ill-typed options)
        return self

    @property
    def rlhf(self) -> Rlhf:
        """The settings of an arm of method ``rlhf``."""
        fields = {"learning_rate": self.learning_rate, "beta": self.beta, "reward_epochs": self.epochs}
        return Rlhf.model_validate(self.options | fields | {"steps": self.steps})


class Grid(Section):
    """The rates and β that an arm's candidates have. Methods without a β (SFT) are tried at every rate alone."""

    rates: tuple[Rate, ...] = Field(min_length=1)
    betas: tuple[Beta, ...] = ()


class Tuning(Section):
    """Which arms get rate and β by what their candidates' replies to the validation split are worth.

    Candidates learn from the first ``pairs`` of the arm's pairs (default: all). A choice at the rim of its grid adds a
    value beyond it, by the grid's own factor, ``widen`` times at most.
    """

    arms: dict[str, Grid] = Field(min_length=1)
    pairs: Positive | None = None
    widen: Count = 2


class Contrast(Section):
    """Two arms on the same prompts, and what their comparison asks. ``named``: decided on before the results."""

    arm_1: str
    arm_2: str
    question: str = ""
    named: bool = False


class Plan(Section):
    """Arms by name, and contrasts. ``seeds`` (default: the run's own) and ``tasks`` are crossed with every arm.

    Task ``care`` is the run's own data, others are those of the ``tasks`` section. ``keep: false`` drops the weights
    of arms that no other arm needs once their replies are written, but for the first of several seeds. ``workers`` arms
    are run side by side. ``samples``: replies to each test prompt that the arms of the contrasts named beforehand
    also draw at temperature 1, with the first seed. The path of a parameter file in place of all this: the plan of that
    file.
    """

    arms: dict[str, Arm] = Field(min_length=1)
    contrasts: tuple[Contrast, ...] = ()
    seeds: tuple[Count, ...] = ()
    tasks: tuple[str, ...] = Field(default=(CARE,), min_length=1)
    keep: bool = True
    workers: Positive = 1
    samples: Count = 0
    tuning: Tuning | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """Give every arm its key as its name."""
        if isinstance(value, str):
            value = read_mapping(resolved(value)).get("study")
        if not isinstance(value, Mapping) or not isinstance(value.get("arms"), Mapping):
            return value
        named = {key: {**arm, "name": key} if isinstance(arm, Mapping) else arm for key, arm in value["arms"].items()}
        return {**value, "arms": named}

    @model_validator(mode="after")
    def _is_sound(self) -> Plan:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} has one twice, which would count one training as two")
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks: {list(self.tasks)} has one twice, which would count its prompts twice")
        compared = [frozenset((each.arm_1, each.arm_2)) for each in self.contrasts]
        for pair in compared:
            if len(pair) < 2 or compared.count(pair) > 1:
                raise ValueError(f"contrasts: each compares two arms, and no other the same two: {' and '.join(pair)}")
        for name in self.arms:
            if not re.fullmatch(NAME, name) or name in TAKEN:
                raise ValueError(f"arm {name!r}: names have letters, digits, . _ - and are not {', '.join(TAKEN)}")
        for name, arm in self.arms.items():
            for role, other in _mentions(arm):
                if other not in self.arms and other not in ((BASE, RANDOM, NONE) if role == "reference" else (BASE,)):
                    raise ValueError(f"arm {name}: its {role} {other!r} is not an arm of the study")
        for name in self.arms:
            if name in (*self.ancestors(name), *self.matched(name)):
                raise ValueError(f"arm {name} depends on itself")
            if len(self.seeds) > 1 and all(self.arms[each].seed is not None for each in (name, *self.ancestors(name))):
                raise ValueError(f"arm {name}: with its own seed, the seeds {list(self.seeds)} train one model")
        for name in self.arms:
            for other in self.ancestors(name):
                own, before = self.stage(name), self.stage(other)
                if before not in ("sft", own):
                    raise ValueError(f"arm {name}: stage {own} does not wait for {other}, of stage {before}")
        for name in self.tuning.arms if self.tuning else ():
            if name not in self.arms or self.arms[name].method == "rlhf":
                raise ValueError(f"tuning: {name!r} is not an arm of the study that can be tuned")
        return self

    def ancestors(self, name: str) -> tuple[str, ...]:
        """The arms that must be there before ``name`` is trained, each after its own."""
        ordered: dict[str, None] = {}
        self._visit(name, ordered, ())
        return tuple(ordered)

    def _visit(self, name: str, ordered: dict[str, None], path: tuple[str, ...]) -> None:
        for other in self._needs(name):
            if other not in ordered:
                if other not in path:
                    self._visit(other, ordered, (*path, other))
                ordered[other] = None

    def _needs(self, name: str) -> list[str]:
        arm = self.arms[name]
        needed = [arm.start, arm.reference, arm.pairs.judged]
        needed += [self.arms[other].pairs.judged for other in self.matched(name)]
        return [other for other in dict.fromkeys(needed) if other not in (None, BASE, RANDOM, NONE)]

    def matched(self, name: str) -> tuple[str, ...]:
        """The arms whose steps decide how many ``name`` takes: those it names, those that these name, and so on."""
        partners: dict[str, None] = {}
        waiting = [name]
        while waiting:
            new = [other for other in _matched(self.arms[waiting.pop()]) if other not in partners]
            partners |= dict.fromkeys(new)
            waiting += new
        return tuple(partners)

    def order(self) -> tuple[str, ...]:
        """All arms in the order they were written, but each after those it depends on."""
        return tuple(dict.fromkeys(each for name in self.arms for each in (*self.ancestors(name), name)))

    def stage(self, name: str) -> Stage:
        """``flow2`` if an arm's mistakes decide the pairs; else an aligned start's; else ``sft`` or ``flow1``."""
        arm = self.arms[name]
        if arm.stage or arm.pairs.judged:
            return arm.stage or "flow2"
        before = self.stage(arm.start) if arm.start != BASE else "sft"
        return before if before != "sft" or arm.method == "sft" else "flow1"

    def is_needed(self, name: str) -> bool:
        """Whether another arm needs its weights."""
        return any(name in self._needs(other) for other in self.arms)

    def depth(self, name: str) -> int:
        """How many arms must be trained one after the other before ``name``."""
        return max((1 + self.depth(other) for other in self._needs(name)), default=0)

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """The pairs of arms whose contrasts were named beforehand."""
        return tuple((each.arm_1, each.arm_2) for each in self.contrasts if each.named)

    def part(self, stage: Stage) -> tuple[str, ...]:
        """The arms that ``stage`` trains, in order."""
        return tuple(name for name in self.order() if self.stage(name) == stage)


LATER = ("contrasts", "samples", "tuning")


def narrowed(study: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """A ``study`` section as plain data with one stage's arms and those they need, and nothing that comes after."""
    plan = Plan.model_validate(study)
    names, waiting = set[str](), list(plan.part(stage))
    while waiting:
        names.add(name := waiting.pop())
        waiting += [other for _, other in _mentions(plan.arms[name]) if other in plan.arms and other not in names]
    arms = {name: arm for name, arm in study["arms"].items() if name in names}
    return {key: value for key, value in study.items() if key not in LATER} | {"arms": arms}


def _matched(arm: Arm) -> tuple[str, ...]:
    return arm.steps if isinstance(arm.steps, tuple) else ()


def _mentions(arm: Arm) -> list[tuple[str, str]]:
    """Every other arm that an arm names, and as what."""
    pairs = arm.pairs
    named = [("start", arm.start), ("reference", arm.reference), ("pairs.prompts_of", pairs.prompts_of)]
    named += [("pairs.rejected", pairs.rejected if pairs.rejected != "data" else None)]
    named += [("steps", other) for other in _matched(arm)]
    return [(role, other) for role, other in named if other is not None]
