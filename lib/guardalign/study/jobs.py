"""Jobs: an arm with one seed is trained, replies and is scored; many run side by side.

An outcome is kept under the fingerprint of all that decides it, so an interrupted run resumes with what is missing.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from guardalign import processes
from guardalign.config.params import Params
from guardalign.config.plan import BASE, CARE, Arm
from guardalign.data.conversations import Reply, Row, Split
from guardalign.data.examples import Example
from guardalign.data.tasks import load_instructions
from guardalign.errors import ParameterError, StageFailed
from guardalign.files import RunFolder, fingerprint, intact, read_rows, write_rows
from guardalign.generation.replies import load_policy
from guardalign.losses import METHODS
from guardalign.models.encoding import encode
from guardalign.models.loading import RECORD, base_model, dropped, load_frozen, load_tokenizer, model_fingerprint
from guardalign.study.archive import unpack
from guardalign.study.distance import Distance, distances
from guardalign.study.run import Log, Study
from guardalign.training import PairScore
from guardalign.training.arm_folder import read_metrics
from guardalign.training.reference import store_of
from guardalign.tree.prefix_tree import TreeError
from guardalign.tree.scoring import TreeScorer


class Outcome(Row):
    """The cost of an arm: training steps and seconds, peak memory, tokens; ``facts`` are the method's own."""

    arm: str
    task: str
    seed: int
    fingerprint: str
    steps: int
    seconds: float
    memory_gib: float
    logical_tokens: int
    unique_tokens: int
    warnings: tuple[str, ...] = ()
    facts: dict[str, float] = {}  # noqa: RUF012


