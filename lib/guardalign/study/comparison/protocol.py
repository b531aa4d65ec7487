"""The protocol: SFT once a task and seed, then every arm from it with the same data, order, batches and steps.

What several arms need is made once: the SFT model, the reference's log-probs, and one opinion a reply. Each arm's
outcome is kept under a fingerprint, so a run that was cut off goes on with the arms that are missing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import Field

from guardalign.config.params import Params
from guardalign.config.task_sections import Tasks
from guardalign.data.conversations import Row
from guardalign.data.examples import Example
from guardalign.data.tasks import load_instructions
from guardalign.errors import ParameterError
from guardalign.files import RunFolder, fingerprint, read_rows, write_rows
from guardalign.generation.replies import load_policy
from guardalign.launch.accelerate import run_training
from guardalign.models.encoding import encode
from guardalign.models.loading import base_model, load_frozen, load_tokenizer, model_fingerprint
from guardalign.stats import alpaca
from guardalign.study.comparison import data
from guardalign.study.comparison.answers import Answer, Written, answer, reply_texts, write
from guardalign.study.comparison.jobs import RLHF, SFT, Job, identical_jobs, sft_job, tuning_jobs
from guardalign.study.comparison.memory import PeakMemory
from guardalign.training import TrainingConfig
from guardalign.training.reference import store_of, token_logprobs
from guardalign.tree.scoring import TreeScorer
from guardalign.world.twins import TWINS

Log = Callable[[str], object]


class Outcome(Row):
    """One job's training, in figures; its answers lie beside it. ``memory_gib`` is the peak while it was trained."""

    job: Job
    mark: str
    steps: int
    seconds: float
    memory_gib: float
    logical_tokens: int
    unique_tokens: int
    warnings: tuple[str, ...] = ()
    facts: dict[str, float] = Field(default_factory=dict)


def section(settings: Params) -> Tasks:
    """The ``tasks`` section. Raises ParameterError where the file has none."""
    if settings.tasks is None:
        raise ParameterError("the comparison needs a `tasks` section; params/comparison.yaml shows one")
    return settings.tasks


class Place:
    """Where a job's files lie in the run's folder."""

    def __init__(self, run: RunFolder, job: Job) -> None:
        self.model = run.root / "models" / job.name
        self.outcome = run.root / "outcomes" / f"{job.name}.jsonl"
        self.answers = run.root / "answers" / f"{job.name}.jsonl"
        self.metrics = run.root / "metrics" / f"{job.name}.jsonl"

    def known(self, mark: str) -> Outcome | None:
        if not (self.outcome.exists() and self.answers.exists()):
            return None
        (outcome,) = read_rows(self.outcome, Outcome)
        return outcome if outcome.mark == mark else None


def config_of(settings: Params, run: RunFolder, job: Job) -> TrainingConfig:
    """The training of a job. All arms of a task and seed draw their batches with the same seed, pair by pair."""
    start = sft_model(run, job)
    shared = settings.training.model_dump() | {"batching": "pair"}
    return TrainingConfig(
        arm=job.name,
        model=base_model(settings.model.name) if job.arm == SFT else str(start),
        output=Place(run, job).model,
        cache=start.parent / ".reference",
        method=job.method,
        learning_rate=job.learning_rate,
        beta=job.beta,
        epochs=job.epochs,
        options=job.options,
        seed=job.seed,
        max_length=settings.model.max_length,
        precision=settings.model.precision,
        lora=settings.model.lora.model_dump() if settings.model.lora else None,  # type: ignore[arg-type]
        **shared,
    )


def sft_model(run: RunFolder, job: Job) -> Path:
    return run.root / "models" / job.task / f"seed-{job.seed}" / "identical" / SFT


def mark_of(settings: Params, job: Job, pairs: data.Splits) -> str:
    """Everything that decides a job's outcome. The SFT model is decided by the settings, so it is not hashed."""
    tasks = section(settings)
    sft = sft_job(tasks, settings.study.arms[SFT], job.task, job.seed)
    base = model_fingerprint(base_model(settings.model.name))
    return fingerprint(
        job, sft, base, settings.model, settings.training, tasks.max_new_tokens, pairs["train"], pairs[job.split]
    )


