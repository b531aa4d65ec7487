"""The configuration of an arm's training: the JSON that ``python -m guardalign.training`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from guardalign.config.plan import NONE
from guardalign.config.sections import Lora, Precision
from guardalign.losses import METHODS, LossOptions, Method, Replies, check_options


class TrainingConfig(BaseModel):
    """One arm's training.

    ``batch_size`` counts pairs per optimiser step over all processes; methods of single replies (kto, kto_tanh,
    ppo_offline) take twice as many replies, so that a step sees the same data for every method. ``row_tokens`` is
    the most distinct tokens in one forward pass: a batch that needs more is accumulated, with the same result;
    TRL's engine accumulates ``trl_micro_batch_size`` pairs (KTO: replies) per process instead. ``steps``, if given, is
    the number of optimiser steps in place of ``epochs``: the data are repeated as often as needed. Each epoch has an
    order of its own, drawn from ``seed`` and the epoch's number, which begins at ``first_epoch``. ``reference`` is a
    model (default: ``model``), or ``none``: its log-probs are 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    model: str
    output: Path
    method: str
    reference: str | None = None
    data: Path | None = None
    learning_rate: PositiveFloat
    epochs: PositiveInt = 1
    first_epoch: NonNegativeInt = Field(0, exclude_if=lambda value: value == 0)
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 8
    beta: PositiveFloat = 0.1
    options: dict[str, Any] = {}
    optimizer: Literal["adamw", "rmsprop", "paged_adamw_8bit"] = "adamw"
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_ratio: float = Field(0.1, ge=0, le=1)
    max_grad_norm: PositiveFloat = 1.0
    seed: int = 0
    max_length: PositiveInt | None = None
    engine: Literal["tree", "trl"] = "tree"
    batching: Literal["conversation", "pair"] = "conversation"
    precision: Precision = "fp32"
    lora: Lora | None = None
    gradient_checkpointing: bool = False
    row_tokens: PositiveInt = 8192
    trl_micro_batch_size: PositiveInt | None = None
    cache: Path | None = None
    save_steps: PositiveInt = 50
    probe_steps: int = Field(50, ge=0)

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        if value not in METHODS:
            raise ValueError(f"unknown method {value!r}: one of {', '.join(METHODS)}")
        return value

    @model_validator(mode="after")
    def _known_options(self) -> TrainingConfig:
        check_options(self.method, self.options)
        return self

    @property
    def loss_options(self) -> LossOptions:
        return check_options(self.method, self.options).model_copy(update={"beta": self.beta})

    @property
    def loss(self) -> Method:
        return METHODS[self.method]

    @property
    def replies(self) -> Replies:
        """What a batch draws: as the method has it, but unpaired replies for RPO with ``rpo_paired`` off."""
        if self.method == "rpo" and not self.loss_options.rpo_paired:
            return "single"
        return self.loss.replies

    @property
    def reads_reference(self) -> bool:
        """Whether another model's log-probs go into the loss."""
        return self.loss.reference and self.reference != NONE

    @property
    def reference_model(self) -> str:
        return self.reference or self.model

    @property
    def reference_cache(self) -> Path:
        return self.cache or self.output.parent / ".reference"

    def steps_per_epoch(self, examples: int) -> int:
        return -(-examples // self.batch_size)

    def facts(self) -> dict[str, Any]:
        """What determines the resulting weights; output paths and logging do not."""
        aside = {"arm", "output", "data", "cache", "model", "reference", "save_steps", "probe_steps"}
        return self.model_dump(mode="json", exclude=aside)


class TrainingResult(BaseModel):
    """The outcome of a training.

    ``skipped``: a finished folder with the same fingerprint existed; ``resumed_step``: where a partial one was resumed.
    Tokens are summed over steps: ``logical`` as if every row were separate, ``unique`` as computed.
    """

    model_config = ConfigDict(frozen=True)

    arm: str
    output: Path
    fingerprint: str
    steps: int
    seconds: float
    logical_tokens: int = 0
    unique_tokens: int = 0
    world_size: int = 1
    resumed_step: int = 0
    skipped: bool = False
    metrics: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
