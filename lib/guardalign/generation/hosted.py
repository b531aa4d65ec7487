"""Arms whose replies come from an OpenAI-compatible server: a hosted bot, compared like any trained one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guardalign.config.sections import ServerArm
from guardalign.data.construction import format_messages, format_prompt
from guardalign.data.conversations import PreferencePair, Reply
from guardalign.errors import GuardalignError
from guardalign.files import fingerprint
from guardalign.generation.store import Store
from guardalign.llm import Client, Endpoint, Message, Outcome, Request


def hosted_replies(
    section: ServerArm, pairs: Sequence[PreferencePair], arm: str, store: Path, output: Path
) -> list[Reply]:
    """The server's replies to ``pairs``, in their order; they are also written to ``output``.

    Each is stored as it arrives and never asked for twice. Raises GuardalignError if prompts stay without a reply:
    leaving them out would compare arms on different prompts. BudgetReached and EndpointError pass through.
    """
    client = Client(Endpoint.of(section), store)
    outcomes = {each.request.id: each for each in client.run(requests(section, pairs), label=f"replies of {arm}")}
    missing = [outcome for outcome in outcomes.values() if outcome.invalid]
    if missing:
        raise GuardalignError(
            f"{section.model} left {len(missing)} of {len(pairs)} prompts without a reply, e.g. {missing[0].invalid}. "
            f"The others are stored; run again to ask for these."
        )
    replies = [_reply(outcomes[pair.id], pair, arm) for pair in pairs]
    Store(output, fingerprint("server", section.model)).write(replies)
    return replies


def requests(section: ServerArm, pairs: Sequence[PreferencePair]) -> list[Request]:
    """What each prompt looks like for the server."""
    return [
        Request(id=pair.id, messages=messages(pair, section.style), prompt=f"arm-{section.style}") for pair in pairs
    ]


def messages(pair: PreferencePair, style: str) -> tuple[Message, ...]:
    """One prompt as chat messages; see ServerArm for the styles."""
    if style == "prompt":
        return (Message("user", format_prompt(pair.guardrails, pair.turns)),)
    return tuple(Message(each["role"], each["content"]) for each in format_messages(pair.guardrails, pair.turns))


def _reply(outcome: Outcome, pair: PreferencePair, arm: str) -> Reply:
    return Reply(
        pair_id=pair.id,
        conversation_id=pair.conversation_id,
        arm=arm,
        text=str(outcome.value).strip().removeprefix("Agent:").strip(),
        tokens=outcome.tokens,
        finished=outcome.finished,
    )