def settle(settings: Params, run: RunFolder, job: Job, pairs: data.Splits, log: Log) -> Outcome:
    """Train an arm, let it answer, read its answers; the weights are thrown away (the SFT model's are kept)."""
    if job.arm == RLHF:
        return settle_online(settings, run, job, pairs)
    place, config = Place(run, job), config_of(settings, run, job)
    learnt, asked = pairs["train"][: job.pairs], pairs[job.split]
    with PeakMemory() as memory:
        result = run_training(config, learnt, settings.launch.kind, log)
    started = time.monotonic()
    write_rows(place.answers, judged(job, answers_of(settings, run, job, asked), asked))
    answer_instructions(settings, run, job)
    place.metrics.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place.model / "metrics.jsonl", place.metrics)
    if job.arm == SFT:
        fill_reference(config, settings, pairs["train"])
    outcome = Outcome(
        job=job,
        mark=mark_of(settings, job, pairs),
        steps=result.steps,
        seconds=result.seconds,
        memory_gib=memory.gib,
        logical_tokens=result.logical_tokens,
        unique_tokens=result.unique_tokens,
        warnings=result.warnings,
        facts={"answering_seconds": time.monotonic() - started},
    )
    write_rows(place.outcome, [outcome])
    if job.arm != SFT:
        shutil.rmtree(place.model)
    return outcome


def settle_online(settings: Params, run: RunFolder, job: Job, pairs: data.Splits) -> Outcome:
    """Reward model, then policy optimisation against it; ``facts`` tell the reward model's accuracy and cost."""
    from guardalign.training import rlhf

    tasks, place, start = section(settings), Place(run, job), str(sft_model(run, job))
    assert tasks.rlhf is not None
    size, asked = settings.training.batch_size, pairs[job.split]
    with PeakMemory() as memory:
        folder = place.model / rlhf.REWARD
        reward = rlhf.train_reward(tasks.rlhf, start, pairs["train"], asked, folder, size, job.seed)
        prompts = [each.prompt for each in pairs["train"]]
        policy = rlhf.train_policy(
            tasks.rlhf, start, reward.folder, prompts, place.model, tasks.max_new_tokens, job.seed
        )
    write_rows(place.answers, judged(job, answers_of(settings, run, job, asked), asked))
    answer_instructions(settings, run, job)
    write_rows(place.metrics, policy.history)
    outcome = Outcome(
        job=job,
        mark=mark_of(settings, job, pairs),
        steps=policy.steps,
        seconds=reward.seconds + policy.seconds,
        memory_gib=memory.gib,
        logical_tokens=0,
        unique_tokens=0,
        facts={"reward_accuracy": reward.accuracy, "reward_seconds": reward.seconds, "policy_seconds": policy.seconds}
        | rlhf.passes(tasks.rlhf, policy.steps, len(pairs["train"])),
    )
    write_rows(place.outcome, [outcome])
    shutil.rmtree(place.model)
    return outcome


def answers_of(settings: Params, run: RunFolder, job: Job, asked: Sequence[Example]) -> Sequence[Written]:
    """A job's replies; of a tuning candidate nothing more is asked, so nothing more is measured."""
    tasks = section(settings)
    policy = load_policy(Place(run, job).model)
    if job.protocol == "tuning":
        return write(policy, asked, tasks.max_new_tokens)
    start = policy.model if job.arm == SFT else load_policy(sft_model(run, job)).model
    return answer(policy, start, asked, tasks.max_new_tokens, max_length=settings.model.max_length)


def answer_instructions(settings: Params, run: RunFolder, job: Job) -> None:
    """AlpacaEval's instructions, answered by an arm of the task that names them: a file for its judge."""
    tasks = section(settings)
    source = tasks.sources[job.task].instructions
    if source is None or job.split != "test" or job.seed != tasks.seeds[0]:
        return
    asked = load_instructions(source)
    policy = load_policy(Place(run, job).model)
    texts = reply_texts(policy, [each.prompt for each in asked], tasks.max_new_tokens)
    name = f"{job.task}-{job.arm}"
    folder = run.root / "alpaca_eval" / "instructions" / job.protocol / name
    alpaca.write_outputs(folder / "model_outputs.json", asked, texts, name)


Reply = TypeVar("Reply", bound=Written)


def judged(job: Job, answers: Sequence[Reply], asked: Sequence[Example]) -> list[Reply]:
    """The answers with the opinion of the task's judge, where it has one that reads single texts."""
    if job.task not in TWINS:
        return list(answers)
    read = TWINS[job.task].read
    return [
        each.model_copy(update={"opinion": read(example.prompt, each.text)})
        for each, example in zip(answers, asked, strict=True)
    ]


