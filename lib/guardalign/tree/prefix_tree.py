"""Token sequences that share prefixes, packed so that every distinct prefix is computed once.

Sequences become a trie of token ids, written out depth first: a row of nodes in which a node's ancestors all come
before it. In that order node k is an ancestor of (or is) node q exactly when ``k <= q < end[k]``, so one integer per
node describes the whole attention mask, and ``depth`` is the position id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


class TreeError(ValueError):
    """Sequences or a model that a prefix tree cannot serve; the message is for the person who passed them."""


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """Token ids (int64, (n,); a list will do) of prompt and completion, which starts at ``start`` (1 <= start < n).

    Raises ``TreeError`` for any other ``start``.
    """

    tokens: np.ndarray
    start: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", np.asarray(self.tokens, dtype=np.int64))
        if not 1 <= self.start < len(self.tokens):
            raise TreeError(
                f"a completion needs at least one token and a token before it: it starts at {self.start} "
                f"in a sequence of {len(self.tokens)}"
            )

    @property
    def completion_length(self) -> int:
        return len(self.tokens) - self.start

    @property
    def order(self) -> bytes:
        """Sorts sequences so that shared prefixes are adjacent."""
        return self.tokens.astype(">u4").tobytes()


@dataclass(frozen=True)
class TreeRow:
    """One packed row of N nodes. All index tensors are int64.

    ``tokens``, ``depth``, ``end``: (N,). ``predictors`` (P,): the nodes whose next-token distribution is needed.
    ``edge_predictor``, ``edge_token`` (E,): for each distinct completion token, the row of ``predictors`` that
    predicts it and its id. ``score_edge``, ``score_sequence`` (T,): for every completion token of every sequence, in
    the order of ``sequences``, its edge and the index of its sequence within the row. ``sequences``: which of the
    packed sequences are in this row. ``logical_tokens``: number of tokens of the same sequences, unshared.
    """

    tokens: Tensor
    depth: Tensor
    end: Tensor
    predictors: Tensor
    edge_predictor: Tensor
    edge_token: Tensor
    score_edge: Tensor
    score_sequence: Tensor
    sequences: tuple[int, ...]
    logical_tokens: int

    @property
    def unique_tokens(self) -> int:
        return len(self.tokens)

    def sums(self, scores: Tensor) -> Tensor:
        """Scores of the completion tokens (T,) added up for each of the row's sequences, (S,)."""
        return scores.new_zeros(len(self.sequences)).index_add(0, self.score_sequence.to(scores.device), scores)

    def padded(self, grain: int) -> TreeRow:
        """The same row with nodes and predictors filled up to a multiple of ``grain``; the added ones are never used.

        Each added node is a tree of its own at the end: it attends only to itself, and no other node attends to it.
        """
        size = len(self.tokens)
        spare = torch.arange(size, size + -size % grain)
        nothing = torch.zeros_like(spare)
        more = self.predictors.new_zeros(-len(self.predictors) % grain)
        return replace(
            self,
            tokens=torch.cat([self.tokens, nothing]),
            depth=torch.cat([self.depth, nothing]),
            end=torch.cat([self.end, spare + 1]),
            predictors=torch.cat([self.predictors, more]),
        )


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """How many leading tokens two sequences share."""
    n = min(len(a), len(b))
    differ = a[:n] != b[:n]
    first = int(differ.argmax()) if n else 0
    return first if n and differ[first] else n


def tree_row(sequences: Sequence[TokenSequence], indices: Sequence[int] | None = None) -> TreeRow:
    """Pack the sequences (of ``indices``, all by default) into one row; duplicates and mutual prefixes are fine."""
    chosen = list(range(len(sequences)) if indices is None else indices)
    ordered = sorted(chosen, key=lambda i: sequences[i].order)
    paths, tails, depths, parents, end = _depth_first(sequences, ordered)
    nodes = np.concatenate([paths[i][sequences[i].start :] for i in chosen])
    parent = np.concatenate(parents)
    tokens = np.concatenate(tails)
    edges, score_edge = np.unique(nodes, return_inverse=True)
    predictors, edge_predictor = np.unique(parent[edges], return_inverse=True)
    lengths = np.array([sequences[i].completion_length for i in chosen])
    as_tensor = torch.from_numpy
    return TreeRow(
        tokens=as_tensor(tokens),
        depth=as_tensor(np.concatenate(depths)),
        end=as_tensor(end),
        predictors=as_tensor(predictors),
        edge_predictor=as_tensor(edge_predictor),
        edge_token=as_tensor(tokens[edges]),
        score_edge=as_tensor(score_edge),
        score_sequence=as_tensor(np.repeat(np.arange(len(chosen)), lengths)),
        sequences=tuple(chosen),
        logical_tokens=sum(len(sequences[i].tokens) for i in chosen),
    )


def _depth_first(
    sequences: Sequence[TokenSequence], ordered: list[int]
) -> tuple[dict[int, np.ndarray], list[np.ndarray], list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Each sequence's path of nodes, and tokens, depths, parents (by tail) and subtree ends of the nodes."""
    paths: dict[int, np.ndarray] = {}
    tails, depths, parents = [], [], []
    end = np.zeros(sum(len(sequences[i].tokens) for i in ordered), dtype=np.int64)
    previous_tokens = path = np.zeros(0, dtype=np.int64)
    size = 0
    for i in ordered:
        tokens = sequences[i].tokens
        shared = common_prefix(previous_tokens, tokens)
        end[path[shared:]] = size
        path = np.concatenate([path[:shared], np.arange(size, size + len(tokens) - shared)])
        paths[i] = path
        tails.append(tokens[shared:])
        depths.append(np.arange(shared, len(tokens)))
        parents.append(np.concatenate([np.array([-1]), path])[shared:-1])
        size += len(tokens) - shared
        previous_tokens = tokens
    end[path] = size
    return paths, tails, depths, parents, end[:size]


def pack(sequences: Sequence[TokenSequence], groups: Sequence[Sequence[int]], budget: int) -> list[list[int]]:
    """Cut groups of sequences (a pair's two, say; never split) into rows of at most ``budget`` distinct tokens.

    Groups with common prefixes go to the same row. Returns each row's groups by their index.
    Raises ``TreeError`` for a group that is too long for a row of its own.
    """
    rows: list[list[int]] = []
    room, previous = 0, list[TokenSequence]()
    for g in sorted(range(len(groups)), key=lambda g: sequences[groups[g][0]].order):
        members = sorted((sequences[i] for i in groups[g]), key=lambda s: s.order)
        tokens = _distinct(members, [])
        if tokens > budget:
            raise TreeError(f"{tokens} distinct tokens do not fit a row's budget of {budget}")
        cost = _distinct(members, previous)
        if not rows or cost > room:
            rows.append([])
            room, cost = budget, tokens
        rows[-1].append(g)
        room -= cost
        previous = members
    return rows


def _distinct(members: list[TokenSequence], placed: list[TokenSequence]) -> int:
    """Tokens that sorted sequences add to a row that holds ``placed`` (at most: what else it holds may share more)."""
    total = 0
    for at, member in enumerate(members):
        beside = [*placed, *members[max(at - 1, 0) : at]]
        total += len(member.tokens) - max((common_prefix(other.tokens, member.tokens) for other in beside), default=0)
    return total
