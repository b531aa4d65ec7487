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

__all__ = [
    "GenerationError",
    "GenerationJob",
    "GenerationSettings",
    "Policy",
    "Ranks",
    "batched_trunks",
    "generate",
    "load_policy",
    "policy_fingerprint",
    "reply_batches",
]