@dataclass(frozen=True)
class Job:
    """One arm of a study with one seed, whose replies are to the prompts of ``split`` (``test``: and ``transfer``).

    ``measured``: its log-probs of the split's own replies and its distance from its start are wanted too.
    """

    study: Study
    arm: str
    seed: int
    split: Split = "test"
    measured: bool = True

    @property
    def name(self) -> str:
        return "/".join([self.study.task, f"seed-{self.seed}", self.arm])

    @property
    def needs(self) -> set[str]:
        """Names of the jobs that come before this one."""
        return {replace(self, arm=arm).name for arm in self.study.plan.ancestors(self.arm)}

    @property
    def planned(self) -> Arm:
        return self.study.plan.arms[self.arm]

    def _file(self, folder: str) -> Path:
        return self.study.folder(self.seed).root / folder / f"{self.arm}.jsonl"

    @property
    def outcome(self) -> Path:
        return self._file("outcomes")

    @property
    def prompts(self) -> list[Any]:
        """The prompts that the arm answers, as in notebook 06."""
        return [*self.study.rows(self.split), *(self.study.rows("transfer") if self.split == "test" else [])]

    @property
    def replies(self) -> list[Reply]:
        return read_rows(self._file("replies"), Reply)

    @property
    def scores(self) -> list[PairScore]:
        return read_rows(self._file("scores"), PairScore)

    @property
    def distances(self) -> list[Distance]:
        return read_rows(self._file("distances"), Distance)

    @property
    def instructions(self) -> str | None:
        """AlpacaEval's file of instructions, where this arm answers them too."""
        tasks, study = self.study.settings.tasks, self.study
        asked = tasks.sources[study.task].instructions if tasks and study.task != CARE else None
        return asked if self.measured and self.seed == study.seeds[0] else None

    @property
    def instructed(self) -> list[Reply]:
        """The answers to these instructions, in their order."""
        return read_rows(self._file("instructions"), Reply) if self.instructions else []

    @property
    def model(self) -> Path:
        return self.study.folder(self.seed).model(self.arm)

    @cached_property
    def fingerprint(self) -> str:
        """Everything that decides the outcome: the arm, those it depends on, data, base model, decoding, judge."""
        study, settings, plan = self.study, self.study.settings, self.study.plan
        before = plan.ancestors(self.arm)
        matched = dict.fromkeys(other for name in (self.arm, *before) for other in plan.matched(name))
        chain = [*before, *matched]
        judged = any(plan.arms[name].pairs.judged for name in (*chain, self.arm))
        return fingerprint(
            self.planned, [(name, plan.arms[name]) for name in chain], study.epochs_before(self.arm), self.seed,
            study.task, self.split, self.measured, model_fingerprint(base_model(settings.model.name)), settings.model,
            settings.training, settings.generation, settings.judge if judged else None,
            study.rows("train", "feedback", self.split),
        )  # fmt: skip

    def known(self) -> Outcome | None:
        """The outcome of an earlier run with the same fingerprint; one that is damaged, or that lacks replies or
        measures that are wanted now, counts as none."""
        paths = [self._file(each) for each in ("outcomes", "replies", *self._measures)]
        if not all(path.exists() and intact(path) for path in paths) or not (self.model / RECORD).exists():
            return None
        (found,) = read_rows(self.outcome, Outcome)
        if found.fingerprint != self.fingerprint:
            return None
        if self.instructions:
            answers = self.study.writes(self.arm, self._file("instructions"), self.seed)
            if not answers.store(self._instruction_prompts()).is_complete():
                return None
        return found

    @property
    def _measures(self) -> tuple[str, ...]:
        """What is measured besides replies, by the name of its folder."""
        if not self.measured or self.seed not in self.study.scored:
            return ()
        return ("scores",) if self.study.task == CARE else ("scores", "distances")

    def _instruction_prompts(self) -> list[Example]:
        return [
            Example(id=each.id, conversation_id=each.id, prompt=each.prompt, chosen="")
            for each in load_instructions(self.instructions or "")
        ]

    @property
    def has_weights(self) -> bool:
        return (self.model / RECORD).exists() and not dropped(self.model)

    def run(self, log: Log = print) -> Outcome:
        """Train the arm, let it answer, measure it, and drop its weights if the plan keeps none."""
        study, folder = self.study, self.study.folder(self.seed)
        if dropped(self.model):  # and now needed for other replies
            (self.model / RECORD).unlink()
        processes.forget_peak()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        result = study.train_arm(self.arm, self.seed, log=log)
        memory = [row.get("memory_gib", 0.0) for row in read_metrics(self.model)]
        replies = study.answers(self.arm, self.prompts, folder.replies(self.arm), self.seed, log)
        if self.instructions:
            study.answers(self.arm, self._instruction_prompts(), self._file("instructions"), self.seed, log)
        if "scores" in self._measures:
            study.score(self.arm, self.seed, study.to_score(study.rows(self.split)))
        if "distances" in self._measures:
            write_rows(self._file("distances"), self._measured(replies))
        if study.plan.is_needed(self.arm):
            self._share_reference()
        study.drop(self.arm, self.seed)
        outcome = Outcome(
            arm=self.arm, task=study.task, seed=self.seed, fingerprint=self.fingerprint, steps=result.steps,
            seconds=result.seconds, memory_gib=max(memory), logical_tokens=result.logical_tokens,
            unique_tokens=result.unique_tokens, warnings=result.warnings,
            facts=result.metrics if self.planned.method == "rlhf" else {},
        )  # fmt: skip
        write_rows(self.outcome, [outcome])
        return outcome

    def _measured(self, replies: Sequence[Reply]) -> list[Distance]:
        policy, start = load_policy(self.model), self.planned.start
        # What paper B measures from is the SFT model, which is its own start here.
        origin = policy.model if start == BASE else load_policy(self.study.model_of(start, self.seed)).model
        return distances(policy, origin, self.study.examples(self.study.rows(self.split)), replies)

    def _share_reference(self) -> None:
        """Compute this model's log-probs of the replies once, for all arms that start here: running side by side, each
        would compute them, and which copy an arm reads would depend on timing."""
        study = self.study
        reading = [
            name
            for name, arm in study.plan.arms.items()
            if arm.start == self.arm and arm.reference is None and not arm.pairs.judged
            and arm.method != "rlhf" and METHODS[arm.method].reference
        ]  # fmt: skip
        if not reading or study.settings.training.engine != "tree":
            return
        config = study.config_of(reading[0], self.seed)
        pairs = study.examples(study.pairs_of(reading[0], self.seed))
        texts = [(each.prompt, reply) for each in pairs for reply in (each.chosen, each.rejected) if reply]
        prompts, replies = [prompt for prompt, _ in texts], [reply for _, reply in texts]
        sequences = encode(load_tokenizer(config.model), prompts, replies, config.max_length)
        store = store_of(config.reference_cache, model_fingerprint(config.model), config.precision)

        def scorer() -> TreeScorer:
            return TreeScorer(load_frozen(config.model, config.precision), precision=config.precision)

        with suppress(TreeError):  # its own training refuses the same, by name
            store.fill(sequences, scorer, config.row_tokens)


