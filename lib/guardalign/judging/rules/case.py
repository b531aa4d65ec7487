"""What a check reads: a reply in its conversation, and the values in a guardrail."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from guardalign.judging.rules.ends import without_sign_off
from guardalign.judging.rules.text import literal, without_quotations

Values = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """A reply, the customer's last message, all their messages so far, and phrases that *other* guardrails demand."""

    reply: str
    last: str
    customer: str
    demanded: tuple[str, ...] = ()

    @cached_property
    def unquoted(self) -> str:
        """The reply less what it quotes."""
        return without_quotations(self.reply)

    @cached_property
    def free_unquoted(self) -> str:
        return without_quotations(self.free)

    @cached_property
    def free(self) -> str:
        """The reply less the phrases that other guardrails demand word for word."""
        text = self.reply
        for phrase in self.demanded:
            text = literal(phrase).sub("", text)
        return text

    @cached_property
    def body(self) -> str:
        """The reply less a signature at its end."""
        return without_sign_off(self.reply, self.demanded)

    def says(self, phrase: str) -> str | None:
        """The words of the reply that are exactly ``phrase``, less its article."""
        match = literal(re.sub("^(?:the|an?) ", "", phrase)).search(self.reply)
        return match.group() if match else None


Check = Callable[[Case, Values], str | None]


def found(match: re.Match[str] | None) -> str | None:
    """The matched words, stripped."""
    return match.group().strip() if match else None
