"""Prompts and a checkpoint in, replies out: in one process or several, going on where a run was cut off."""

from guardalign.generation.job import GenerationJob
from guardalign.generation.replies import (
    GenerationError,
    GenerationSettings,
    Policy,
    Ranks,
    batched_trunks,
    generate,
    load_policy,
    policy_fingerprint,
    reply_batches,
)
from guardalign.generation.side_by_side import generate_side_by_side

__all__ = [
    "GenerationError",
    "GenerationJob",
    "GenerationSettings",
    "Policy",
    "Ranks",
    "batched_trunks",
    "generate",
    "generate_side_by_side",
    "load_policy",
    "policy_fingerprint",
    "reply_batches",
]
