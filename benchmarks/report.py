"""How long the report of 5,000 examples takes, how large it is, and how soon it answers in Chromium.

    python benchmarks/report.py

Conversations, replies and verdicts are the embedded world's: the judge reads each pair's chosen and rejected reply
under the paper's arms' names, so texts and reasons have the length and variety of a real run.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests" / "support")]

from guardalign import report  # noqa: E402
from guardalign.config.sections import Conversations, Source  # noqa: E402
from guardalign.data.conversations import PreferencePair, Reply  # noqa: E402
from guardalign.files import write_rows  # noqa: E402
from guardalign.judging.embedded import assess  # noqa: E402
from guardalign.judging.rule_judge import RuleJudge  # noqa: E402
from guardalign.papers import PANELS  # noqa: E402
from guardalign.study.sources import load  # noqa: E402

EXAMPLES = 5_000


def make_run(root: Path) -> int:
    """A run folder with at least EXAMPLES judged prompts over the paper's six comparisons; returns how many."""
    source = Source(kind="world", conversations=Conversations(train=1, feedback=1, test=180, transfer=0))
    pairs = [pair for pair in load(source).pairs if pair.split == "test"][: -(-EXAMPLES // len(PANELS))]
    judge = RuleJudge("embedded", assess)
    write_rows(root / "data" / "pairs.jsonl", pairs)
    for arm_1, arm_2 in PANELS.values():
        replies = {arm: _replies(pairs, arm) for arm in (arm_1, arm_2)}
        items = [
            (pair, one.text, two.text) for pair, one, two in zip(pairs, replies[arm_1], replies[arm_2], strict=True)
        ]
        verdicts = judge.compare(items, arm_1, arm_2)
        write_rows(root / "verdicts" / f"{arm_1}-vs-{arm_2}.jsonl", verdicts)
        for arm, said in replies.items():
            write_rows(root / "replies" / f"{arm}.jsonl", said)
    return len(pairs) * len(PANELS)


def _replies(pairs: list[PreferencePair], arm: str) -> list[Reply]:
    offset = sum(map(ord, arm))
    return [
        Reply(
            pair_id=pair.id, conversation_id=pair.conversation_id, arm=arm, tokens=30,
            text=(pair.chosen if (place * 7 + offset) % 3 else pair.rejected) + f" [{arm} {place}]",
        )
        for place, pair in enumerate(pairs)
    ]  # fmt: skip


def interactive(page: Path) -> tuple[float, float]:
    """Seconds from opening the page to its filters working, and of one search over all examples; medians of three."""
    from browser import chromium, wait

    opened, searched = [], []
    with chromium() as driver:
        for _ in range(3):
            driver.get("about:blank")
            start = time.perf_counter()
            driver.get(page.as_uri())
            wait(driver, lambda d: d.find_element("tag name", "html").get_attribute("data-ready") == "yes")
            opened.append(time.perf_counter() - start)
            start = time.perf_counter()
            driver.execute_script(
                "const s = document.getElementById('f-search'); s.value = 'refund'; s.dispatchEvent(new Event('input'))"
            )
            searched.append(time.perf_counter() - start)
    return statistics.median(opened), statistics.median(searched)


def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="report-"))
    try:
        examples = make_run(root / "run")
        taken = []
        for _ in range(3):
            start, cpu = time.perf_counter(), time.process_time()
            page = report.write(root / "run")
            taken.append((time.perf_counter() - start, time.process_time() - cpu))
        wall, cpu = sorted(taken)[1]
        print(f"report of {examples:,} examples: {wall:.1f} s ({cpu:.1f} s of CPU), {page.stat().st_size / 1e6:.2f} MB")
        if shutil.which("chromedriver"):
            opened, searched = interactive(page)
            print(f"in Chromium: interactive after {opened:.2f} s, a first search takes {searched:.2f} s")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
