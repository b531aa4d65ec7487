"""OpenAI's TL;DR summaries of forum posts (Stiennon et al. 2020): comparisons of two summaries, and posts to fine-tune.

The hub's ``openai/summarize_from_feedback`` needs a loading script; the names below hold the same data as Parquet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardalign.data.examples import Example
from guardalign.data.tasks.rows import EMPTY, Loaded, pair, read, sorted_out, texts
from guardalign.errors import InputError

COMPARISONS_HUB = "CarperAI/openai_summarize_comparisons"
POSTS_HUB = "CarperAI/openai_summarize_tldr"
CUE = "TL;DR:"
UNDECIDED = "no preferred summary"


def load_tldr(source: str = COMPARISONS_HUB, split: str = "train", limit: int | None = None) -> Loaded:
    """Comparisons as examples; the prompt ends with ``TL;DR:``.

    Three published forms are read: ``prompt``, ``chosen``, ``rejected``; OpenAI's own rows (``info``, ``summaries``,
    ``choice``); and a model's summary against the human one (``query``, ``postprocessed_response``,
    ``reference_responses``, ``preferred``). Rows whose preference is not known are set aside.
    """
    return sorted_out((_comparison(row, n) for n, row in enumerate(read(source, split))), limit)


def load_tldr_posts(source: str = POSTS_HUB, split: str = "train", limit: int | None = None) -> Loaded:
    """Posts with the summary their author wrote, for fine-tuning.

    Rows of ``prompt`` and ``label`` or ``completion``, or of ``query`` and ``reference_responses``.
    """
    return sorted_out((_post(row, n) for n, row in enumerate(read(source, split))), limit)


def _comparison(row: Mapping[str, Any], number: int) -> Example | str:
    name = f"tldr-{number}"
    if "summaries" in row:
        replies = [str(each["text"] or "") for each in row["summaries"]]
        if row.get("choice") not in (0, 1) or len(replies) != 2:
            return UNDECIDED
        return pair(name, openai_prompt(row["info"]), replies[row["choice"]], replies[1 - row["choice"]])
    if "postprocessed_response" in row:
        query, ours, reference = texts(dict(row), number, "query", "postprocessed_response", "reference_responses")
        if row.get("preferred") not in ("ours", "reference"):
            return UNDECIDED
        replies = [ours, reference] if row["preferred"] == "ours" else [reference, ours]
        return pair(name, _with_cue(query), *replies)
    prompt, chosen, rejected = texts(dict(row), number, "prompt", "chosen", "rejected")
    return pair(name, _with_cue(prompt), _without_cue(chosen), _without_cue(rejected))


def _post(row: Mapping[str, Any], number: int) -> Example | str:
    post = "query" if "query" in row else "prompt"
    reply = next((name for name in ("completion", "reference_responses") if name in row), "label")
    prompt, summary = texts(dict(row), number, post, reply)
    summary = _without_cue(summary).strip()
    if not summary:
        return EMPTY
    name = f"tldr-post-{number}"
    return Example(id=name, conversation_id=name, prompt=_with_cue(prompt), chosen=f" {summary}")


def openai_prompt(info: Mapping[str, Any]) -> str:
    """A post as OpenAI lays it out: subreddit, title, text, and the cue for the summary."""
    if "post" not in info:
        raise InputError(f"a TL;DR row without a post: {', '.join(map(str, info))}")
    subreddit, title = info.get("subreddit") or "", info.get("title") or ""
    return f"SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {info['post']}\n\n{CUE}"


def _with_cue(prompt: str) -> str:
    text = prompt.rstrip()
    return text if text.endswith(CUE) else f"{text}\n\n{CUE}"


def _without_cue(summary: str) -> str:
    return summary.strip().removeprefix(CUE)
