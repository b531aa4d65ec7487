"""Which prompts share a trunk: the layout of shared decoding, planned from token ids alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from guardalign.tree.prefix_tree import common_prefix


@dataclass(frozen=True)
class Branch:
    """Point ``index`` (position in the list of prompts): the trunk's first ``shared`` tokens, then ``tail``."""

    index: int
    shared: int
    tail: tuple[int, ...]


@dataclass(frozen=True)
class Trunk:
    """Tokens that are computed once, and the points that branch off them."""

    tokens: tuple[int, ...]
    branches: tuple[Branch, ...]


def plan_trunks(prompts: Sequence[Sequence[int]], groups: Sequence[Hashable]) -> list[Trunk]:
    """Gather prompts (non-empty token ids) of equal group under trunks; a prompt joins where it shares half its tokens.

    Every branch keeps a tail of at least one token, whose logits start the reply. Trunks come longest first, so that
    what needs most memory runs first.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    trunks, arrays = [], [np.asarray(prompt) for prompt in prompts]
    for indices in members.values():
        waiting = sorted(indices, key=lambda index: -len(prompts[index]))
        while waiting:
            longest = arrays[waiting[0]]
            shared = {i: min(common_prefix(arrays[i], longest), len(prompts[i]) - 1) for i in waiting}
            joined = [i for i in waiting if i == waiting[0] or 2 * shared[i] >= len(prompts[i])]
            branches = tuple(Branch(i, shared[i], tuple(prompts[i][shared[i] :])) for i in joined)
            tokens = prompts[joined[0]][: max(branch.shared for branch in branches)]
            trunks.append(Trunk(tuple(tokens), branches))
            waiting = [i for i in waiting if i not in joined]
    return sorted(trunks, key=lambda trunk: -len(trunk.tokens))


def batched_trunks(trunks: Sequence[Trunk], size: int) -> Iterator[list[Trunk]]:
    """Consecutive trunks with ``size`` branches together at most; a trunk with more than that is a batch of its own."""
    batch: list[Trunk] = []
    for trunk in trunks:
        if batch and sum(len(one.branches) for one in batch) + len(trunk.branches) > size:
            yield batch
            batch = []
        batch.append(trunk)
    if batch:
        yield batch
