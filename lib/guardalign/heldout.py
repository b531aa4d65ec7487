"""Held-out figures without a judge: what each arm's model thinks of the data's own chosen and rejected replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from guardalign import winrates
from guardalign.conversations import PreferencePair
from guardalign.encoding import examples_of
from guardalign.files import RunFolder, fingerprint, read_rows, write_rows, write_text
from guardalign.loading import load_frozen, load_tokenizer, model_fingerprint
from guardalign.sections import Model
from guardalign.training import PairScore, evaluate_pairs


def score_arm(run: RunFolder, arm: str, folder: str, pairs: Sequence[PreferencePair], model: Model) -> list[PairScore]:
    """Log-probs of every pair's two replies under the model in ``folder``; kept in ``scores/<arm>.jsonl``."""
    path = run.root / "scores" / f"{arm}.jsonl"
    mark = path.with_suffix(".made")
    how = (model.max_length, model.overlong, model.precision, model.prompt)
    made = fingerprint(model_fingerprint(folder), *how, list(pairs))
    if path.exists() and mark.exists() and mark.read_text() == made:
        return read_rows(path, PairScore)
    policy, tokenizer = load_frozen(folder, model.precision), load_tokenizer(folder)
    examples = examples_of(pairs, tokenizer if model.prompt == "chat" else None)
    scores = evaluate_pairs(policy, tokenizer, examples, max_length=model.max_length, overlong=model.overlong)
    write_rows(path, scores)
    write_text(mark, made)
    return scores


def table(
    scores: Mapping[str, Sequence[PairScore]],
    starts: Mapping[str, str],
    replicates: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """One row an arm, each figure with its interval (``_low``, ``_high``; conversations are resampled).

    ``nll``: nats a token of the chosen reply, a mean over replies. ``accuracy``: share of pairs whose chosen reply has
    the higher log-prob; ``per_token`` the same for log-probs divided by length. ``gain``: share of pairs whose log-prob
    margin grew over that of the arm it started from (``starts``), NaN for the base; ``chosen_change`` by how many nats
    the chosen reply's log-prob moved meanwhile.
    """
    rows = [
        row
        for arm, own in scores.items()
        for row in _rows(arm, own, {score.id: score for score in scores.get(starts.get(arm, ""), own)})
    ]
    measures = ("nll", "accuracy", "per_token", "gain", "chosen_change")
    frame = pd.DataFrame(rows).assign(seed=0)
    figures = winrates.bootstrap(frame, ["arm"], measures, replicates, seed, level).reset_index()
    changes = [name for name in figures if str(name).startswith(("gain", "chosen_change"))]
    figures.loc[~figures["arm"].isin([arm for arm in starts if starts[arm] in scores]), changes] = float("nan")
    return figures


def _rows(arm: str, own: Sequence[PairScore], before: Mapping[str, PairScore]) -> list[dict[str, object]]:
    rows = []
    for score in own:
        rejected, length = score.rejected or 0.0, score.rejected_tokens or 1
        margin = score.chosen - rejected
        start = before[score.id]
        rows.append({
            "arm": arm,
            "conversation_id": score.conversation_id,
            "nll": -score.chosen / score.chosen_tokens,
            "accuracy": float(margin > 0),
            "per_token": float(score.chosen / score.chosen_tokens > rejected / length),
            "gain": float(margin > start.chosen - (start.rejected or 0.0)),
            "chosen_change": score.chosen - start.chosen,
        })  # fmt: skip
    return rows
