"""What a model must answer in each stage of annotation, and what can be wrong with it ("kind: details")."""

from __future__ import annotations

from collections.abc import Sequence

from guardalign.data.conversations import Conversation
from guardalign.llm.quotes import normal, occurs
from guardalign.llm.structured import Answer

LONGEST_GUARDRAIL = 500


class GuardrailsAnswer(Answer):
    item: str
    guardrails: tuple[str, ...]


class Followed(Answer):
    number: int
    quote: str


class TaggedTurn(Answer):
    turn: int
    follows: tuple[Followed, ...]


class TaggingAnswer(Answer):
    item: str
    turns: tuple[TaggedTurn, ...]


class RejectionAnswer(Answer):
    item: str
    reply: str
    breaks: tuple[int, ...]
    how: str


class Checked(Answer):
    number: int
    broken: bool
    quote: str


class ConfirmationAnswer(Answer):
    item: str
    guardrails: tuple[Checked, ...]


def guardrail_fault(guardrails: Sequence[str], fewest: int, most: int) -> str | None:
    """What is wrong with generated guardrails ("kind: details"), or None."""
    if not fewest <= len(guardrails) <= most:
        return f"wrong number: {len(guardrails)} guardrails instead of {fewest} to {most}"
    for text in guardrails:
        if len(text.split()) < 3 or len(text) > LONGEST_GUARDRAIL or "\n" in text.strip():
            return f"wrong form: {text[:80]!r} is not a guardrail of one or two sentences"
    if len({normal(text) for text in guardrails}) < len(guardrails):
        return "wrong form: a guardrail appears twice"
    return None


def tagging_fault(answer: TaggingAnswer, conversation: Conversation) -> str | None:
    """What is wrong with tags: every turn must exist once, be the agent's, and contain the quoted words."""
    seen = [tag.turn for tag in answer.turns]
    if len(set(seen)) < len(seen):
        return "wrong turn: a message is tagged twice"
    for tag in answer.turns:
        if not 0 <= tag.turn < len(conversation.turns) or conversation.turns[tag.turn].role != "agent":
            return f"wrong turn: {tag.turn} is not a message of the agent"
        if not tag.follows:
            return f"wrong guardrails: message {tag.turn} is tagged and follows none"
        for each in tag.follows:
            if not 1 <= each.number <= len(conversation.guardrails):
                return f"wrong guardrails: there is no number {each.number}"
            if not occurs(each.quote, [conversation.turns[tag.turn].text]):
                return f"wrong quote: {each.quote[:80]!r} is not in message {tag.turn}"
    return None


def rejection_fault(answer: RejectionAnswer, chosen: str, guardrails: int, words: tuple[int, int]) -> str | None:
    """What is wrong with a rejected reply: it differs from the chosen one, names what it breaks, is about as long."""
    if not answer.reply.strip() or normal(answer.reply) == normal(chosen):
        return "same reply: the rejected reply is empty or the chosen one"
    if not answer.breaks or not all(1 <= number <= guardrails for number in answer.breaks):
        return f"wrong guardrails: it says that it breaks {list(answer.breaks)[:20]} of 1 to {guardrails}"
    length = len(answer.reply.split())
    if not words[0] <= length <= words[1]:
        return f"wrong length: {length} words instead of {words[0]} to {words[1]}"
    return None


def confirmation_fault(answer: ConfirmationAnswer, reply: str, guardrails: int) -> str | None:
    """What is wrong with a check: every guardrail must appear once, and quotes must occur in the reply."""
    numbers = sorted(each.number for each in answer.guardrails)
    if numbers != list(range(1, guardrails + 1)):
        return f"wrong guardrails: {numbers[:20]} instead of 1 to {guardrails}"
    for each in answer.guardrails:
        if each.broken and not occurs(each.quote, [reply]):
            return f"wrong quote: {each.quote[:80]!r} (guardrail {each.number}) is not in the reply"
    return None
