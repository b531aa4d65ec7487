"""OpenAI's TL;DR summaries of forum posts (Stiennon et al. 2020): comparisons of two summaries.

The hub's ``openai/summarize_from_feedback`` needs a loading script; ``COMPARISONS_HUB`` holds the same data as Parquet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardalign.data.examples import Example
from guardalign.data.tasks.rows import pair, read, texts
from guardalign.errors import InputError

COMPARISONS_HUB = "CarperAI/openai_summarize_comparisons"
CUE = "TL;DR:"


def load_tldr(source: str = COMPARISONS_HUB, split: str = "train") -> list[Example]:
    """Comparisons as examples; the prompt ends with ``TL;DR:``.

    Three published forms are read: ``prompt``, ``chosen``, ``rejected``; OpenAI's own rows (``info``, ``summaries``,
    ``choice``); and a model's summary against the human one (``query``, ``postprocessed_response``,
    ``reference_responses``, ``preferred``). Rows whose preference is not known are left out.
    """
    found = (_comparison(row, number) for number, row in enumerate(read(source, split)))
    return [each for each in found if each]


def _comparison(row: dict[str, Any], number: int) -> Example | None:
    name = f"tldr-{number}"
    if "summaries" in row:
        replies = [str(each["text"] or "") for each in row["summaries"]]
        if row.get("choice") not in (0, 1) or len(replies) != 2:
            return None
        return pair(name, _openai_prompt(row["info"]), replies[row["choice"]], replies[1 - row["choice"]])
    if "postprocessed_response" in row:
        query, ours, reference = texts(row, number, "query", "postprocessed_response", "reference_responses")
        if row.get("preferred") not in ("ours", "reference"):
            return None
        replies = [ours, reference] if row["preferred"] == "ours" else [reference, ours]
        return pair(name, _with_cue(query), *replies)
    prompt, chosen, rejected = texts(row, number, "prompt", "chosen", "rejected")
    return pair(name, _with_cue(prompt), *(each.strip().removeprefix(CUE) for each in (chosen, rejected)))


def _openai_prompt(info: Mapping[str, Any]) -> str:
    """A post as OpenAI lays it out: subreddit, title, text, and the cue for the summary."""
    if "post" not in info:
        raise InputError(f"a TL;DR row without a post: {', '.join(map(str, info))}")
    subreddit, title = info.get("subreddit") or "", info.get("title") or ""
    return f"SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {info['post']}\n\n{CUE}"


def _with_cue(prompt: str) -> str:
    text = prompt.rstrip()
    return text if text.endswith(CUE) else f"{text}\n\n{CUE}"
