"""The ``tasks`` section of a parameter file: the comparison of methods on paper B's tasks or their embedded twins."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from guardalign.config.sections import Count, Method, Name, Positive, Rate, Section, own_options

Beta = Annotated[float, Field(gt=0, le=100)]


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


class Arm(Section):
    """An arm that starts at the task's SFT model; what is not said is as in ``identical``.

    ``method`` is needed where the arm's name is none.
    """

    method: Method | None = None
    learning_rate: Rate | None = None
    beta: Beta | None = None
    epochs: Positive | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class Identical(Section):
    """The setting that all arms share in the identical protocol."""

    learning_rate: Rate
    beta: Beta = 0.1
    epochs: Positive = 1


class TaskTuning(Section):
    """The small budget that every method gets: all ``rates`` × ``betas`` on the first ``pairs`` of the train split.

    The candidate with the best win rate against the preferred replies of the validation split is taken, and trained
    anew on the whole train split with ``seeds`` (none: every seed).
    """

    rates: tuple[Rate, ...] = Field(min_length=1)
    betas: tuple[Beta, ...] = Field(min_length=1)
    pairs: Positive
    seeds: tuple[Count, ...] | None = Field(default=None, min_length=1)


class Rlhf(Section):
    """A reward model (Bradley–Terry, TRL's RewardTrainer), then TRL's RLOO or GRPO against it with a KL penalty.

    ``generations`` replies are drawn a prompt, ``prompts`` prompts a step; ``beta`` weighs the KL penalty.
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


class Tasks(Section):
    """Tasks, seeds and arms. ``controls`` and ``rlhf`` run with the first seed alone."""

    sources: dict[Name, TaskSource] = Field(min_length=1)
    seeds: tuple[Count, ...] = Field(min_length=1)
    data_seed: Count = 0
    train: Positive
    validation: Positive
    test: Positive
    max_new_tokens: Positive = 64
    sft_epochs: Positive = 1
    identical: Identical
    methods: dict[Name, Arm] = Field(min_length=1)
    controls: dict[Name, Arm] = Field(default_factory=dict)
    tuning: TaskTuning | None = None
    rlhf: Rlhf | None = None
    workers: Positive = 2

    @model_validator(mode="after")
    def _tuned_arms_have_a_start(self) -> Tasks:
        others = set(self.tuning.seeds or ()) - set(self.seeds) if self.tuning else set()
        if others:
            raise ValueError(
                f"tuning.seeds must be among seeds: there is no SFT model of {', '.join(map(str, others))}"
            )
        return self

    @model_validator(mode="after")
    def _arms_have_methods(self) -> Tasks:
        known = Method.__args__  # type: ignore[attr-defined]
        for name, arm in (self.methods | self.controls).items():
            if arm.method is None and name not in known:
                raise ValueError(f"arm {name} is no method's name: say its method ({', '.join(known)})")
            own_options(arm.method or name, arm.options)
            if name in ("sft", "rlhf"):
                raise ValueError(f"{name} is the name of an arm that is always there: choose another")
        return self
