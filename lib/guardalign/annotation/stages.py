"""Real conversations into preference pairs with a language model: Stages 1 and 2 of paper A, all checked.

Stage 1 writes a conversation's guardrails (or takes given ones) and tags the agent's messages that follow them. Stage 2
writes, for each tagged message, a reply that breaks a guardrail; a second call, not given which one, must find it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from guardalign.annotation.answers import (
    ConfirmationAnswer,
    GuardrailsAnswer,
    RejectionAnswer,
    TaggingAnswer,
    confirmation_fault,
    guardrail_fault,
    rejection_fault,
    tagging_fault,
)
from guardalign.annotation.datacard import DataCard, Yield, make_card
from guardalign.annotation.masking import mask
from guardalign.config.sections import Annotation
from guardalign.data.construction import Rejection, points
from guardalign.data.conversations import Conversation, PreferencePair
from guardalign.llm import Client, Message, Request
from guardalign.llm.prompts import Prompt, Word

STAGES = ("guardrails", "tagging", "rejection", "confirmation")
Place = tuple[str, int]
"""A conversation's id and the index of one of its turns."""


@dataclass
class Annotated:
    """The points, the conversations they come from (masked, with guardrails and tags), and the data card.

    ``dropped``: (stage, id, reason) of everything that did not become a point.
    """

    pairs: list[PreferencePair]
    conversations: list[Conversation]
    card: DataCard
    dropped: list[tuple[str, str, str]] = field(default_factory=list)


