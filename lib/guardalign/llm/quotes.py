"""Whether quoted words occur in the text they are attributed to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from guardalign.llm.request import proper

TYPOGRAPHY = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "…": "..."})


def normal(text: str) -> str:
    """``text`` without incidental differences of copying: letter case, spacing, typographic quotes and dashes."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", proper(text).translate(TYPOGRAPHY))).strip().casefold()


def occurs(quote: str, texts: Sequence[str]) -> bool:
    """Whether ``quote`` occurs in one of ``texts``. Quotation marks and dots around it do not count."""
    plain = quote.strip("\"'. ")
    if plain and any(plain in text for text in texts):
        return True  # nearly always, and far cheaper
    wanted = normal(quote).strip("\"' ")
    wanted = wanted.strip(".").strip() or wanted
    return bool(wanted) and any(wanted in normal(text) for text in texts)
