"""What a delivered reply is worth."""

from __future__ import annotations

from collections.abc import Iterable

from guardalign.llm.request import NO_TOKENS, Outcome, Request, Usage
from guardalign.llm.store import Delivered
from guardalign.llm.structured import Unreadable, parse


def examine(
    request: Request,
    reply: Delivered,
    stored: bool = False,
    calls: int = 0,
    usage: Usage = NO_TOKENS,
    cost: float = 0.0,
) -> Outcome:
    """What a delivered reply is worth: the value asked for, or the reason why it is invalid."""
    value, invalid = None, _fault_of(request, reply)
    if invalid is None:
        try:
            value = parse(reply.text, request.reply) if request.reply else reply.text or reply.refusal or ""
            invalid = request.check(value) if request.check else None
        except Unreadable as error:
            invalid = str(error)
    return Outcome(
        request,
        value=value if invalid is None else None,
        invalid=invalid,
        text=reply.text,
        finished=reply.finish != "length",
        tokens=reply.usage.completion,
        stored=stored,
        calls=calls,
        usage=usage,
        cost=cost,
    )


def good(request: Request, replies: Iterable[Delivered]) -> Outcome | None:
    """The outcome of the first stored reply that is valid; None if there is none."""
    outcomes = (examine(request, reply, stored=True) for reply in replies)
    return next((outcome for outcome in outcomes if outcome.invalid is None), None)


def _fault_of(request: Request, reply: Delivered) -> str | None:
    if reply.refusal and request.reply:
        return f"refused: {reply.refusal[:200]}"
    if reply.finish == "content_filter":
        return "refused: stopped by the provider's content filter"
    if request.reply and reply.finish == "length":
        return f"cut off: the reply reached max_tokens after {len(reply.text)} characters"
    return None
