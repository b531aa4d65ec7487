"""The sections of a parameter file: what each parameter is called, its type and its range."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Method = Literal[
    "sft", "dpo", "ipo_sum", "ipo_mean", "slic", "hinge", "kto", "kto_tanh", "kto_pair", "ppo_offline", "rpo"
]
Precision = Literal["fp32", "bf16", "int8", "nf4"]
"""The number formats a model's weights are loaded in."""
DecodingPrecision = Literal["auto", "fp32", "bf16"]
"""The same for replies; ``auto``: the checkpoint's own on a GPU, fp32 on a CPU."""
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
"""A name that is also a file's or a folder's: of an arm, a task, a run."""
Name = Annotated[str, Field(pattern=rf"^{NAME}$")]
Rate = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
KindsOfGuardrail = Annotated[int, Field(ge=4)]


class Section(BaseModel):
    """A group of parameters; frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts ``true`` as 1, and so would every number here."""
        values = value if isinstance(value, list | tuple) else [value]
        expected = cls.model_fields[str(info.field_name)].annotation
        if any(isinstance(each, bool) for each in values) and "bool" not in str(expected):
            raise ValueError("should not be true or false")
        return value


class Conversations(Section):
    """How many conversations of the embedded world go into each split; tuning chooses by ``validation``."""

    train: Positive
    feedback: Positive
    validation: Count = 0
    test: Positive
    transfer: Count = 0


class Shares(Section):
    """Which shares of your own conversations go into each split; the rest is the test split."""

    train: Annotated[float, Field(gt=0, lt=1)] = 0.6
    feedback: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _leaves_a_test_split(self) -> Shares:
        if self.train + self.feedback + self.validation >= 1:
            raise ValueError("train + feedback + validation must stay below 1: the rest is the test split")
        return self


class Server(Section):
    """An OpenAI-compatible server and how it is asked. Time is in seconds, money in US dollars, lengths in tokens.

    ``api_key_env`` names the environment variable with the key: no file contains a key. ``api_version`` is Azure's
    dated interface. ``reply_format: text`` is for servers without response_format; OpenAI's reasoning models want
    ``length_field: max_completion_tokens`` and ``temperature: null``. ``timeout_seconds`` bounds a silence,
    ``total_seconds`` a whole reply. ``retries`` counts faults of the server or the line, ``asks`` how often one
    question is put in a run when the reply itself is unusable, the later times at ``second_temperature``. ``max_cost``
    and ``max_total_tokens`` bound what a store costs in all; ``prices`` is your own price file. ``mode: batch``
    uses the provider's Batch API.
    """

    model: str | None = None
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    api_version: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    second_temperature: Annotated[float, Field(ge=0, le=2)] = 0.5
    max_tokens: Positive = 4096
    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed: int | None = None
    reply_format: Literal["json_schema", "json_object", "text"] = "json_schema"
    mode: Literal["direct", "batch"] = "direct"
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 16
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    total_seconds: Annotated[float, Field(gt=0)] = 300.0
    retries: Count = 6
    asks: Positive = 2
    max_cost: Annotated[float, Field(ge=0)] | None = None
    max_total_tokens: Count | None = None
    prices: str | None = None
    batch_size: Annotated[int, Field(ge=1, le=50_000)] = 10_000
    batch_hours: Annotated[float, Field(gt=0)] = 25.0
    poll_seconds: Annotated[float, Field(gt=0)] = 30.0

    @field_validator("api_key_env", mode="before")
    @classmethod
    def _is_a_name(cls, value: Any) -> Any:
        # A refused value may be a key, so it is not printed. Keys do not look like this: words, and an underscore.
        if not re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", str(value)) or len(re.findall(r"\d", str(value))) > 3:
            raise ValueError("names the environment variable that holds the key, such as OPENAI_API_KEY; not the key")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_an_address_without_a_secret(cls, value: str) -> str:
        address = urlsplit(value)
        if address.scheme not in ("http", "https") or not address.hostname or address.port == 0:
            raise ValueError("is an address such as https://api.openai.com/v1")
        if "@" in address.netloc or address.query or address.fragment:
            raise ValueError(
                "is a plain address, without user, password or query: it is written into the run's folder. The key "
                "stands in the environment (api_key_env), Azure's version in api_version"
            )
        return value


class Annotation(Server):
    """A language model that turns your own conversations into preference pairs (Stage 1 and 2 of paper A).

    ``guardrails``: your own, for every conversation that brings none; empty lets the model write
    ``fewest_guardrails`` to ``most_guardrails`` for each. A rejected reply has between 1 / ``length_ratio`` and
    ``length_ratio`` times the words of the chosen one. ``mask`` takes personal data out before anything is sent.
    """

    model: str
    guardrails: tuple[str, ...] = ()
    fewest_guardrails: Positive = 3
    most_guardrails: Positive = 12
    length_ratio: Annotated[float, Field(gt=1)] = 1.5
    mask: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Annotation:
        if self.fewest_guardrails > self.most_guardrails:
            raise ValueError("fewest_guardrails is larger than most_guardrails: no answer could be accepted")
        return self