def fill_reference(config: TrainingConfig, settings: Params, examples: Sequence[Example]) -> None:
    """Compute the SFT model's log-probs of all replies once, for every arm that is going to start there."""
    model = str(config.output)
    texts = [(each.prompt, reply) for each in examples for reply in (each.chosen, each.rejected) if reply]
    prompts, replies = [prompt for prompt, _ in texts], [reply for _, reply in texts]
    sequences = encode(load_tokenizer(model), prompts, replies, config.max_length)
    store = store_of(config.reference_cache, model_fingerprint(model), config.precision)

    def scorer() -> TreeScorer:
        return TreeScorer(load_frozen(model, config.precision), precision=config.precision)

    token_logprobs(store, sequences, scorer, config.row_tokens)


def _in_worker(settings: Params, run: RunFolder, job: Job, pairs: data.Splits) -> Outcome:
    torch.set_num_threads(1)
    return settle(settings, run, job, pairs, _silent)


def _silent(_: object) -> None:
    """Workers say nothing: their caller reports each outcome."""


@contextmanager
def crew(settings: Params) -> Iterator[Executor | None]:
    """The processes that settle jobs side by side (None: this one alone), for all rounds of them.

    One takes as long to start as a small arm to train. Left by an error, they end without a further job.
    """
    workers = section(settings).workers
    if workers <= 1:
        yield None
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def run_jobs(
    settings: Params,
    run: RunFolder,
    jobs: Sequence[Job],
    pairs: dict[str, data.Splits],
    log: Log = print,
    pool: Executor | None = None,
) -> list[Outcome]:
    """Settle the jobs, by ``pool`` (see ``crew``) or one by one here; what was settled before is read back.

    Outcomes come in the jobs' order.
    """
    known: dict[str, Outcome] = {}
    for job in jobs:
        found = Place(run, job).known(mark_of(settings, job, pairs[job.task]))
        if found is not None and (job.arm != SFT or (sft_model(run, job) / "training.json").exists()):
            known[job.name] = found
    missing = [job for job in jobs if job.name not in known]
    for count, outcome in enumerate(_settled(settings, run, missing, pairs, pool), 1):
        known[outcome.job.name] = outcome
        log(f"{count}/{len(missing)} {outcome.job.name}: {outcome.steps} steps in {outcome.seconds:.0f} s")
    return [known[job.name] for job in jobs]


def _settled(
    settings: Params, run: RunFolder, jobs: Sequence[Job], pairs: dict[str, data.Splits], pool: Executor | None
) -> Iterator[Outcome]:
    if pool is None:
        yield from (settle(settings, run, job, pairs[job.task], _silent) for job in jobs)
        return
    waiting: list[Any] = [pool.submit(_in_worker, settings, run, job, pairs[job.task]) for job in jobs]
    yield from (each.result() for each in as_completed(waiting))


Splits = data.Splits


def all_pairs(settings: Params) -> dict[str, data.Splits]:
    """Every task's pairs by split. Pairs of real data that are too long for the model are left out."""
    tasks = section(settings)
    return {name: data.splits(name, tasks, _fits(settings))[0] for name in tasks.sources}


def _fits(settings: Params) -> data.Fits:
    tokenizer = load_tokenizer(base_model(settings.model.name))

    def fits(example: Example) -> bool:
        replies = [reply for reply in (example.chosen, example.rejected) if reply]
        sequences = encode(tokenizer, [example.prompt] * len(replies), replies)
        return all(len(each.tokens) <= settings.model.max_length for each in sequences)

    return fits


def run_identical(settings: Params, run: RunFolder, log: Log = print, pool: Executor | None = None) -> list[Outcome]:
    """The identical protocol: SFT for every task and seed, then all arms and, with the first seed, the controls."""
    tasks, pairs = section(settings), all_pairs(settings)
    started = [sft_job(tasks, settings.study.arms[SFT], task, seed) for seed in tasks.seeds for task in tasks.sources]
    arms = [job for seed in tasks.seeds for task in tasks.sources for job in identical_jobs(tasks, task, seed)]
    return [*run_jobs(settings, run, started, pairs, log, pool), *run_jobs(settings, run, arms, pairs, log, pool)]


def run_tuning(settings: Params, run: RunFolder, log: Log = print, pool: Executor | None = None) -> list[Outcome]:
    """The tuning budget of every task and method; needs the first seed's SFT models."""
    tasks, pairs = section(settings), all_pairs(settings)
    jobs = [job for task in tasks.sources for job in tuning_jobs(tasks, task)]
    return run_jobs(settings, run, jobs, pairs, log, pool)


def answers_in(run: RunFolder, job: Job, pairs: data.Splits) -> list[Answer]:
    """A job's answers as they were kept, read by the judge as it is now."""
    return judged(job, read_rows(Place(run, job).answers, Answer), pairs[job.split])
