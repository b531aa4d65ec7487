"""Log-probabilities of a frozen model, computed once per sequence and kept on disk.

An entry's key is the content of the weights (adapter included), the precision, and the tokens themselves (EOS, template
and truncation show there): a changed model or tokenizer never uses a stale entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from guardalign.files import fingerprint, replacing
from guardalign.tree.prefix_tree import TokenSequence, pack, tree_row
from guardalign.tree.scoring import TreeScorer

_KEY_BYTES = 16


def sequence_key(sequence: TokenSequence) -> bytes:
    """16-byte digest of the tokens and the position where the completion starts."""
    start = np.int64(sequence.start).tobytes()
    return hashlib.blake2b(start + sequence.tokens.tobytes(), digest_size=_KEY_BYTES).digest()


class LogprobStore:
    """Token log-probs (float32) by sequence, in shards that are only ever added: ``folder/<shard>.safetensors``.

    A shard is named by its content. A damaged one is logged, ignored and computed again.
    """

    def __init__(self, folder: Path, log: Callable[[str], object] = print) -> None:
        self.folder = folder
        self._known: dict[bytes, np.ndarray] = {}
        for shard in sorted(folder.glob("*.safetensors")):
            self._known.update(_read(shard, log))

    def of(self, sequences: Sequence[TokenSequence]) -> list[np.ndarray]:
        """Completion tokens' log-probs, (completion_length,) each. Raises KeyError for a sequence without any."""
        return [self._known[sequence_key(sequence)] for sequence in sequences]

    def fill(
        self,
        sequences: Sequence[TokenSequence],
        load_scorer: Callable[[], TreeScorer],
        row_tokens: int,
        share: tuple[int, int] = (0, 1),
        each_row: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Compute the log-probs that are missing; the model is loaded only if some are.

        ``share`` (index, count) computes only every count-th row, for processes that divide the work: afterwards, a
        store opened anew has those of all.
        """
        by_key = {sequence_key(sequence): sequence for sequence in sequences}
        missing = {key: sequence for key, sequence in by_key.items() if key not in self._known}
        keys, todo = list(missing), list(missing.values())
        rows = pack(todo, [[i] for i in range(len(todo))], row_tokens)[share[0] :: share[1]]
        scorer = load_scorer() if rows else None
        for number, members in enumerate(rows, 1):
            assert scorer is not None
            with torch.no_grad():
                values = scorer(tree_row(todo, members)).policy.cpu().numpy()
            ends = np.cumsum([todo[i].completion_length for i in members])
            self._add(dict(zip((keys[i] for i in members), np.split(values, ends[:-1]), strict=True)))
            each_row(number, len(rows))

    def _add(self, entries: dict[bytes, np.ndarray]) -> None:
        self._known.update(entries)
        keys = np.frombuffer(b"".join(entries), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        lengths = np.array([len(values) for values in entries.values()], dtype=np.int64)
        values = np.concatenate(list(entries.values())).astype(np.float32)
        tensors: dict[str, np.ndarray] = {"keys": keys.copy(), "lengths": lengths, "values": values}
        with replacing(self.folder / f"{_content(tensors)}.safetensors") as part:
            save_file(tensors, part)


def _content(tensors: dict[str, np.ndarray]) -> str:
    return hashlib.blake2b(b"".join(tensors[name].tobytes() for name in sorted(tensors)), digest_size=8).hexdigest()


def _read(shard: Path, log: Callable[[str], object]) -> dict[bytes, np.ndarray]:
    try:
        tensors = load_file(shard)
        whole = _content(tensors) == shard.stem
    except FileNotFoundError:  # another process found it damaged
        return {}
    except (OSError, SafetensorError):
        whole = False
    if not whole:
        log(f"WARNING: {shard} is damaged: recomputing its log-probs")
        shard.unlink(missing_ok=True)
        return {}
    ends = tensors["lengths"].cumsum()
    pieces = np.split(tensors["values"], ends[:-1])
    return {key.tobytes(): piece for key, piece in zip(tensors["keys"], pieces, strict=True)}


def store_of(cache: Path, model: str, precision: str, log: Callable[[str], object] = print) -> LogprobStore:
    """The store of a model, by ``loading.model_fingerprint`` and precision."""
    return LogprobStore(cache / fingerprint(model, precision), log)
