"""Replies checked: the value that was asked for, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from guardalign.llm.request import NO_TOKENS, Outcome, Request
from guardalign.llm.store import Delivered
from guardalign.llm.structured import Unreadable, parse, without_thoughts


def outcome(request: Request, asked: Sequence[Delivered], invalid: str | None = None) -> Outcome:
    """The outcome of calls that delivered ``asked``: the last one's, or ``invalid`` if a further call got no reply."""
    found = Outcome(request, invalid=invalid) if invalid is not None else examine(request, asked[-1])
    usage, cost = sum((each.usage for each in asked), NO_TOKENS), sum(each.cost or 0.0 for each in asked)
    return replace(found, calls=len(asked), usage=usage, cost=cost)


def examine(request: Request, reply: Delivered, stored: bool = False) -> Outcome:
    """The value that was asked for, or the reason why the reply is invalid."""
    value, invalid = None, None
    if reply.refusal and request.reply:
        invalid = f"refused: {reply.refusal[:200]}"
    elif reply.finish == "content_filter":
        invalid = "refused: stopped by the provider's content filter"
    elif reply.finish == "length" and request.reply:
        invalid = f"cut off: the reply reached max_tokens after {len(reply.text)} characters"
    else:
        try:
            text = reply.text or reply.refusal or ""
            value = parse(text, request.reply) if request.reply else without_thoughts(text)
            invalid = request.check(value) if request.check else None
        except Unreadable as error:
            invalid = str(error)
    return Outcome(
        request,
        value=value if invalid is None else None,
        invalid=invalid,
        finished=reply.finish != "length",
        tokens=reply.usage.completion,
        stored=stored,
    )


def first_valid(request: Request, replies: Iterable[Delivered]) -> Outcome | None:
    """The outcome of the first stored reply that is valid; None if there is none."""
    outcomes = (examine(request, reply, stored=True) for reply in replies)
    return next((outcome for outcome in outcomes if outcome.invalid is None), None)
