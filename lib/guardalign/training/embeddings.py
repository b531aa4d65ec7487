"""Sentence embeddings of prompts for RPO: all-MiniLM-L6-v2 where it can be loaded, TF-IDF otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def embed(prompts: Sequence[str]) -> np.ndarray:
    """Unit-length embeddings (n, d), float32, of the prompts, in their order."""
    try:
        from sentence_transformers import SentenceTransformer

        encoder = SentenceTransformer(ENCODER, local_files_only=True)
    except (ImportError, OSError, ValueError):
        return _tfidf(prompts)
    vectors = encoder.encode(list(prompts), normalize_embeddings=True, show_progress_bar=False)
    return vectors.astype(np.float32)


def _tfidf(prompts: Sequence[str]) -> np.ndarray:
    """TF-IDF vectors over at most 4096 words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(max_features=4096, token_pattern=r"(?u)\b\w+\b")
    return words.fit_transform(prompts).toarray().astype(np.float32)
