"""Errors for users: each message says what is wrong, where, and what to do about it."""

from __future__ import annotations


class GuardalignError(Exception):
    """Anything the package refuses or cannot do; the message is for the user."""

    def _render_traceback_(self) -> list[str]:
        """How a notebook shows it: IPython calls this, and users need no traceback."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(GuardalignError):
    """A parameter that is unknown, misspelt, ill-typed, missing or out of range."""


class InputError(GuardalignError):
    """Input data that cannot be read; names the file and the line."""


class NoVerdict(GuardalignError):
    """A judge whose every verdict on a comparison is invalid: which arm is better stays unknown."""


class MissingStage(GuardalignError):
    """The product of an earlier notebook is missing; names the notebook."""


class ForeignRun(GuardalignError):
    """The run folder holds an earlier stage that was made with other parameters."""


class Preempted(GuardalignError):
    """SIGTERM was received; progress is saved, and the same call resumes from it."""


class OutOfMemory(GuardalignError):
    """The machine or the GPU has too little memory for a step."""


class StageFailed(GuardalignError):
    """A stage or a training process ended without its product."""
