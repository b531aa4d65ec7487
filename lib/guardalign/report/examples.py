"""Example replies as one compact, compressed block that the page's script unpacks: every text once, then numbers.

A row of ``examples`` is one prompt of one comparison; it points into the lists of prompts, texts and assessments.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

from guardalign.data.conversations import PreferencePair
from guardalign.judging.guardrail_kinds import guardrail_kind
from guardalign.judging.verdicts import BINS, DIMENSIONS, ReplyAssessment, Verdict
from guardalign.report.results import Results

STATUSES = ("complied", "broken", "not applicable")


class Pool:
    """Distinct values in the order they first came, each known by its place."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        key = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def payload(results: Results, most: int = 5_000) -> dict[str, Any]:
    """All that the page's example browser shows, for at most ``most`` prompts, evenly from every comparison."""
    texts, prompts, assessments, kinds = Pool(), Pool(), Pool(), Pool()
    groups = _by_prompt(v for v in results.first_verdicts if v.judge == results.judge)
    comparisons = list(dict.fromkeys((key[0], key[1]) for key in groups))
    examples, asked = [], dict[str, int]()
    for key in _thinned(list(groups), most):
        arm_1, arm_2, pair_id = key
        pair = results.pairs.get(pair_id)
        said = groups[key]
        valid = next((verdict for verdict in said if verdict.invalid is None), None)
        if pair is None:
            continue
        if pair_id not in asked:
            asked[pair_id] = prompts.place(_prompt(pair, texts, kinds))
        examples.append([
            comparisons.index((arm_1, arm_2)),
            asked[pair_id],
            [texts.place(reply_text(results, arm, pair_id)) for arm in (arm_1, arm_2)],
            [BINS.index(valid.dimensions[name].bin) for name in DIMENSIONS] if valid else [],
            [assessments.place(_assessment(a, texts)) for a in (valid.reply_1, valid.reply_2) if a] if valid else [],
            int(_flips(said)),
            "" if valid else said[0].invalid,
        ])  # fmt: skip
    return {
        "comparisons": [list(pair) for pair in comparisons],
        "dimensions": list(DIMENSIONS),
        "bins": list(BINS),
        "statuses": list(STATUSES),
        "prompts": prompts.values,
        "texts": texts.values,
        "assessments": assessments.values,
        "kinds": kinds.values,
        "examples": examples,
        "total": len(groups),
    }


def reply_text(results: Results, arm: str, pair_id: str) -> str:
    """What ``arm`` answered; the data's own two replies for the arms "chosen" and "rejected"; "" where unknown."""
    pair = results.pairs.get(pair_id)
    if arm not in results.arms and pair is not None:
        return {"chosen": pair.chosen, "rejected": pair.rejected}.get(arm, "")
    return results.texts.get((arm, pair_id), "")


def packed(block: dict[str, Any]) -> str:
    """JSON, deflated, base64: letters that cannot end a script element, whatever the texts hold."""
    text = json.dumps(block, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _by_prompt(verdicts: Iterable[Verdict]) -> dict[tuple[str, str, str], list[Verdict]]:
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.arm_1, verdict.arm_2, verdict.pair_id), []).append(verdict)
    return groups


def _thinned(keys: list[tuple[str, str, str]], most: int) -> list[tuple[str, str, str]]:
    if len(keys) <= most:
        return keys
    step = len(keys) / most
    return [keys[int(place * step)] for place in range(most)]


def _prompt(pair: PreferencePair, texts: Pool, kinds: Pool) -> list[Any]:
    return [
        pair.id,
        pair.domain,
        [texts.place(text) for text in pair.guardrails],
        [kinds.place(guardrail_kind(text)) for text in pair.guardrails],
        [[int(turn.role == "agent"), texts.place(turn.text)] for turn in pair.turns],
        texts.place(pair.chosen),
    ]


def _assessment(said: ReplyAssessment, texts: Pool) -> list[Any]:
    return [
        [
            [int(part.acceptable), texts.place(part.reason), [texts.place(quote) for quote in part.quotes]]
            for part in (said.dimension(name) for name in DIMENSIONS)
        ],
        [
            [g.number, STATUSES.index(g.status), texts.place(g.quote), texts.place(g.reason)]
            for g in said.guardrails
        ],
    ]  # fmt: skip


def _flips(said: list[Verdict]) -> bool:
    valid = [verdict for verdict in said if verdict.invalid is None]
    return any(len({verdict.dimensions[name].preference for verdict in valid}) > 1 for name in DIMENSIONS)
