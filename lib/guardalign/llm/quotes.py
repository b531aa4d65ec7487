"""Whether quoted words occur in the text they are attributed to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

TYPOGRAPHY = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "…": "..."})
SPACES = re.compile(r"\s+")


def normal(text: str) -> str:
    """``text`` without incidental differences of copying: letter case, spacing, typographic quotes and dashes."""
    proper = text.encode("utf-8", "replace").decode()
    return SPACES.sub(" ", unicodedata.normalize("NFKC", proper.translate(TYPOGRAPHY))).strip().casefold()


def occurs(quote: str, texts: Sequence[str]) -> bool:
    """Whether ``quote`` occurs in one of ``texts``. Quotation marks and dots around it do not count."""
    plain = quote.strip("\"'. ")
    if plain and any(plain in text for text in texts):
        return True  # nearly always, and far cheaper
    wanted = normal(quote).strip("\"' ")
    trimmed = wanted.strip(".").strip()
    if not trimmed and not wanted:
        return False
    return any((trimmed or wanted) in normal(text) for text in texts)
