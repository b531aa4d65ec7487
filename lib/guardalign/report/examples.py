"""The browser of judged replies: in the report, and in an interactive notebook.

>>> from guardalign.report import examples
>>> examples.browse(results)      # ``report.load(run.root)``; the browser in JupyterLab, a table elsewhere

What it shows is one compact, compressed block that the page's script unpacks: every text once, then numbers. A row of
``examples`` is one prompt of one comparison; it points into the lists of prompts, texts and assessments.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable
from html import escape
from typing import Any

import pandas as pd

from guardalign.data.conversations import PreferencePair
from guardalign.judging.guardrail_kinds import guardrail_kind
from guardalign.judging.verdicts import BINS, DIMENSIONS, ReplyAssessment, Verdict
from guardalign.report import html
from guardalign.report.figures.looks import plain
from guardalign.report.results import Results

STATUSES = ("complied", "broken", "not applicable", "unknown")


def browse(results: Results, rows: int = 12) -> Any:
    """The browser over the main judge's verdicts (first seed) for display, or a table of ``rows`` for each comparison.

    The browser is shown in a kernel that a Jupyter server started. Under papermill and nbconvert there is no one to
    click, and the table keeps the saved notebook small.
    """
    if "JPY_SESSION_NAME" not in os.environ:
        return table(results, rows)
    from IPython.display import HTML

    block, seeds = payload(results), len(results.verdicts)
    page = html.render("browser.html", "examples.js", seeds=seeds, block=block, data=packed(block))
    style = "width:100%;height:46rem;border:1px solid #8886"
    return HTML(
        f'<iframe sandbox="allow-scripts" title="Judged replies" style="{style}" srcdoc="{escape(page)}"></iframe>'
    )


def table(results: Results, rows: int = 12) -> pd.DataFrame:
    """The first ``rows`` prompts of each comparison: bins and replies."""
    table = pd.DataFrame([
        {"1": v.arm_1, "2": v.arm_2, "prompt": v.pair_id}
        | {name: v.dimensions[name].bin if v.invalid is None else "invalid" for name in DIMENSIONS}
        | {"reply 1": reply_text(results, v.arm_1, v.pair_id), "reply 2": reply_text(results, v.arm_2, v.pair_id)}
        for v, *_ in _by_prompt(results).values()
    ])  # fmt: skip
    return table.groupby(["1", "2"], sort=False).head(rows).reset_index(drop=True)


def answered(results: Results, arms: Iterable[str], most: int = 30) -> list[dict[str, Any]]:
    """Prompts of the test split, taken evenly, with the replies of those ``arms`` that have any."""
    prompts, names = {pair_id for _, pair_id in results.texts}, [arm for arm in arms if arm in results.arms]
    pairs = [pair for pair in results.pairs.values() if pair.split == "test" and pair.id in prompts]
    return [
        {"pair": pair, "replies": [(arm, results.texts.get((arm, pair.id), "")) for arm in names]}
        for pair in pairs[:: max(1, -(-len(pairs) // most))]
    ]


class Indexed(dict[Any, int]):
    """Distinct values and their indices, in order of first appearance."""

    def __missing__(self, value: Any) -> int:
        return self.setdefault(value, len(self))


def payload(results: Results, most: int = 5_000) -> dict[str, Any]:
    """All that the page's example browser shows, for at most ``most`` prompts, evenly from every comparison."""
    texts, prompts, assessments, kinds = Indexed(), Indexed(), Indexed(), Indexed()
    groups = _by_prompt(results)
    comparisons = list(dict.fromkeys((arm_1, arm_2) for arm_1, arm_2, _ in groups))
    examples = []
    step = max(1.0, len(groups) / most)
    keys = list(groups)
    for arm_1, arm_2, pair_id in (keys[int(at * step)] for at in range(min(len(keys), most))):
        pair, verdicts = results.pairs.get(pair_id), groups[arm_1, arm_2, pair_id]
        if pair is None:
            continue
        valid = next((verdict for verdict in verdicts if verdict.invalid is None), None)
        examples.append([
            comparisons.index((arm_1, arm_2)),
            prompts[_prompt(pair, texts, kinds)],
            [texts[reply_text(results, arm, pair_id)] for arm in (arm_1, arm_2)],
            [BINS.index(valid.dimensions[name].bin) for name in DIMENSIONS] if valid else [],
            [assessments[_assessment(a, texts)] for a in (valid.reply_1, valid.reply_2) if a] if valid else [],
            int(_flips(verdicts)),
            "" if valid else verdicts[0].invalid,
        ])  # fmt: skip
    return {
        "comparisons": comparisons,
        "names": {arm: plain(arm) for pair in comparisons for arm in pair},
        "dimensions": DIMENSIONS,
        "bins": BINS,
        "statuses": STATUSES,
        "prompts": list(prompts),
        "texts": list(texts),
        "assessments": list(assessments),
        "kinds": list(kinds),
        "examples": examples,
        "total": len(groups),
    }


def reply_text(results: Results, arm: str, pair_id: str) -> str:
    """The reply of ``arm``; the data's own two replies for the arms "chosen" and "rejected"; "" if unknown."""
    pair = results.pairs.get(pair_id)
    if arm not in results.arms and pair is not None:
        return {"chosen": pair.chosen, "rejected": pair.rejected}.get(arm, "")
    return results.texts.get((arm, pair_id), "")


def packed(block: dict[str, Any]) -> str:
    """JSON, deflated, base64: letters that cannot end a script element, regardless of the texts."""
    text = json.dumps(block, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _by_prompt(results: Results) -> dict[tuple[str, str, str], list[Verdict]]:
    """The main judge's verdicts with the first seed, by comparison and prompt."""
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in results.first_verdicts:
        if verdict.judge == results.judge:
            groups.setdefault((verdict.arm_1, verdict.arm_2, verdict.pair_id), []).append(verdict)
    return groups


def _prompt(pair: PreferencePair, texts: Indexed, kinds: Indexed) -> tuple[Any, ...]:
    return (
        pair.id,
        pair.domain,
        tuple(texts[text] for text in pair.guardrails),
        tuple(kinds[guardrail_kind(text)] for text in pair.guardrails),
        tuple((int(turn.role == "agent"), texts[turn.text]) for turn in pair.turns),
        texts[pair.chosen],
    )


def _assessment(assessment: ReplyAssessment, texts: Indexed) -> tuple[Any, ...]:
    dimensions = [assessment.dimension(name) for name in DIMENSIONS]
    return (
        tuple((int(d.acceptable), texts[d.reason], tuple(texts[quote] for quote in d.quotes)) for d in dimensions),
        tuple((g.number, STATUSES.index(g.status), texts[g.quote], texts[g.reason]) for g in assessment.guardrails),
    )


def _flips(verdicts: list[Verdict]) -> bool:
    valid = [verdict for verdict in verdicts if verdict.invalid is None]
    return any(len({verdict.dimensions[name].preference for verdict in valid}) > 1 for name in DIMENSIONS)
