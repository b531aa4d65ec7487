"""Turns real conversations into preference pairs with a language model: Stages 1 and 2 of paper A, all answers checked.

Stage 1 writes a conversation's guardrails (or takes given ones) and tags the agent's messages that follow them. Stage 2
writes, for each tagged message, a reply that breaks a guardrail; a second call, not given which one, must find it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
from guardalign.annotation.datacard import Annotated
from guardalign.annotation.masking import mask
from guardalign.config.sections import Annotation
from guardalign.data.construction import Rejection, numbered, point_id, points, tagged_turns
from guardalign.data.conversations import Conversation
from guardalign.llm import Client, Request
from guardalign.llm.prompts import Prompt

STAGES = ("guardrails", "tagging", "rejection", "confirmation")


class Annotator:
    """Runs the stages on ``client``."""

    def __init__(self, client: Client, settings: Annotation) -> None:
        self.client = client
        self.settings = settings
        self.prompts = {stage: Prompt.load(stage) for stage in STAGES}
        self._dropped: Counter[str] = Counter()

    def annotate(self, conversations: Iterable[Conversation]) -> Annotated:
        """Make preference pairs of ``conversations``. Ids must be unique. Raises BudgetReached and EndpointError.

        A conversation that brings guardrails keeps them, and one that brings tags keeps these. What fails a check is
        left out and counted, and asked again by the next run.
        """
        self._dropped = Counter()
        inputs, masked = list(conversations), Counter[str]()
        if self.settings.mask:
            results = [mask(conversation) for conversation in inputs]
            inputs = [conversation for conversation, _ in results]
            masked = sum((found for _, found in results), masked)
        ruled = self._rule(inputs)
        tagged, follows = self._tag(ruled)
        rejections = self._reject(tagged, follows)
        confirmed = self._confirm(tagged, rejections)
        pairs = [pair for each in tagged for pair in points(each, lambda own, at: confirmed.get(point_id(own, at)))]
        messages = sum(turn.role == "agent" for each in ruled for turn in each.turns[1:])
        places = sum(len(tagged_turns(each)) for each in tagged)
        yields = {
            "conversations": (len(inputs), len(inputs)),
            "with guardrails": (len(ruled), len(inputs)),
            "tagged messages": (places, messages),
            "rejected replies": (len(rejections), places),
            "confirmed": (len(confirmed), len(rejections)),
            "points": (len(pairs), len(confirmed)),
        }
        versions = tuple(prompt.version for prompt in self.prompts.values())
        return Annotated(pairs, tagged, yields, self._dropped, masked, versions, self.client)

    def requests(self, conversation: Conversation, index: int, rejection: Rejection) -> dict[str, Request]:
        """One request of each stage, filled in as it would be sent, for inspection."""
        return {
            "guardrails": self._guardrails_request(conversation),
            "tagging": self._tagging_request(conversation),
            "rejection": self._rejection_request(conversation, index, ()),
            "confirmation": self._confirmation_request(conversation, index, rejection),
        }

    def _rule(self, conversations: list[Conversation]) -> list[Conversation]:
        """The conversations that have guardrails: their own, the settings', or else the model's."""
        default = self.settings.guardrails
        completed = [each.model_copy(update={"guardrails": each.guardrails or default}) for each in conversations]
        found = self._run("guardrails", [self._guardrails_request(each) for each in completed if not each.guardrails])
        written = {name: tuple(text.strip() for text in answer.guardrails) for name, answer in found.items()}
        ruled = (each.model_copy(update={"guardrails": written.get(each.id, each.guardrails)}) for each in completed)
        return [each for each in ruled if each.guardrails]

    def _tag(self, ruled: list[Conversation]) -> tuple[list[Conversation], dict[str, tuple[int, ...]]]:
        """The conversations with tags, and by point the guardrails that the model finds followed."""
        untagged = [each for each in ruled if not any(turn.tagged for turn in each.turns)]
        found = self._run("tagging", [self._tagging_request(each) for each in untagged])
        follows: dict[str, tuple[int, ...]] = {}
        tagged = []
        for each in ruled:
            if each.id in found:
                numbers = {tag.turn: {one.number for one in tag.follows} for tag in found[each.id].turns}
                follows |= {point_id(each, at): tuple(sorted(followed)) for at, followed in numbers.items()}
                turns = [turn.model_copy(update={"tagged": at in numbers}) for at, turn in enumerate(each.turns)]
                each = each.model_copy(update={"turns": tuple(turns)})
            tagged.append(each)
        return tagged, follows

    def _reject(self, tagged: list[Conversation], follows: dict[str, tuple[int, ...]]) -> dict[str, Rejection]:
        wanted = [
            self._rejection_request(each, at, follows.get(point_id(each, at), ()))
            for each in tagged
            for at in tagged_turns(each)
        ]
        return {
            name: Rejection(answer.reply.strip(), tuple(sorted(set(answer.breaks))))
            for name, answer in self._run("rejection", wanted).items()
        }

    def _confirm(self, tagged: list[Conversation], rejections: dict[str, Rejection]) -> dict[str, Rejection]:
        wanted = [
            self._confirmation_request(each, at, rejections[point_id(each, at)])
            for each in tagged
            for at in tagged_turns(each)
            if point_id(each, at) in rejections
        ]
        confirmed = {}
        for name, answer in self._run("confirmation", wanted).items():
            found = {each.number for each in answer.guardrails if each.broken}
            if broken := tuple(sorted(found & set(rejections[name].broken))):
                confirmed[name] = Rejection(rejections[name].text, broken)
            else:
                self._dropped["confirmation: not confirmed"] += 1
        return confirmed

    def _run(self, stage: str, requests: Sequence[Request]) -> dict[str, Any]:
        """The answers of one stage by request id; invalid ones are counted as dropped."""
        answers = {}
        for outcome in sorted(self.client.run(requests, label=stage), key=lambda each: each.request.id):
            if outcome.invalid is None:
                answers[outcome.request.id] = outcome.value
            else:
                self._dropped[f"{stage}: {outcome.invalid.split(':')[0]}"] += 1
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

    def _rejection_request(self, conversation: Conversation, index: int, follows: tuple[int, ...]) -> Request:
        chosen, number = conversation.turns[index].text, len(conversation.guardrails)
        words, ratio = len(chosen.split()), self.settings.length_ratio
        # A short reply may differ by three words in any case.
        shortest, longest = max(1, min(math.ceil(words / ratio), words - 3)), max(math.floor(words * ratio), words + 3)
        return self._request(
            "rejection",
            point_id(conversation, index),
            RejectionAnswer,
            lambda answer: rejection_fault(answer, chosen, number, (shortest, longest)),
            _reply_data(conversation, index, chosen) | {"follows": list(follows)},
            shortest=shortest,
            longest=longest,
        )

    def _confirmation_request(self, conversation: Conversation, index: int, rejection: Rejection) -> Request:
        return self._request(
            "confirmation",
            point_id(conversation, index),
            ConfirmationAnswer,
            lambda answer: confirmation_fault(answer, rejection.text, len(conversation.guardrails)),
            _reply_data(conversation, index, rejection.text),
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
        return Request(name, prompt.fill(**data, **numbers, item=item), reply, check, prompt.version)


def _history(conversation: Conversation, until: int | None = None) -> list[dict[str, str]]:
    return [{turn.role: turn.text} for turn in conversation.turns[:until]]


def _reply_data(conversation: Conversation, index: int, reply: str) -> dict[str, Any]:
    history = _history(conversation, index)
    return {"guardrails": numbered(conversation.guardrails), "conversation": history, "reply": reply}
