"""Twins of the comparison's three tasks in the embedded world: synthetic prompts and replies, judged by their text.

They have the form of Anthropic's HH, OpenAI's TL;DR and AlpacaEval and none of their content: no number measured here
is a result on those data sets. A pair is two replies drawn independently by a careless writer; the one with the higher
score is chosen, so a chosen reply is better than the other and seldom without fault, as in real data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from guardalign.data.examples import Example
from guardalign.errors import ParameterError
from guardalign.world.twins import dialogue, instructions, summaries
from guardalign.world.twins.opinion import Opinion


@dataclass(frozen=True)
class Twin:
    """A task: ``write_prompt(rng)``, ``write_reply(prompt, rng)``, and ``read(prompt, reply)``, its judge.

    ``like`` names the data set whose form it has, and ``column`` its column in paper B's Table 3.
    """

    name: str
    like: str
    column: str
    write_prompt: Callable[[Random], str]
    write_reply: Callable[[str, Random], str]
    read: Callable[[str, str], Opinion]

    def pair(self, name: str, prompt: str, rng: Random) -> Example:
        """Two replies of different worth to one prompt."""
        while True:
            replies = [self.write_reply(prompt, rng) for _ in range(2)]
            scores = [self.read(prompt, reply).score for reply in replies]
            if scores[0] != scores[1]:
                rejected, chosen = (f" {reply}" for _, reply in sorted(zip(scores, replies, strict=True)))
                return Example(id=name, conversation_id=name, prompt=prompt, chosen=chosen, rejected=rejected)

    def splits(self, sizes: Mapping[str, int], seed: int) -> dict[str, list[Example]]:
        """Pairs by split; no prompt is in two of them, nor twice in one."""
        rng = Random(f"{self.name}/{seed}")
        seen: set[str] = set()
        pairs: dict[str, list[Example]] = {}
        for split, size in sizes.items():
            pairs[split] = []
            while len(pairs[split]) < size:
                prompt = self.write_prompt(rng)
                if prompt not in seen:
                    seen.add(prompt)
                    pairs[split].append(self.pair(f"{self.name}-{split}-{len(pairs[split])}", prompt, rng))
        return pairs


TWINS = {
    name: Twin(name, like, column, task.write_prompt, task.write_reply, task.read)
    for name, like, column, task in (
        ("dialogue", "Anthropic HH", "hh", dialogue),
        ("summaries", "OpenAI TL;DR", "tldr", summaries),
        ("instructions", "AlpacaEval 2.0", "alpaca_eval", instructions),
    )
}


def twin(name: str) -> Twin:
    """A twin by its name. Raises ParameterError if the name is unknown."""
    if name not in TWINS:
        raise ParameterError(f"no task {name!r}: one of {', '.join(TWINS)}")
    return TWINS[name]


__all__ = ["TWINS", "Opinion", "Twin", "twin"]
