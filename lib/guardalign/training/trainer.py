"""The training loop: examples and a loss in, a checkpoint out; interrupted runs resume."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from guardalign.data.examples import Example
from guardalign.errors import GuardalignError, InputError, OutOfMemory, Preempted
from guardalign.files import write_text
from guardalign.models.loading import RECORD, load_frozen, load_model, load_tokenizer, model_fingerprint
from guardalign.processes import Sigterm
from guardalign.training import checkpoints, sharding
from guardalign.training.arm_folder import CHECKPOINTS, Log, finished, save_arm, training_fingerprint
from guardalign.training.batches import Batch, encode_examples, plan
from guardalign.training.config import TrainingConfig, TrainingResult
from guardalign.training.embeddings import embed
from guardalign.training.probe import PROBED_PROMPTS, REPETITIVE, repetition
from guardalign.training.progress import Progress, peak_memory, step_metrics
from guardalign.training.reference import LogprobStore, store_of
from guardalign.training.step import StepOutput, forward_backward
from guardalign.tree.prefix_tree import TreeError
from guardalign.tree.scoring import TreeScorer


class NotFinite(GuardalignError):
    """A loss or gradient is NaN or infinite; the step, its examples and tokens are in ``not_finite.json``."""


def train(config: TrainingConfig, examples: Sequence[Example], log: Log = print) -> TrainingResult:
    """Train one arm into ``config.output``; a finished folder with the same fingerprint is returned as it is.

    Raises ``GuardalignError`` and its kinds for bad input (over-long or empty replies, missing rejected replies), a
    full disk or too little memory, ``NotFinite`` if a loss or gradient is not finite, and ``Preempted`` after SIGTERM:
    the step is completed and a checkpoint saved, from which the same call resumes.
    """
    fingerprint = training_fingerprint(config, examples)
    if done := finished(config.output, fingerprint, log):
        log(f"{config.arm}: unchanged since it was trained, left as it is")
        return done
    with _errors_named(config):
        if config.engine == "trl":
            if sharding.claimed():
                raise GuardalignError(f"{config.arm}: arms of both engines cannot share one sharded launch")
            from guardalign.training.trl_engine import train_with_trl

            return train_with_trl(config, examples, fingerprint, log)
        return _Run(config, examples, fingerprint, log).run()


@contextmanager
def _errors_named(config: TrainingConfig) -> Iterator[None]:
    """Turn what the tree refuses and a lack of memory into errors that name the arm and what to change."""
    try:
        yield
    except TreeError as error:
        raise InputError(f"{config.arm}: {error}") from None
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not known:
            raise
        first = (str(error).splitlines() or ["MemoryError"])[0]
        raise OutOfMemory(
            f"{config.arm}: out of memory ({first}). Lower training.row_tokens (now {config.row_tokens}; the result is "
            "the same), switch training.gradient_checkpointing on, or train adapters (model.lora, model.precision: "
            "nf4)."
        ) from error


class _Run:
    """One arm's training in this process (one of several under ``accelerate launch``)."""

    def __init__(self, config: TrainingConfig, examples: Sequence[Example], fingerprint: str, log: Log) -> None:
        self.config, self.fingerprint = config, fingerprint
        self.sharded = sharding.claim()
        if sharding.by_deepspeed():
            raise GuardalignError(f"{config.arm}: DeepSpeed needs engine: trl; kind fsdp2 shards for the tree engine")
        self.accelerator = Accelerator(cpu=sharding.on_cpu())
        if self.sharded:
            sharding.check(config)
        self.main = self.accelerator.is_main_process
        self.log: Log = log if self.main else (lambda _: None)
        self.device = self.accelerator.device
        self.tokenizer = load_tokenizer(config.model)
        self.data = encode_examples(self.tokenizer, examples, config)
        self.batches = plan(self.data, config)
        self.totals = {"logical": 0, "unique": 0, "seconds": 0.0}
        self.sigterm = Sigterm()

    def run(self) -> TrainingResult:
        self.began = time.monotonic()
        self.references, self.embeddings = self._references(), self._embeddings()
        self._prepare()
        if self.main:
            (self.config.output / RECORD).unlink(missing_ok=True)
        progress = Progress(self.config, len(self.batches), self.log)
        first = self._resume(progress)
        with self.sigterm:
            metrics = self._steps(first, progress)
            self.sigterm.saving()
            result = self._finish(first, metrics, progress)
        if self.sigterm.came:
            raise Preempted(f"{self.config.arm}: SIGTERM received, training had already finished")
        return result

    def _steps(self, first: int, progress: Progress) -> dict[str, float]:
        """All steps from ``first`` on; returns the last one's metrics. Raises ``Preempted``, a checkpoint saved."""
        metrics: dict[str, float] = {}
        for step in range(first, len(self.batches)):
            metrics = self._step(step) | self._probe(step, progress)
            done, last, interrupted = step + 1, step + 1 == len(self.batches), self._interrupted()
            if self.main:
                progress.step(done, metrics)
            if not last and (interrupted or done % self.config.save_steps == 0):
                self._checkpoint(done, progress)
            if interrupted and not last:
                # The launcher ends the others once one has left: all ranks wait until the checkpoint is written.
                self.accelerator.wait_for_everyone()
                raise Preempted(f"{self.config.arm}: SIGTERM received, saved after step {done}; rerun to resume")
        return metrics

    def _interrupted(self) -> bool:
        """Whether any process has received SIGTERM; all processes get the same answer."""
        [received] = self._summed(int(self.sigterm.came))
        if received:
            self.sigterm.saving()
        return received > 0

    def _finish(self, first: int, metrics: dict[str, float], progress: Progress) -> TrainingResult:
        result = TrainingResult(
            arm=self.config.arm,
            output=self.config.output,
            fingerprint=self.fingerprint,
            steps=len(self.batches),
            seconds=self._seconds(),
            logical_tokens=int(self.totals["logical"]),
            unique_tokens=int(self.totals["unique"]),
            world_size=self.accelerator.num_processes,
            resumed_step=first,
            metrics=metrics,
            warnings=tuple(progress.warnings),
        )
        model, head = self.scorer.model, self.scorer.value_head
        weights = sharding.whole_weights(model) if self.sharded else None
        values = None if head is None else sharding.whole_weights(head) if self.sharded else head.state_dict()
        if self.main:
            save_arm(model, self.tokenizer, self.config, result, weights, values)
        self.accelerator.wait_for_everyone()
        return result

    def _prepare(self) -> None:
        """Model, optimiser and schedule, seeded: what is drawn here (adapters, value head) is the same in every run."""
        from transformers import get_scheduler  # imports peft, which takes two seconds

        config, steps = self.config, len(self.batches)
        set_seed(config.seed)
        model = load_model(config.model, config.precision, config.lora)
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            if config.lora is not None:
                model.enable_input_require_grads()
        self.scorer = TreeScorer(model, value_head=config.loss.value_head, precision=config.precision)
        if self.sharded:
            sharding.shard(self.scorer, self.device)
        else:
            self.scorer.to(self.device)
        self.scorer.train()
        self.trainable = [weight for weight in self.scorer.parameters() if weight.requires_grad]
        optimizer = _optimizer(config, self.trainable)
        warmup = round(config.warmup_ratio * steps)
        self.scheduler = get_scheduler(config.schedule, optimizer, warmup, steps)
        self.wrapped, self.optimizer = self.scorer, optimizer
        if not self.sharded:
            self.wrapped, self.optimizer = self.accelerator.prepare(self.scorer, optimizer)

    def _step(self, step: int) -> dict[str, float]:
        """One optimiser step; returns its metrics."""
        config, batch = self.config, self.batches[step]
        reference = None if self.references is None else self.references.of(batch.sequences)
        embeddings = None if self.embeddings is None else self.embeddings[torch.tensor(batch.examples)]
        began = time.monotonic()
        output = forward_backward(
            self.wrapped, batch, config, self.device, reference, embeddings,
            self.accelerator.process_index, self.accelerator.num_processes,
        )  # fmt: skip
        clip = sharding.clip if self.sharded else self.accelerator.clip_grad_norm_
        norm = float(clip(self.trainable, config.max_grad_norm))
        self._check_finite(step, batch, output, norm)
        rate = float(self.scheduler.get_last_lr()[0])
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        logical, unique = self._summed(output.logical_tokens, output.unique_tokens)
        self.totals["logical"] += logical
        self.totals["unique"] += unique
        seconds = time.monotonic() - began
        return step_metrics(output, config) | {
            "grad_norm": norm,
            "learning_rate": rate,
            "epoch": (step + 1) / config.steps_per_epoch(len(self.data.examples)),
            "logical_tokens_per_second": logical / seconds,
            "unique_tokens_per_second": unique / seconds,
            "memory_gib": peak_memory(),
            "seconds": seconds,
        }

    def _probe(self, step: int, progress: Progress) -> dict[str, float]:
        """Every ``probe_steps`` and at the end, check whether the policy's own replies repeat themselves."""
        every = self.config.probe_steps
        idle = not self.main and not self.sharded  # sharded weights are gathered by all
        if idle or not every or ((step + 1) % every and step + 1 < len(self.batches)):
            return {}
        prompts = list(dict.fromkeys(example.prompt for example in self.data.examples))[:PROBED_PROMPTS]
        share = repetition(self.scorer.model, self.tokenizer, prompts)
        if share > REPETITIVE and self.main:
            progress.warn(step + 1, f"the policy repeats itself: {share:.0%} of its replies' 4-grams are repeated")
        return {"repetition": share}

    def _references(self) -> LogprobStore | None:
        config = self.config
        if not config.reads_reference:
            return None
        sequences = [sequence for batch in self.batches for sequence in batch.sequences]
        weights = model_fingerprint(config.reference_model)

        def scorer() -> TreeScorer:
            self._check_vocabulary()
            model = load_frozen(config.reference_model, config.precision).to(self.device)
            return TreeScorer(model, precision=config.precision)

        def report(done: int, total: int) -> None:
            if total > 1 and (done == total or done % 20 == 0):
                self.log(f"{config.arm}: reference log-probs, row {done}/{total}")

        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        store = store_of(config.reference_cache, weights, config.precision, self.log)
        # All ranks must see the same store, or they would divide different rows and skip some.
        self.accelerator.wait_for_everyone()
        store.fill(sequences, scorer, config.row_tokens, (rank, world), report)
        self.accelerator.wait_for_everyone()
        return store if world == 1 else store_of(config.reference_cache, weights, config.precision, self.log)

    def _check_vocabulary(self) -> None:
        if self.config.reference_model == self.config.model:
            return
        policy_vocabulary, reference_vocabulary = (
            self.tokenizer.get_vocab(),
            load_tokenizer(self.config.reference_model).get_vocab(),
        )
        if policy_vocabulary != reference_vocabulary:
            raise GuardalignError(
                f"{self.config.arm}: policy {self.config.model} and reference {self.config.reference_model} have "
                f"different vocabularies ({len(policy_vocabulary)} and {len(reference_vocabulary)} tokens)"
            )

    def _embeddings(self) -> Tensor | None:
        """Of the examples' prompts, (n, d), where the method reads them."""
        if not self.config.loss.embeddings:
            return None
        return torch.from_numpy(embed([example.prompt for example in self.data.examples]))

    def _resume(self, progress: Progress) -> int:
        """Restore the newest checkpoint with this training's fingerprint, if any; returns the steps already done."""
        folder = self.config.output / CHECKPOINTS
        state = checkpoints.latest(folder, lambda line: self.log(f"{self.config.arm}: WARNING: {line}"))
        if state is not None and state["fingerprint"] != self.fingerprint:
            other = checkpoints.differences(state["facts"], self.config.facts())
            origin = f"another configuration ({other})" if other else "other data or another model"
            self.log(f"{self.config.arm}: WARNING: {folder} is of {origin}; starting over")
            state = None
        self.accelerator.wait_for_everyone()
        if self.main:
            progress.rewind(0 if state is None else state["step"])
            if state is None:
                shutil.rmtree(folder, ignore_errors=True)
        if state is None:
            return 0
        checkpoints.restore(self.scorer, self.optimizer, state)
        self.scheduler.load_state_dict(state["scheduler"])
        checkpoints.restore_random_state(state["random"])
        self.totals |= state["totals"]
        progress.warnings += state.get("warnings", [])
        self.log(f"{self.config.arm}: resuming after step {state['step']}")
        return state["step"]

    def _seconds(self) -> float:
        """Of the whole training, those before an interruption included."""
        return self.totals["seconds"] + time.monotonic() - self.began

    def _checkpoint(self, step: int, progress: Progress) -> None:
        state = {
            "fingerprint": self.fingerprint,
            "facts": self.config.facts(),
            "step": step,
            "totals": self.totals | {"seconds": self._seconds()},
            "warnings": progress.warnings,
            "scheduler": self.scheduler.state_dict(),
            "random": checkpoints.random_state(),
            "weights": checkpoints.whole(checkpoints.trainable(self.scorer), self.main),
            "optimizer": checkpoints.whole(self.optimizer.state_dict(), self.main),
        }
        if self.main:
            checkpoints.save(self.config.output / CHECKPOINTS, step, state)

    def _check_finite(self, step: int, batch: Batch, output: StepOutput, norm: float) -> None:
        if math.isfinite(output.loss) and math.isfinite(norm):
            return
        path = self.config.output / "not_finite.json"
        ids = [self.data.examples[i].id for i in batch.examples]
        if self.main:
            facts = {
                "step": step + 1,
                "loss": str(output.loss),
                "grad_norm": str(norm),
                "examples": ids,
                "logps": [str(value) for value in output.scored.logps.tolist()],
                "sequences": [{"tokens": s.tokens.tolist(), "start": s.start} for s in batch.sequences],
            }
            write_text(path, json.dumps(facts, indent=1))
        raise NotFinite(
            f"{self.config.arm}: step {step + 1}: loss {output.loss}, gradient norm {norm} on examples "
            f"{', '.join(dict.fromkeys(ids))}; the batch is in {path}. A lower learning rate is the usual cure."
        )

    def _summed(self, *counts: int) -> list[int]:
        if self.accelerator.num_processes == 1:
            return list(counts)
        return self.accelerator.reduce(torch.tensor(counts, device=self.device)).tolist()


def _optimizer(config: TrainingConfig, trainable: list[nn.Parameter]) -> torch.optim.Optimizer:
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(trainable, lr=config.learning_rate, weight_decay=config.weight_decay)
    if config.optimizer == "paged_adamw_8bit":
        from bitsandbytes.optim import PagedAdamW8bit

        return PagedAdamW8bit(trainable, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.AdamW(trainable, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
