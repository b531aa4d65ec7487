"""Sentence embeddings of prompts for RPO, kept on disk: all-MiniLM-L6-v2 where it can be loaded, TF-IDF otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from guardalign.files import fingerprint, intact, replacing, vouch

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def embed(prompts: Sequence[str], cache: Path) -> np.ndarray:
    """Unit-length embeddings (n, d), float32, of the prompts, in their order."""
    encoder = _sentence_encoder()
    name = "minilm" if encoder is not None else "tfidf"
    path = cache / f"{name}-{fingerprint(list(prompts))}.npy"
    if path.exists() and intact(path):
        return np.load(path)
    if encoder is not None:
        vectors = encoder.encode(list(prompts), normalize_embeddings=True, show_progress_bar=False)
    else:
        vectors = tfidf(prompts)
    with replacing(path) as part, part.open("wb") as stream:
        np.save(stream, vectors.astype(np.float32))
    vouch(path)
    return np.load(path)


def tfidf(prompts: Sequence[str]) -> np.ndarray:
    """TF-IDF vectors (n, d), unit length, over at most 4096 words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(max_features=4096, token_pattern=r"(?u)\b\w+\b").fit_transform(prompts).toarray()


def _sentence_encoder():  # type: ignore[no-untyped-def]
    """The encoder, from the local cache of the hub alone; None if it or the library is unavailable."""
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(ENCODER, local_files_only=True)
    except (ImportError, OSError, ValueError):
        return None
