"""What the study is about: conversations, their guardrails, and preference pairs made from them.

These frozen models are what crosses every module's border and what a JSONL row under ``outputs/<run>/data`` holds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["user", "agent"]
Split = Literal["train", "feedback", "validation", "test", "transfer"]
SPLITS: tuple[Split, ...] = ("train", "feedback", "validation", "test", "transfer")


class Row(BaseModel):
    """A frozen record that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Turn(Row):
    """One message. ``tagged`` marks an agent message that follows the guardrails (Stage 1 of paper A)."""

    role: Role
    text: str
    tagged: bool = False


class Conversation(Row):
    """A whole conversation and the guardrails its agent works under (in the order they are numbered, from 1)."""

    id: str
    turns: tuple[Turn, ...]
    guardrails: tuple[str, ...] = ()
    domain: str = ""


class PreferencePair(Row):
    """One data point of paper A: the conversation up to a user's message, a good next reply and a bad one.

    ``broken`` holds the numbers (from 1) of the guardrails that ``rejected`` breaks, if they are known. It
    describes how the data was made; no judge reads it.
    """

    id: str
    conversation_id: str
    turns: tuple[Turn, ...]
    chosen: str
    rejected: str
    guardrails: tuple[str, ...] = ()
    broken: tuple[int, ...] = ()
    domain: str = ""
    split: Split = "train"


class Reply(Row):
    """What an arm answers to the prompt of the preference pair ``pair_id``.

    ``finished`` is false if the reply was cut off at the token limit.
    """

    pair_id: str
    conversation_id: str
    arm: str
    text: str
    tokens: int = 0
    finished: bool = True
