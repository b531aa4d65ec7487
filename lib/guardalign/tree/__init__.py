"""Sequences that share prefixes, scored by any transformers causal language model with every prefix computed once.

Usable on its own: it imports torch, transformers and numpy, and nothing else of this package. ``docs/tree.md`` adds it
to a training loop; ``guardalign.tree.trl`` is TRL's DPO trainer on it.

    sequences = [TokenSequence(prompt + reply, len(prompt)) for prompt, reply in pairs]   # S token-id lists
    row = tree_row(sequences)                                                             # N distinct prefixes
    scores = TreeScorer(model)(row).policy                                                # (T,) log-probs
    row.sums(scores)                                                                      # (S,) of whole replies
"""

from guardalign.tree.prefix_tree import TokenSequence, TreeError, TreeRow, pack, tree_row
from guardalign.tree.scoring import RowScores, TreeScorer

__all__ = [
    "RowScores",
    "TokenSequence",
    "TreeError",
    "TreeRow",
    "TreeScorer",
    "pack",
    "tree_row",
]