class Annotator:
    """Runs the stages on ``client``. ``prompts``: a folder whose files replace the package's of the same name."""

    def __init__(self, client: Client, settings: Annotation, prompts: Path | None = None) -> None:
        self.client = client
        self.settings = settings
        self.prompts = {stage: Prompt.load(stage, prompts) for stage in STAGES}
        self._dropped: list[tuple[str, str, str]] = []

    def annotate(self, conversations: Iterable[Conversation]) -> Annotated:
        """Make preference pairs of ``conversations``. Ids must be unique. Raises BudgetReached and EndpointError.

        A conversation that brings guardrails keeps them, and one that brings tags keeps these. What fails a check is
        left out and counted, and asked again by the next run.
        """
        self._dropped = []
        given, masked = list(conversations), Counter[str]()
        if self.settings.mask:
            results = [mask(conversation) for conversation in given]
            given = [conversation for conversation, _ in results]
            masked = sum((found for _, found in results), masked)
        ruled = self._rule(given)
        tagged, follows = self._tag(ruled)
        rejections = self._reject(tagged, follows)
        confirmed = self._confirm(tagged, rejections)
        pairs = [pair for each in tagged for pair in points(each, lambda own, index: confirmed.get((own.id, index)))]
        turns = sum(turn.role == "agent" for each in ruled for turn in each.turns[1:])
        yields = (
            Yield(stage="conversations", count=len(given), of=len(given)),
            Yield(stage="with guardrails", count=len(ruled), of=len(given)),
            Yield(stage="tagged messages", count=len(places(tagged)), of=turns),
            Yield(stage="rejected replies", count=len(rejections), of=len(places(tagged))),
            Yield(stage="confirmed", count=len(confirmed), of=len(rejections)),
            Yield(stage="points", count=len(pairs), of=len(confirmed)),
        )
        reasons = Counter(f"{stage}: {reason.split(':')[0]}" for stage, _, reason in self._dropped)
        versions = tuple(prompt.version for prompt in self.prompts.values())
        card = make_card(pairs, tagged, yields, reasons, masked, self.client, versions)
        return Annotated(pairs, tagged, card, self._dropped)

    def requests(self, conversation: Conversation, index: int, rejection: Rejection) -> dict[str, Request]:
        """One request of each stage, filled in, as it would leave for the server: for reading."""
        place = (conversation.id, index)
        return {
            "guardrails": self._guardrails_request(conversation),
            "tagging": self._tagging_request(conversation),
            "rejection": self._rejection_request(conversation, place, ()),
            "confirmation": self._confirmation_request(conversation, place, rejection),
        }

    def _rule(self, conversations: list[Conversation]) -> list[Conversation]:
        own = self.settings.guardrails
        given = [each.model_copy(update={"guardrails": each.guardrails or own or ()}) for each in conversations]
        found = self._run("guardrails", [self._guardrails_request(each) for each in given if not each.guardrails])
        written = {name: tuple(text.strip() for text in answer.guardrails) for name, answer in found.items()}
        ruled = (each.model_copy(update={"guardrails": written.get(each.id, each.guardrails)}) for each in given)
        return [each for each in ruled if each.guardrails]

    def _tag(self, ruled: list[Conversation]) -> tuple[list[Conversation], dict[Place, tuple[int, ...]]]:
        untagged = [each for each in ruled if not any(turn.tagged for turn in each.turns)]
        found = self._run("tagging", [self._tagging_request(each) for each in untagged])
        follows = {
            (name, tag.turn): tuple(sorted({each.number for each in tag.follows}))
            for name, answer in found.items()
            for tag in answer.turns
        }

        def tagged(each: Conversation) -> Conversation:
            turns = (turn.model_copy(update={"tagged": (each.id, at) in follows}) for at, turn in enumerate(each.turns))
            return each.model_copy(update={"turns": tuple(turns)})

        return [tagged(each) if each.id in found else each for each in ruled], follows

    def _reject(self, tagged: list[Conversation], follows: dict[Place, tuple[int, ...]]) -> dict[Place, Rejection]:
        wanted = [
            self._rejection_request(conversation, place, follows.get(place, ()))
            for conversation in tagged
            for place in places([conversation])
        ]
        found = self._run("rejection", wanted)
        return {
            _place(name): Rejection(answer.reply.strip(), tuple(sorted(set(answer.breaks))))
            for name, answer in found.items()
        }

    def _confirm(self, tagged: list[Conversation], rejections: dict[Place, Rejection]) -> dict[Place, Rejection]:
        by_id = {conversation.id: conversation for conversation in tagged}
        wanted = [
            self._confirmation_request(by_id[place[0]], place, rejection) for place, rejection in rejections.items()
        ]
        confirmed = {}
        for name, answer in self._run("confirmation", wanted).items():
            place = _place(name)
            found = {each.number for each in answer.guardrails if each.broken}
            broken = tuple(sorted(found & set(rejections[place].broken)))
            if broken:
                confirmed[place] = Rejection(rejections[place].text, broken)
            else:
                self._dropped.append(("confirmation", name, f"not confirmed: broken are {sorted(found)}"))
        return confirmed

    def _run(self, stage: str, requests: Sequence[Request]) -> dict[str, Any]:
        """The answers of one stage by request id; invalid ones are counted as dropped."""
        answers = {}
        for outcome in sorted(self.client.run(requests, label=stage), key=lambda each: each.request.id):
            if outcome.invalid is None:
                answers[outcome.request.id] = outcome.value
            else:
                self._dropped.append((stage, outcome.request.id, outcome.invalid))
        return answers

    def _guardrails_request(self, conversation: Conversation) -> Request:
        fewest, most = self.settings.fewest_guardrails, self.settings.most_guardrails
        return self._request(
            "guardrails",
            conversation.id,
            GuardrailsAnswer,
            lambda answer: guardrail_fault(answer.guardrails, fewest, most),
            {"conversation": _history(conversation)},
            fewest=fewest,
            most=most,
        )

    def _tagging_request(self, conversation: Conversation) -> Request:
        data = {
            "guardrails": numbered(conversation.guardrails),
            "conversation": [{"turn": at, turn.role: turn.text} for at, turn in enumerate(conversation.turns)],
        }
        return self._request(
            "tagging", conversation.id, TaggingAnswer, lambda answer: tagging_fault(answer, conversation), data
        )

    def _rejection_request(self, conversation: Conversation, place: Place, follows: tuple[int, ...]) -> Request:
        chosen, number = conversation.turns[place[1]].text, len(conversation.guardrails)
        shortest, longest = self.lengths(chosen)
        return self._request(
            "rejection",
            _name(place),
            RejectionAnswer,
            lambda answer: rejection_fault(answer, chosen, number, (shortest, longest)),
            _reply_data(conversation, place, chosen) | {"follows": list(follows)},
            shortest=shortest,
            longest=longest,
        )

    def _confirmation_request(self, conversation: Conversation, place: Place, rejection: Rejection) -> Request:
        return self._request(
            "confirmation",
            _name(place),
            ConfirmationAnswer,
            lambda answer: confirmation_fault(answer, rejection.text, len(conversation.guardrails)),
            _reply_data(conversation, place, rejection.text),
        )

    def _request(
        self,
        stage: str,
        name: str,
        reply: type[BaseModel],
        fault: Callable[[Any], str | None],
        data: dict[str, Any],
        **numbers: int,
    ) -> Request:
        item = hashlib.sha256(json.dumps([stage, data]).encode()).hexdigest()[:16]

        def check(answer: Any) -> str | None:
            return f"wrong item: {answer.item[:40]!r}" if answer.item != item else fault(answer)

        prompt = self.prompts[stage]
        messages: tuple[Message, ...] = prompt.fill(**data, **numbers, item=Word(item))
        return Request(name, messages, reply, check, prompt.version)

    def lengths(self, chosen: str) -> tuple[int, int]:
        """The fewest and most words of a rejected reply; a short one may differ by three words in any case."""
        words, ratio = len(chosen.split()), self.settings.length_ratio
        return max(1, min(math.ceil(words / ratio), words - 3)), max(math.floor(words * ratio), words + 3)


def places(conversations: Iterable[Conversation]) -> list[Place]:
    """The tagged agent messages that can become points: those with a message before them."""
    return [
        (conversation.id, index)
        for conversation in conversations
        for index, turn in enumerate(conversation.turns)
        if index > 0 and turn.role == "agent" and turn.tagged
    ]


def numbered(guardrails: Sequence[str]) -> dict[str, str]:
    """Guardrails as JSON data, numbered from 1 as in paper A's Fig. 1a."""
    return {str(number): text for number, text in enumerate(guardrails, 1)}


def _history(conversation: Conversation, until: int | None = None) -> list[dict[str, str]]:
    return [{turn.role: turn.text} for turn in conversation.turns[:until]]


def _reply_data(conversation: Conversation, place: Place, reply: str) -> dict[str, Any]:
    history = _history(conversation, place[1])
    return {"guardrails": numbered(conversation.guardrails), "conversation": history, "reply": reply}


def _name(place: Place) -> str:
    return f"{place[0]}.{place[1]}"


def _place(name: str) -> Place:
    conversation, _, index = name.rpartition(".")
    return conversation, int(index)
