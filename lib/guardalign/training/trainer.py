"""The training loop: examples and a loss in, a checkpoint out; going on where it was cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import get_scheduler

from guardalign.encoding import Example
from guardalign.errors import GuardalignError
from guardalign.files import write_text
from guardalign.loading import load_frozen, load_model, load_tokenizer, model_fingerprint
from guardalign.reference import store_of, token_logprobs
from guardalign.scoring import TreeScorer
from guardalign.training import checkpoints
from guardalign.training.batches import Batch, encode_examples, plan
from guardalign.training.config import TrainingConfig, TrainingResult
from guardalign.training.finish import CHECKPOINTS, RESULT, Log, finished, save_arm, training_fingerprint
from guardalign.training.progress import Progress, peak_memory, step_metrics
from guardalign.training.step import StepInput, StepOutput, forward_backward
from guardalign.training.watch import accelerator


class NotFinite(GuardalignError):
    """A loss or gradient is NaN or infinite; the step, its examples and tokens lie in ``not_finite.json``."""


def train(config: TrainingConfig, examples: Sequence[Example], log: Log = print) -> TrainingResult:
    """Train one arm into ``config.output``; a finished folder with the same fingerprint is returned as it is.

    Raises ``GuardalignError`` and its kinds for bad input (over-long or empty replies, missing rejected replies) and
    ``NotFinite`` where a loss is no number.
    """
    mark = training_fingerprint(config, examples)
    if done := finished(config, mark):
        log(f"{config.arm}: unchanged since it was trained, left as it is")
        return done
    if config.engine == "trl":
        from guardalign.training.trl_engine import train_with_trl

        return train_with_trl(config, examples, mark, log)
    return _Run(config, examples, mark, log).run()


class _Run:
    """One arm's training in this process (one of several under ``accelerate launch``)."""

    def __init__(self, config: TrainingConfig, examples: Sequence[Example], mark: str, log: Log) -> None:
        self.config, self.mark = config, mark
        self.accelerator = accelerator()
        self.main = self.accelerator.is_main_process
        self.log: Log = log if self.main else (lambda _: None)
        self.device = self.accelerator.device
        self.tokenizer = load_tokenizer(config.model)
        self.data = encode_examples(self.tokenizer, examples, config.loss, config.max_length, config.overlong)
        self.batches = plan(self.data, config)

    def run(self) -> TrainingResult:
        config = self.config
        start = time.monotonic()
        references = self._references()
        embeddings = self._embeddings()
        transformers.set_seed(config.seed)
        model = self._policy()
        scorer = TreeScorer(model, value_head=config.loss.value_head, precision=config.precision).to(self.device)
        scorer.train()
        trainable = [weight for weight in scorer.parameters() if weight.requires_grad]
        optimizer = _optimizer(config, trainable)
        scheduler = get_scheduler(
            config.schedule, optimizer, round(config.warmup_ratio * len(self.batches)), len(self.batches)
        )
        wrapped, optimizer = self.accelerator.prepare(scorer, optimizer)
        if config.output.exists() and (config.output / RESULT).exists() and self.main:
            (config.output / RESULT).unlink()
        progress = Progress(
            config.output / "metrics.jsonl", len(self.batches), self.log, config.arm, config.tensorboard and self.main
        )
        state = self._resume(scorer, optimizer, scheduler, progress)
        totals = state["totals"]
        metrics: dict[str, float] = {}
        for step in range(state["step"], len(self.batches)):
            began = time.monotonic()
            batch = self.batches[step]
            given = StepInput(batch, references(batch), embeddings(batch))
            output = forward_backward(
                wrapped, given, config.loss, config.loss_options, config.row_tokens, self.device,
                self.accelerator.process_index, self.accelerator.num_processes,
            )  # fmt: skip
            norm = float(self.accelerator.clip_grad_norm_(trainable, config.max_grad_norm))
            self._check_finite(step, batch, output, norm)
            rate = scheduler.get_last_lr()[0]
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
            logical, unique = self._summed(output.logical_tokens, output.unique_tokens)
            seconds = time.monotonic() - began
            totals["logical"] += logical
            totals["unique"] += unique
            metrics = step_metrics(output, config.loss_options, config.loss.reference, config.loss.embeddings)
            metrics |= {
                "grad_norm": norm,
                "learning_rate": rate,
                "epoch": (step + 1) * config.epochs / len(self.batches),
                "logical_tokens_per_second": logical / seconds,
                "unique_tokens_per_second": unique / seconds,
                "memory_gib": peak_memory(),
                "seconds": seconds,
            }
            if self.main:
                progress.step(step + 1, metrics)
                if (step + 1) % config.save_steps == 0 and step + 1 < len(self.batches):
                    self._checkpoint(step + 1, scorer, optimizer, scheduler, totals)
        progress.close()
        result = TrainingResult(
            arm=config.arm,
            output=config.output,
            fingerprint=self.mark,
            steps=len(self.batches),
            seconds=time.monotonic() - start,
            logical_tokens=totals["logical"],
            unique_tokens=totals["unique"],
            world_size=self.accelerator.num_processes,
            resumed_step=state["step"],
            metrics=metrics,
            warnings=tuple(progress.warnings),
        )
        self._finish(scorer, result)
        return result

    def _policy(self) -> Any:
        config = self.config
        model = load_model(config.model, config.precision, config.lora)
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            if config.lora is not None:
                model.enable_input_require_grads()
        return model

    def _references(self) -> Callable[[Batch], list[np.ndarray] | None]:
        config = self.config
        if not config.loss.reference:
            return lambda batch: None
        sequences = [sequence for batch in self.batches for sequence in batch.sequences]
        weights = model_fingerprint(config.reference_model)

        def scorer() -> TreeScorer:
            self._check_vocabulary()
            model = load_frozen(config.reference_model, config.precision).to(self.device)
            return TreeScorer(model, precision=config.precision)

        def told(done: int, total: int) -> None:
            if total > 1 and (done == total or done % 20 == 0):
                self.log(f"{config.arm}: reference log-probs, row {done}/{total}")

        world = self.accelerator.num_processes
        store = store_of(config.reference_cache, weights, config.precision)
        token_logprobs(store, sequences, scorer, config.row_tokens, (self.accelerator.process_index, world), told)
        if world > 1:
            self.accelerator.wait_for_everyone()
            store = store_of(config.reference_cache, weights, config.precision)
        return lambda batch: token_logprobs(store, batch.sequences, _never, config.row_tokens)

    def _check_vocabulary(self) -> None:
        if self.config.reference_model == self.config.model:
            return
        own, other = self.tokenizer.get_vocab(), load_tokenizer(self.config.reference_model).get_vocab()
        if own != other:
            raise GuardalignError(
                f"{self.config.arm}: policy {self.config.model} and reference {self.config.reference_model} have "
                f"different vocabularies ({len(own)} and {len(other)} tokens)"
            )

    def _embeddings(self) -> Callable[[Batch], Tensor | None]:
        if not self.config.loss.embeddings:
            return lambda batch: None
        from guardalign.training.embeddings import embed

        prompts = [example.prompt for example in self.data.examples]
        vectors = torch.from_numpy(embed(prompts, self.config.reference_cache / "embeddings"))
        return lambda batch: vectors[torch.tensor(batch.examples)]

    def _resume(self, scorer: nn.Module, optimizer: Any, scheduler: Any, progress: Progress) -> dict[str, Any]:
        fresh = {"step": 0, "totals": {"logical": 0, "unique": 0}}
        folder = self.config.output / CHECKPOINTS
        state = checkpoints.latest(folder)
        if state is not None and state["fingerprint"] != self.mark:
            self.log(f"{self.config.arm}: {folder} is of another configuration, data or model; starting over")
            state = None
        if state is None:
            if self.main:
                checkpoints.remove(folder)
                progress.rewind(0)
            self.accelerator.wait_for_everyone()
            return fresh
        checkpoints.restore_trainable_state(scorer, state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        checkpoints.restore_random_state(state["random"])
        if self.main:
            progress.rewind(state["step"])
        self.log(f"{self.config.arm}: going on after step {state['step']}")
        return {"step": state["step"], "totals": state["totals"]}

    def _checkpoint(self, step: int, scorer: nn.Module, optimizer: Any, scheduler: Any, totals: dict) -> None:
        state = {
            "fingerprint": self.mark,
            "step": step,
            "totals": dict(totals),
            "weights": checkpoints.trainable_state(scorer),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "random": checkpoints.random_state(),
        }
        checkpoints.save(self.config.output / CHECKPOINTS, step, state)

    def _check_finite(self, step: int, batch: Batch, output: StepOutput, norm: float) -> None:
        if np.isfinite(output.loss) and np.isfinite(norm):
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

    def _finish(self, scorer: TreeScorer, result: TrainingResult) -> None:
        if self.main:
            save_arm(scorer.model, self.tokenizer, self.config, result, scorer.value_head)
        self.accelerator.wait_for_everyone()


def _optimizer(config: TrainingConfig, trainable: list[nn.Parameter]) -> torch.optim.Optimizer:
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(trainable, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.AdamW(trainable, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _never() -> TreeScorer:
    raise AssertionError("every reference log-prob was computed at the start")
