"""Held-out figures without a judge: each arm's log-probs of the data's own chosen and rejected replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from guardalign import stats
from guardalign.config.sections import Model
from guardalign.data.examples import Prompt
from guardalign.files import RunFolder, fingerprint, intact, read_rows, vouch, write_rows, write_text
from guardalign.models.encoding import examples_of
from guardalign.models.loading import load_frozen, load_tokenizer, model_fingerprint
from guardalign.stats.inference import Bounds
from guardalign.training import PairScore, completion_logprobs, evaluate_pairs
from guardalign.tree import TokenSequence

FIGURES = {"nll": stats.UNBOUNDED, "accuracy": stats.SHARE, "per_token": stats.SHARE}
CHANGES = {"lead": stats.DIFFERENCE, "gain": stats.SHARE, "chosen_change": stats.UNBOUNDED}
ENDS = ("", "_low", "_high")


def score_arm(
    run: RunFolder, arm: str, folder: str, pairs: Sequence[Prompt], model: Model, restore: Callable[[], object]
) -> list[PairScore]:
    """Log-probs of every pair's two replies under the model in ``folder``; kept in ``scores/<arm>.jsonl``.

    ``restore`` is called before the model is loaded, and puts its weights back if they were dropped.
    """
    path = run.root / "scores" / f"{arm}.jsonl"
    fingerprint_path = path.with_suffix(".made")
    current = fingerprint(model_fingerprint(folder), model.precision, model.prompt, list(pairs))
    if (
        path.exists()
        and intact(path)
        and fingerprint_path.exists()
        and fingerprint_path.read_text(errors="replace") == current
    ):
        return read_rows(path, PairScore)
    restore()
    policy, tokenizer = load_frozen(folder, model.precision), load_tokenizer(folder)
    examples = examples_of(pairs, tokenizer if model.prompt == "chat" else None)
    scores = evaluate_pairs(policy, tokenizer, examples, max_length=model.max_length)
    fingerprint_path.unlink(missing_ok=True)  # a fingerprint is never next to other scores
    write_rows(path, scores)
    write_text(fingerprint_path, current)
    return scores


def token_logps(
    path: Path, folder: str, sequences: Sequence[TokenSequence], model: Model, restore: Callable[[], object]
) -> list[Tensor]:
    """Log-probs (nats) of the replies' tokens under the model in ``folder``, (completion_length,) each; kept in
    ``path``. ``restore`` as in ``score_arm``."""
    asked = [(each.tokens.tolist(), each.start) for each in sequences]
    current = fingerprint(model_fingerprint(folder), model.precision, asked)
    known = path.exists() and intact(path)
    if known and (kept := json.loads(path.read_text(encoding="utf-8")))["made"] == current:
        return [torch.tensor(each) for each in kept["logps"]]
    restore()
    found = completion_logprobs(load_frozen(folder, model.precision), sequences)
    write_text(path, json.dumps({"made": current, "logps": [each.tolist() for each in found]}) + "\n")
    vouch(path)
    return found


def stored(folder: Path) -> dict[str, list[PairScore]]:
    """The scores that a run (or one of its seeds) keeps, by arm."""
    return {path.stem: read_rows(path, PairScore) for path in sorted((folder / "scores").glob("*.jsonl"))}


def rows(scores: Mapping[str, Sequence[PairScore]], starts: Mapping[str, str], seed: int = 0) -> pd.DataFrame:
    """One row per arm and pair; ``starts`` names the arm that each was trained from, ``seed`` the training run."""
    found = []
    for arm, arm_scores in scores.items():
        before = {score.id: score for score in scores.get(starts.get(arm, ""), ())}
        for score in arm_scores:
            start = before[score.id] if before else score
            rejected = score.rejected or 0.0
            margin, start_margin = score.chosen - rejected, start.chosen - (start.rejected or 0.0)
            found.append({
                "arm": arm,
                "conversation_id": score.conversation_id,
                "started": bool(before),
                "nll": -score.chosen / score.chosen_tokens,
                "accuracy": float(margin > 0),
                "per_token": float(score.chosen / score.chosen_tokens > rejected / (score.rejected_tokens or 1)),
                "lead": float(margin > 0) - float(start_margin > 0),
                "gain": float(margin > start_margin),
                "chosen_change": score.chosen - start.chosen,
            })  # fmt: skip
    return pd.DataFrame(found).assign(seed=seed)


def table(
    pairs: pd.DataFrame, level: float = 0.95, by: Sequence[str] = ("arm",), more: Mapping[str, Bounds] | None = None
) -> pd.DataFrame:
    """One row per arm (or ``by``), each figure with its interval (``_low``, ``_high``), from ``rows`` of one or several
    seeds; ``more`` columns of ``pairs``, with the bounds of their values, are added.

    ``nll``: nats per token of the chosen reply, a mean over replies. ``accuracy``: share of pairs where the chosen
    reply has the higher log-prob; ``per_token`` the same for log-probs divided by length. Against the arm it started
    from (NaN without scores): ``lead``, the difference in accuracy; ``gain``, the share of pairs whose
    log-prob margin grew; ``chosen_change``, by how many nats the chosen reply's log-prob moved.
    """
    known = stats.means(pairs, by, FIGURES | dict(more or {}), level)
    later = pairs[pairs["started"]]
    if later.empty:
        return known.assign(**{f"{name}{end}": float("nan") for name in CHANGES for end in ENDS})
    changed = stats.means(later, by, CHANGES, level)
    return known.merge(changed[[*by, *(f"{name}{end}" for name in CHANGES for end in ENDS)]], how="left")