class Source(Section):
    """Where conversations or ready pairs come from: the embedded ``world``, the ``care`` corpus, or a ``jsonl`` file.

    ``conversations`` is the world's, ``shares`` your own data's; the care corpus has its own splits. ``kinds``:
    how many kinds of guardrail a split's conversations in the world have, each in all wordings but one (default: all
    kinds in all wordings).

    ``prompts`` is a JSONL file of prompts without replies, which notebook 14 lets arms answer.

    ``seed`` makes the world and the splits; the training seed is another one, so that several of them share the data.
    """

    kind: Literal["world", "care", "jsonl"]
    path: str | None = None
    seed: Count = 0
    conversations: Conversations | None = None
    kinds: dict[Literal["train", "feedback"], KindsOfGuardrail] = Field(default={}, exclude_if=lambda value: not value)
    shares: Shares = Shares()
    ignore_roles: tuple[str, ...] = ()
    prompts: str | None = Field(default=None, exclude_if=lambda value: value is None)
    annotation: Annotation | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Source:
        if self.kind == "jsonl" and not self.path:
            raise ValueError("kind: jsonl needs a path")
        if self.kind == "world" and self.conversations is None:
            raise ValueError("kind: world needs conversations: {train, feedback, validation, test, transfer}")
        if self.kinds and self.kind != "world":
            raise ValueError("kinds is for kind: world, whose guardrails are written to order")
        return self


class Lora(Section):
    """Low-rank adapters in place of full fine-tuning."""

    rank: Positive = 16
    alpha: Positive = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: str | list[str] = "all-linear"


class Model(Section):
    """The base model: ``embedded`` (ships with the project), a folder, or a name on the Hugging Face hub.

    ``max_length`` counts the tokens of prompt and reply. Notebook 01 refuses longer points by name, or
    (``overlong: truncate``) takes their conversation's oldest turns away. ``prompt``: ``plain`` is paper A's, ``chat``
    the model's own chat template with the guardrails as the system's message.
    """

    name: str
    max_length: Positive
    overlong: Literal["refuse", "truncate"] = "refuse"
    prompt: Literal["plain", "chat"] = "plain"
    precision: Precision = "fp32"
    lora: Lora | None = None

    @model_validator(mode="after")
    def _can_be_trained(self) -> Model:
        if self.precision in ("int8", "nf4") and self.lora is None:
            raise ValueError(f"precision {self.precision} trains adapters only: give lora settings")
        return self


class Training(Section):
    """What all arms share."""

    batch_size: Positive
    optimizer: Literal["adamw", "rmsprop", "paged_adamw_8bit"] = "adamw"
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    engine: Literal["tree", "trl"] = "tree"
    batching: Literal["conversation", "pair"] = "conversation"
    row_tokens: Positive = 8192
    save_steps: Positive = 50
    gradient_checkpointing: bool = False


class ServerArm(Server):
    """An arm that a server answers. ``style: prompt`` sends what trained arms get, as one message; ``chat`` sends the
    guardrails as the system's message and the conversation as messages of user and assistant."""

    model: str
    style: Literal["prompt", "chat"] = "prompt"
    max_tokens: Positive = 256


class Generation(Section):
    """How replies are drawn; temperature 0 is greedy. ``replies`` names arms whose replies come from a server."""

    max_new_tokens: Positive
    batch_size: Positive
    precision: DecodingPrecision = "auto"
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    replies: dict[Name, ServerArm] = {}


class JudgeSection(Server):
    """Who compares replies; a language model needs ``model``, and of ``Server`` what the defaults do not fit.

    ``recorded`` replays earlier replies of the same model, offline: ``recording`` is the folder ``llm/`` of that run.
    ``panel`` lets ``judges`` decide by majority. ``prompts`` is a folder with your own ``judge.md``.
    """

    kind: Literal["embedded", "rules", "llm", "recorded", "panel", "none"]
    orders: Literal["both", "first"] = "both"
    canaries: Count = 20
    prompts: str | None = None
    recording: str | None = None
    judges: tuple[JudgeSection, ...] = ()

    @model_validator(mode="after")
    def _is_complete(self) -> JudgeSection:
        if self.kind in ("llm", "recorded") and not self.model:
            raise ValueError(f"kind: {self.kind} needs the judge's model (and base_url unless it is OpenAI's endpoint)")
        if self.kind == "recorded" and not self.recording:
            raise ValueError("kind: recorded needs a recording: the folder llm/ of an earlier run")
        if self.kind == "panel" and len(self.judges) < 2:
            raise ValueError("kind: panel needs two judges or more")
        if any(each.kind in ("panel", "none") for each in self.judges):
            raise ValueError("a panel's judges are embedded, rules, llm or recorded")
        return self


class Launch(Section):
    """How training starts: in this process (``none``) or by ``accelerate launch`` with a named configuration."""

    kind: Name = "none"


class Report(Section):
    """The level of the report's intervals."""

    level: Annotated[float, Field(gt=0, lt=1)] = 0.95


class Phase(Section):
    """One part of the base model's training.

    ``documents`` are conversations, each seen once; ``echoes`` are rows of random tokens that repeat themselves, which
    teach copying. ``kept`` is the chance that the agents of this text keep a guardrail; null: each kind by its habit.
    ``learning_rate`` is that of the weight matrices (Muon); embeddings and norms have ``embedding_rate`` (AdamW).
    """

    documents: Positive
    documents_per_step: Positive
    learning_rate: Rate
    embedding_rate: Rate = 1.5e-3
    warmup_steps: Count = 40
    echoes_per_step: Count = 0
    kept: Annotated[float, Field(ge=0, le=1)] | None = None


class Pretraining(Section):
    """Everything that decides the embedded base model's weights.

    The agents' habits are drawn between ``habit_low`` and ``habit_high``, one for each kind of guardrail. Tokens
    outside replies weigh ``context_weight`` in the loss.
    """

    seed: Count = 0
    vocabulary: Annotated[int, Field(ge=300)] = 1600
    hidden: Positive = 256
    layers: Positive = 6
    heads: Positive = 8
    kv_heads: Positive = 4
    intermediate: Positive = 640
    context_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    habit_low: Annotated[float, Field(ge=0, le=1)] = 0.15
    habit_high: Annotated[float, Field(ge=0, le=1)] = 0.9
    phases: tuple[Phase, ...] = Field(min_length=1)