def jobs_of(study: Study, names: Sequence[str] = (), split: Split = "test", measured: bool = True) -> list[Job]:
    """A study's arms (default: all) and those they need, with every seed."""
    plan = study.plan
    wanted = {each for name in (names or plan.arms) for each in (*plan.ancestors(name), name)}
    return [Job(study, name, seed, split, measured) for seed in study.seeds for name in plan.order() if name in wanted]


def run_jobs(jobs: Sequence[Job], workers: int = 1, log: Log = print) -> list[Outcome]:
    """The outcomes of ``jobs`` in their order.

    Those that are not known are run in that order, ``workers`` at a time, each after the arms it needs. Progress is
    logged every minute and after every twentieth of them.
    """
    known = {job.name: found for job in jobs if (found := job.known())}
    missing = [job for job in jobs if job.name not in known]
    starts = set[str]().union(*(job.needs for job in missing))
    missing = [job for job in jobs if job.name not in known or (job.name in starts and not job.has_weights)]
    began = logged = time.monotonic()
    for count, (job, outcome) in enumerate(_outcomes(missing, min(workers, len(missing))), 1):
        known[job.name] = outcome
        now = time.monotonic()
        if now - logged < 60 and count * 20 // len(missing) == (count - 1) * 20 // len(missing):
            continue
        logged, left = now, (now - began) / count * (len(missing) - count) / 60
        log(f"{count}/{len(missing)} {job.name}: {outcome.steps} steps in {outcome.seconds:.0f} s; {left:.0f} min left")
    return [known[job.name] for job in jobs]


def _outcomes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Outcome]]:
    if workers <= 1:
        yield from ((job, job.run(_silent)) for job in jobs)
        return
    waiting, running = list(jobs), dict[Future[Outcome], Job]()
    with ProcessPoolExecutor(workers, get_context("spawn"), processes.die_with_parent) as pool:
        try:
            while waiting or running:
                missing = {job.name for job in (*waiting, *running.values())}
                ready = [job for job in waiting if missing.isdisjoint(job.needs)]
                for job in ready[: workers - len(running)]:
                    running[pool.submit(_in_worker, job)] = job
                    waiting.remove(job)
                for each in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running[each], each.result()
                    del running[each]
        except BrokenProcessPool:
            raise StageFailed(
                "A process that trained an arm was killed (too little memory is the usual cause): lower study.workers. "
                "Run again to resume."
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _in_worker(job: Job) -> Outcome:
    torch.set_num_threads(1)
    return job.run(_silent)


def _silent(_: object) -> None:
    """The caller reports each outcome."""


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    """``guardalign study``: a study's own arms, seed by seed, so that seeds finish one after the other."""
    parser.add_argument("params", help="a parameter file whose data notebook 01 has made")
    parser.add_argument("--arms", nargs="+", default=(), metavar="ARM", help="these and those they need (default: all)")
    asked = parser.parse_args(argv)
    settings = Params.load(asked.params)
    study = Study(settings, RunFolder.named(settings.run))
    for name in asked.arms:
        if name not in study.plan.arms:
            raise ParameterError(f"no arm {name!r} in {asked.params}: it has {', '.join(study.plan.arms)}")
    with processes.alone_in(study.run.root):
        unpack(study.run)
        run_jobs(jobs_of(study, asked.arms), study.plan.workers, lambda line: print(line, flush=True))
