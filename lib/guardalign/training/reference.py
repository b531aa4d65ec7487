"""Log-probabilities of a frozen model, computed once a sequence and kept on disk.

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

    def __contains__(self, key: bytes) -> bool:
        return key in self._known

    def get(self, key: bytes, default: np.ndarray) -> np.ndarray:
        return self._known.get(key, default)

    def add(self, entries: dict[bytes, np.ndarray]) -> None:
        if not entries:
            return
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


def token_logprobs(
    store: LogprobStore,
    sequences: Sequence[TokenSequence],
    load_scorer: Callable[[], TreeScorer],
    budget: int,
    share: tuple[int, int] = (0, 1),
    each_row: Callable[[int, int], None] = lambda done, total: None,
) -> list[np.ndarray]:
    """Completion tokens' log-probs, (completion_length,) a sequence; the model is loaded only if some are unknown.

    ``share`` (index, count) computes only every count-th row of the unknown, for processes that divide the work; what
    the others computed then comes from a store opened afterwards, and missing ones come back empty.
    """
    keys = [sequence_key(sequence) for sequence in sequences]
    unknown = {key: sequence for key, sequence in zip(keys, sequences, strict=True) if key not in store}
    if unknown:
        todo, todo_keys = list(unknown.values()), list(unknown)
        rows = pack(todo, [[i] for i in range(len(todo))], budget)[share[0] :: share[1]]
        scorer = load_scorer() if rows else None
        for number, members in enumerate(rows):
            assert scorer is not None
            store.add(_score(scorer, todo, todo_keys, members))
            each_row(number + 1, len(rows))
    empty = np.zeros(0, dtype=np.float32)
    return [store.get(key, empty) for key in keys]


def _score(
    scorer: TreeScorer, sequences: Sequence[TokenSequence], keys: Sequence[bytes], members: Sequence[int]
) -> dict[bytes, np.ndarray]:
    with torch.no_grad():
        values = scorer(tree_row(sequences, members)).policy.cpu().numpy()
    ends = np.cumsum([sequences[i].completion_length for i in members])
    return dict(zip((keys[i] for i in members), np.split(values, ends[:-1]), strict=True))
