"""S-IFEval (Mu et al. 2025, arXiv 2502.12197): IFEval's verifiable instructions as rules of a system message.

The instructions are checked by PyPI's ``if-verifiable``, which is optional (``requirements-optional.txt``).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from guardalign.data.conversations import PreferencePair, Row, Turn
from guardalign.data.messages import rules_of
from guardalign.files import read_rows

DOWNLOADED = frozenset({"length_constraints:number_sentences", "change_case:capital_word_frequency"})
"""Instructions whose checkers download NLTK's punkt: prompts with one are left out."""


class Instructed(Row):
    """A row of the file: IFEval's ``prompt``, the instructions in it, and the ``messages`` made of them."""

    key: int
    prompt: str
    instruction_id_list: list[str]
    kwargs: list[dict[str, Any]]
    messages: list[dict[str, str]]

    @property
    def pair(self) -> PreferencePair:
        """The prompt to answer, without replies."""
        messages = [(each["role"], each["content"]) for each in self.messages]
        return PreferencePair(
            id=str(self.key), conversation_id=str(self.key), chosen="", rejected="", split="transfer",
            turns=tuple(Turn(role="user", text=text) for role, text in messages if role == "user"),
            guardrails=tuple(rule for role, text in messages if role == "system" for rule in rules_of(text)),
        )  # fmt: skip

    def followed(self, reply: str) -> float:
        """The share of the instructions that a reply follows (strict)."""
        checkers = import_module("if_verifiable.ifeval").INSTRUCTION_DICT
        evaluate = import_module("if_verifiable.common").evaluate_instructions
        return float(evaluate(reply, self.instruction_id_list, self.kwargs, self.prompt, checkers)[1].partial_strict)


def can_check() -> bool:
    """Whether the checkers are installed."""
    return find_spec("if_verifiable") is not None


def load_sys_ifeval(path: Path, count: int | None = None) -> list[Instructed]:
    """The first ``count`` rows whose instructions are checked without a download. Raises InputError, file and line."""
    return [row for row in read_rows(path, Instructed) if not DOWNLOADED & set(row.instruction_id_list)][:count]
