"""Choosing learning rates and β: the same small grid for every method, compared on the feedback split alone.

A candidate is trained on the train split and answers the feedback split's prompts; the embedded judge says what share
of its replies is acceptable. The test split is never read here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import torch

from guardalign.config.params import Params
from guardalign.config.sections import Sweep
from guardalign.data.conversations import PreferencePair, Reply, Row
from guardalign.files import RunFolder, fingerprint, read_rows, write_rows
from guardalign.generation.replies import GenerationSettings, generate
from guardalign.generation.replystats import reply_statistics
from guardalign.judging.embedded import assess
from guardalign.judging.verdicts import DIMENSIONS
from guardalign.models.encoding import examples_of
from guardalign.models.loading import base_model
from guardalign.training import TrainingConfig, train


class Candidate(Row):
    """One point of the grid. ``start`` is ``base``, or ``sft`` for the SFT model that was chosen first."""

    method: str
    start: str
    learning_rate: float
    beta: float

    @property
    def name(self) -> str:
        return f"{self.start}_{self.method}_lr{self.learning_rate:g}_beta{self.beta:g}"


class Outcome(Row):
    """What a candidate's replies to the feedback prompts are worth: shares of acceptable replies, and their form."""

    candidate: Candidate
    mark: str
    prompts: int
    adherence: float
    naturalness: float
    hallucination: float
    acceptable: float
    words: float
    repetition: float
    unfinished: float
    training_seconds: float


def sft_grid(sweep: Sweep) -> list[Candidate]:
    """SFT from the base model at every rate (it has no β: it is written as 1)."""
    return [Candidate(method="sft", start="base", learning_rate=rate, beta=1.0) for rate in sweep.sft]


def alignment_grid(sweep: Sweep) -> list[Candidate]:
    """Every method at each of its rates and every β, from the base model and from the SFT model."""
    return [
        Candidate(method=method, start=start, learning_rate=rate, beta=beta)
        for method, rates in sweep.methods.items()
        for start in ("base", "sft")
        for rate in rates
        for beta in sweep.betas
    ]


def judged(pairs: Sequence[PreferencePair], replies: Sequence[Reply]) -> dict[str, float]:
    """Shares of replies acceptable in each dimension, and in all three at once (``acceptable``)."""
    said = [assess(pair.turns, pair.guardrails, reply.text) for pair, reply in zip(pairs, replies, strict=True)]
    shares = {name: mean(each.dimension(name).acceptable for each in said) for name in DIMENSIONS}
    return shares | {"acceptable": mean(all(each.dimension(name).acceptable for name in DIMENSIONS) for each in said)}


def _settled(
    candidate: Candidate, settings: Params, folder: Path, start: str, pairs: dict[str, list[PreferencePair]]
) -> Outcome:
    """Train one candidate, let it answer, judge it, throw its weights away."""
    output = folder / "models" / candidate.name
    config = TrainingConfig(
        arm=candidate.name,
        model=start,
        output=output,
        cache=folder / "models" / ".reference",
        method=candidate.method,
        learning_rate=candidate.learning_rate,
        beta=candidate.beta,
        seed=settings.seed,
        max_length=settings.model.max_length,
        precision=settings.model.precision,
        **settings.training.model_dump(),
    )
    result = train(config, examples_of(pairs["train"]), log=_silent)
    drawing = GenerationSettings(
        max_new_tokens=settings.generation.max_new_tokens,
        batch_size=settings.generation.batch_size,
        prompt=settings.model.prompt,
    )
    replies = generate(output, pairs["feedback"], candidate.name, drawing, output / "replies.jsonl", log=_silent)
    form = reply_statistics(replies)
    outcome = Outcome(
        candidate=candidate,
        mark=_mark(candidate, settings, start, pairs),
        prompts=len(replies),
        words=form["words"].mean(),
        repetition=form["repetition"].mean(),
        unfinished=1 - form["finished"].mean(),
        training_seconds=result.seconds,
        **judged(pairs["feedback"], replies),
    )
    write_rows(folder / "sweep" / f"{candidate.name}.jsonl", [outcome])
    if candidate.start != "base" or candidate.method != "sft":
        shutil.rmtree(output)
    return outcome


def _silent(_: object) -> None:
    """Workers say nothing: their caller reports each outcome."""


def _mark(candidate: Candidate, settings: Params, start: str, pairs: dict[str, list[PreferencePair]]) -> str:
    return fingerprint(
        candidate,
        settings.seed,
        settings.model,
        settings.training,
        settings.generation,
        start,
        [*pairs["train"], *pairs["feedback"]],
    )


def run_sweep(
    settings: Params,
    run: RunFolder,
    candidates: Sequence[Candidate],
    pairs: dict[str, list[PreferencePair]],
    sft: Path | None = None,
    workers: int = 2,
    log: Callable[[str], object] = print,
) -> list[Outcome]:
    """Settle every candidate, several at a time in processes of one thread each; what was settled before is read back.

    ``pairs`` holds the ``train`` and ``feedback`` splits; ``sft`` the model candidates with ``start: sft`` begin from.
    """
    starts = {"base": base_model(settings.model.name), "sft": str(sft)}
    known = {}
    for candidate in candidates:
        path = run.root / "sweep" / f"{candidate.name}.jsonl"
        if path.exists():
            (outcome,) = read_rows(path, Outcome)
            if outcome.mark == _mark(candidate, settings, starts[candidate.start], pairs):
                known[candidate] = outcome
    missing = [candidate for candidate in candidates if candidate not in known]
    jobs = [(each, settings, run.root, starts[each.start], pairs) for each in missing]
    for place, outcome in enumerate(_outcomes(jobs, workers), 1):
        known[outcome.candidate] = outcome
        log(f"{place}/{len(missing)} {outcome.candidate.name}: {outcome.acceptable:.1%} acceptable")
    return [known[candidate] for candidate in candidates]


def _in_worker(job: tuple[Any, ...]) -> Outcome:
    torch.set_num_threads(1)
    return _settled(*job)


def _outcomes(jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Outcome]:
    if workers == 1:
        yield from (_settled(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from (waiting.result() for waiting in [pool.submit(_in_worker, job) for job in jobs])


def table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """One row a candidate."""
    rows = [each.candidate.model_dump() | each.model_dump(exclude={"candidate", "mark"}) for each in outcomes]
    return pd.DataFrame(rows)


def choose(outcomes: pd.DataFrame) -> pd.DataFrame:
    """For each method the rate and β with the best share of acceptable replies, averaged over its starts.

    The same rule for every method; of equals the one with the smaller rate, then the larger β, that is the one that
    stays closer to its reference.
    """
    means = outcomes.groupby(["method", "learning_rate", "beta"])[["acceptable"]].mean().reset_index()
    ordered = means.sort_values(["acceptable", "learning_rate", "beta"], ascending=[False, True, False])
    return ordered.groupby("method", as_index=False).first()
