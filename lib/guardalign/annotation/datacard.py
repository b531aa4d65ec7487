"""The data card of annotated data: how many, how long, what was lost where and why, what it cost, and examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from guardalign.data.conversations import Conversation, PreferencePair
from guardalign.llm import Client

EXAMPLES = 3
LENGTH_CUE = 0.15
"""A share of rejected replies longer than the chosen ones this far from a half lets length alone tell them apart."""


@dataclass(frozen=True)
class Yield:
    """How many of ``of`` came through a stage."""

    stage: str
    count: int
    of: int


@dataclass(frozen=True)
class DataCard:
    """Results and cost of annotation. Lengths are in words, ``cost`` in US dollars (of this store in all, all runs)."""

    model: str
    prompts: tuple[str, ...]
    yields: tuple[Yield, ...]
    dropped: dict[str, int]
    masked: dict[str, int]
    guardrails_per_conversation: float
    points_per_conversation: float
    words_chosen: float
    words_rejected: float
    rejected_longer: float
    calls: int
    tokens: int
    cost: float | None
    examples: tuple[PreferencePair, ...]

    @property
    def length_cue(self) -> bool:
        """Whether length alone separates rejected from chosen replies."""
        return abs(self.rejected_longer - 0.5) > LENGTH_CUE

    def markdown(self) -> str:
        """The card as a page; paper A's own yield (880 conversations, 8,457 points) is shown next to this one's."""
        cost = "price not known" if self.cost is None else f"${self.cost:.2f}"
        lines = ["| stage | count | of | yield |", "|---|---|---|---|"]
        for each in self.yields:
            share = f"{each.count / each.of:.0%}" if each.of else "-"
            lines.append(f"| {each.stage} | {each.count} | {each.of} | {share} |")
        lines += [
            "",
            f"- {self.points_per_conversation:.1f} points a conversation (paper A: 9.6), "
            f"{self.guardrails_per_conversation:.1f} guardrails",
            f"- {self.words_chosen:.1f} words in chosen, {self.words_rejected:.1f} in rejected replies; the rejected "
            f"one is longer in {self.rejected_longer:.0%}" + (": length tells them apart" if self.length_cue else ""),
            f"- model {self.model}; this run: {self.calls} calls, {self.tokens} tokens; all runs: {cost}",
            f"- prompts: {', '.join(self.prompts)}",
        ]
        lines += [f"- masked: {kind}, {count}" for kind, count in self.masked.items()]
        lines += [f"- left out: {reason}, {count}" for reason, count in sorted(self.dropped.items())]
        return "\n".join(lines)


def make_card(
    pairs: Sequence[PreferencePair],
    conversations: Sequence[Conversation],
    yields: tuple[Yield, ...],
    dropped: Counter[str],
    masked: Counter[str],
    client: Client,
    prompts: tuple[str, ...],
) -> DataCard:
    """The card of ``pairs``, made from ``conversations`` (those with guardrails)."""
    words = [(len(pair.chosen.split()), len(pair.rejected.split())) for pair in pairs]
    return DataCard(
        model=client.endpoint.model,
        prompts=prompts,
        yields=yields,
        dropped=dict(dropped),
        masked=dict(masked),
        guardrails_per_conversation=fmean([len(each.guardrails) for each in conversations] or [0.0]),
        points_per_conversation=len(pairs) / len(conversations) if conversations else 0.0,
        words_chosen=fmean([chosen for chosen, _ in words] or [0.0]),
        words_rejected=fmean([rejected for _, rejected in words] or [0.0]),
        rejected_longer=fmean([0.5 * ((two > one) + (two >= one)) for one, two in words] or [0.5]),
        calls=client.statistics.calls,
        tokens=client.statistics.usage.total,
        cost=None if client.price is None else client.ledger.known.cost,
        examples=tuple(pairs[:: max(1, len(pairs) // EXAMPLES)][:EXAMPLES]),
    )
