"""What annotation makes, and its data card: how many, how long, what was lost where and why, what it cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from guardalign.data.conversations import Conversation, PreferencePair
from guardalign.llm import Client

EXAMPLES = 3
LENGTH_CUE = 0.15
"""A share of rejected replies longer than the chosen ones this far from a half lets length alone tell them apart."""


@dataclass(frozen=True)
class Annotated:
    """The points, and the conversations they come from (masked, with guardrails and tags).

    ``yields``: for each stage, how many came through it, of how many. ``dropped`` and ``masked`` are counts by reason
    and kind, ``prompts`` the versions of the prompt files, ``client`` the one that asked.
    """

    pairs: list[PreferencePair]
    conversations: list[Conversation]
    yields: dict[str, tuple[int, int]]
    dropped: Counter[str]
    masked: Counter[str]
    prompts: tuple[str, ...]
    client: Client

    @property
    def examples(self) -> list[PreferencePair]:
        """Some of the points, from all parts of the data."""
        return self.pairs[:: max(1, len(self.pairs) // EXAMPLES)][:EXAMPLES]

    def markdown(self) -> str:
        """The card as a page; paper A's own yield (880 conversations, 8,457 points) is shown next to this one's."""
        words = [(len(pair.chosen.split()), len(pair.rejected.split())) for pair in self.pairs] or [(0, 0)]
        chosen, rejected = (fmean(each) for each in zip(*words, strict=True))
        longer = fmean(0.5 * ((two > one) + (two >= one)) for one, two in words)
        rules = fmean([len(each.guardrails) for each in self.conversations] or [0])
        spent = self.client.statistics
        cost = "price not known" if self.client.price is None else f"${self.client.ledger.known.cost:.2f}"
        lines = ["| stage | count | of | yield |", "|---|---|---|---|"]
        for stage, (count, of) in self.yields.items():
            lines.append(f"| {stage} | {count} | {of} | {f'{count / of:.0%}' if of else '-'} |")
        lines += [
            "",
            f"- {len(self.pairs) / max(1, len(self.conversations)):.1f} points a conversation (paper A: 9.6), "
            f"{rules:.1f} guardrails",
            f"- {chosen:.1f} words in chosen, {rejected:.1f} in rejected replies; the rejected one is "
            f"longer in {longer:.0%}" + (": length tells them apart" if abs(longer - 0.5) > LENGTH_CUE else ""),
            f"- model {self.client.endpoint.model}; this run: {spent.calls} calls, {spent.usage.total} tokens; "
            f"all runs: {cost}",
            f"- prompts: {', '.join(self.prompts)}",
        ]
        lines += [f"- masked: {kind}, {count}" for kind, count in self.masked.items()]
        lines += [f"- left out: {reason}, {count}" for reason, count in sorted(self.dropped.items())]
        return "\n".join(lines)
