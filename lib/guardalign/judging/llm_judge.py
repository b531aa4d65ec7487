"""A language model as the judge: one question a pair and order, checked before it becomes a verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

from guardalign.data.conversations import PreferencePair
from guardalign.judging.findings import Shown, assessment, comparison, dimension_verdicts, fault
from guardalign.judging.verdicts import DIMENSIONS, Dimension, Item, Verdict
from guardalign.llm import Client, Outcome, Request
from guardalign.llm.prompts import Prompt, Word

Order = Literal["12", "21"]
BOTH: tuple[Order, ...] = get_args(Order)


class LLMJudge:
    """Compares replies by asking ``client``; keeps the protocol ``Judge``.

    One call asks all ``dimensions`` of one pair in one order. A verdict's ``invalid`` says why there is none, and such
    a comparison is asked again by the next run. ``prompts``: a folder whose ``judge.md`` replaces the package's.
    Raises BudgetReached and EndpointError; what was paid for until then is stored.
    """

    def __init__(
        self,
        client: Client,
        orders: Sequence[Order] = BOTH,
        dimensions: Sequence[Dimension] = DIMENSIONS,
        prompts: Path | None = None,
    ) -> None:
        self.client = client
        self.name = client.endpoint.model
        self.orders = tuple(orders)
        self.dimensions = tuple(name for name in DIMENSIONS if name in dimensions)
        left_out = [name.title() for name in DIMENSIONS if name not in dimensions]
        self.prompt = Prompt.load("judge", prompts).without(*left_out)

    def compare(self, items: list[Item], arm_1: str, arm_2: str) -> list[Verdict]:
        """One verdict for every item and order, items and orders in the order given."""
        return [verdict for _, verdict in sorted(self.stream(items, arm_1, arm_2), key=itemgetter(0))]

    def stream(self, items: Iterable[Item], arm_1: str, arm_2: str) -> Iterator[tuple[int, Verdict]]:
        """As ``compare``, but each verdict with its place as it comes; memory does not grow with the items."""
        waiting: dict[str, tuple[int, PreferencePair, Order]] = {}

        def requests() -> Iterator[Request]:
            for place, (item, order) in enumerate((item, order) for item in items for order in self.orders):
                waiting[str(place)] = (place, item[0], order)
                yield self.request(item, order, str(place))

        for outcome in self.client.run(requests(), label=f"{arm_1} vs {arm_2}"):
            place, pair, order = waiting.pop(outcome.request.id)
            yield place, self._verdict(outcome, pair, order, arm_1, arm_2)

    def request(self, item: Item, order: Order, name: str = "") -> Request:
        """The question about one pair in one order, as it leaves for the server."""
        pair, text_1, text_2 = item
        shown: dict[Shown, str] = {"A": text_1, "B": text_2} if order == "12" else {"A": text_2, "B": text_1}
        history = [{turn.role: turn.text} for turn in pair.turns]
        # An author of any part of an item cannot know its id.
        number = hashlib.sha256(json.dumps([pair.guardrails, history, shown]).encode()).hexdigest()[:16]
        return Request(
            id=name or number,
            messages=self.prompt.fill(
                guardrails={str(at): text for at, text in enumerate(pair.guardrails, 1)},
                conversation=history,
                replies=shown,
                item=Word(number),
            ),
            reply=comparison(self.dimensions),
            check=lambda answer: fault(answer, number, pair, shown, self.dimensions),
            prompt=self.prompt.version,
        )

    def _verdict(self, outcome: Outcome, pair: PreferencePair, order: Order, arm_1: str, arm_2: str) -> Verdict:
        facts: dict[str, Any] = {
            "pair_id": pair.id,
            "conversation_id": pair.conversation_id,
            "arm_1": arm_1,
            "arm_2": arm_2,
        }
        facts |= {"judge": self.name, "order": order}
        if outcome.invalid is not None:
            return Verdict(**facts, invalid=outcome.invalid)
        places: tuple[Shown, Shown] = ("A", "B") if order == "12" else ("B", "A")
        first, second = places
        return Verdict(
            **facts,
            dimensions=dimension_verdicts(outcome.value, first, second, self.dimensions),
            reply_1=assessment(getattr(outcome.value, first), self.dimensions),
            reply_2=assessment(getattr(outcome.value, second), self.dimensions),
        )
