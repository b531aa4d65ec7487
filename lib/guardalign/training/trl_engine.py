"""``engine: trl``: the same arm on TRL's own trainers, the reference for tests and benchmarks.

With ``batching: pair`` TRL draws its own order, which the tree engine's plan reproduces. With ``conversation``, and for
KTO always (its trainer pairs neighbours of the data set), the data are laid out in the plan's order and read in
sequence; every epoch then repeats the first one's order.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from accelerate import DistributedType, PartialState
from datasets import Dataset, load_from_disk
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from guardalign.data.examples import Example
from guardalign.errors import GuardalignError, Preempted
from guardalign.files import write_text
from guardalign.models.loading import load_frozen, load_model, load_tokenizer, without_bars
from guardalign.processes import Sigterm
from guardalign.training.arm_folder import CHECKPOINTS, Log, save_arm
from guardalign.training.batches import encode_examples, epoch_order
from guardalign.training.config import TrainingConfig, TrainingResult
from guardalign.training.progress import Progress, peak_memory
from guardalign.training.sharding import on_cpu

if TYPE_CHECKING:
    from transformers import Trainer

LOSS_TYPES = {"dpo": "sigmoid", "ipo_mean": "ipo", "hinge": "hinge"}
_NAMES = {
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "logps/chosen": "logps_chosen",
    "logps/rejected": "logps_rejected",
}
_FINGERPRINT = "fingerprint.txt"


def train_with_trl(config: TrainingConfig, examples: Sequence[Example], fingerprint: str, log: Log) -> TrainingResult:
    """Train with TRL's DPO, KTO or SFT trainer. Raises ``GuardalignError`` for a method or option it does not have."""
    _check(config)
    start = time.monotonic()
    tokenizer = load_tokenizer(config.model)
    data = encode_examples(tokenizer, examples, config)
    with PartialState(cpu=on_cpu()).main_process_first():  # files of another configuration are removed once
        resumed = _resume(config, fingerprint, log)
    done = 0 if resumed is None else int(resumed.rpartition("-")[2])
    transformers.set_seed(config.seed)
    with without_bars():
        trainer = build_trainer(config, examples, tokenizer)
    trainer.remove_callback(PrinterCallback)
    progress = Progress(config, 0, log)
    sigterm = Sigterm()
    trainer.add_callback(_Watcher(progress, lambda: _interrupted(trainer, sigterm)))
    progress.rewind(done)
    with without_bars(), sigterm:
        trainer.train(resume_from_checkpoint=resumed)
    if trainer.state.global_step < trainer.state.max_steps:
        step = trainer.state.global_step
        raise Preempted(f"{config.arm}: SIGTERM received, saved after step {step}; rerun to resume")
    epochs = trainer.state.global_step / config.steps_per_epoch(len(examples))
    tokens = round(epochs * sum(len(s.tokens) for s in (*data.chosen, *data.rejected)))
    result = TrainingResult(
        arm=config.arm,
        output=config.output,
        fingerprint=fingerprint,
        steps=trainer.state.global_step,
        seconds=time.monotonic() - start,
        logical_tokens=tokens,
        unique_tokens=tokens,
        world_size=trainer.accelerator.num_processes,
        resumed_step=done,
        metrics=progress.last,
        warnings=tuple(progress.warnings),
    )
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.config.use_cache = True  # switched off for training; the checkpoint is used for generation
    # With these a process holds only part of the weights, and all processes gather them.
    sharded = trainer.accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if sharded else None
    if trainer.accelerator.is_main_process:
        save_arm(model, tokenizer, config, result, weights)
    trainer.accelerator.wait_for_everyone()
    if sigterm.came:
        raise Preempted(f"{config.arm}: SIGTERM received, training had already finished")
    return result


def _check(config: TrainingConfig) -> None:
    if config.method not in (*LOSS_TYPES, "kto", "sft"):
        raise GuardalignError(
            f"{config.arm}: TRL has no {config.method}: engine trl trains {', '.join([*LOSS_TYPES, 'kto', 'sft'])}"
        )
    if config.method == "sft" and config.loss_options.average != "token":
        raise GuardalignError(f"{config.arm}: TRL averages SFT over the batch's tokens: set options.average to token")
    if config.loss.reference and not config.reads_reference:
        raise GuardalignError(f"{config.arm}: TRL needs a reference model: engine tree trains without one")


def build_trainer(config: TrainingConfig, examples: Sequence[Example], tokenizer: Any) -> Trainer:
    """TRL's trainer for the arm, ready to train; the reference's log-probs are computed before the first step."""
    arguments = _arguments(config, len(examples))
    model: Any = load_model(config.model, config.precision, config.lora)
    model.config.use_cache = False
    names = [example.conversation_id for example in examples]
    order = epoch_order(names, config, config.first_epoch) if _laid_out(config) else range(len(examples))
    if config.method == "sft":
        from trl import SFTConfig, SFTTrainer

        rows = _on_disk([{"prompt": examples[i].prompt, "completion": examples[i].chosen} for i in order], config)
        return SFTTrainer(model, SFTConfig(**arguments), train_dataset=rows, processing_class=tokenizer)
    # TRL itself copies the policy (or its adapter) as the reference.
    frozen_self = config.reference_model == config.model
    reference = None if frozen_self else load_frozen(config.reference_model, config.precision)
    arguments |= {"beta": config.beta, "precompute_ref_log_probs": True}
    if config.method == "kto":
        from trl import KTOConfig, KTOTrainer

        weights = {name: getattr(config.loss_options, name) for name in config.loss.options}
        settings: Any = KTOConfig(**arguments, **weights, loss_type="kto")
        singles = [
            {"prompt": e.prompt, "completion": e.rejected if u % 2 else e.chosen, "label": u % 2 == 0}
            for u, e in ((u, examples[u // 2]) for u in order)
        ]
        rows = _on_disk(singles, config)
        return KTOTrainer(model, reference, settings, train_dataset=rows, processing_class=tokenizer)
    from trl import DPOConfig, DPOTrainer

    settings = DPOConfig(**arguments, loss_type=[LOSS_TYPES[config.method]])
    pairs = [{"prompt": e.prompt, "chosen": e.chosen, "rejected": e.rejected} for e in (examples[i] for i in order)]
    return DPOTrainer(model, reference, settings, train_dataset=_on_disk(pairs, config), processing_class=tokenizer)


def _laid_out(config: TrainingConfig) -> bool:
    """Whether TRL reads the data in the plan's order instead of shuffling them itself."""
    return config.batching == "conversation" or config.method == "kto"


def _on_disk(rows: list[dict[str, Any]], config: TrainingConfig) -> Dataset:
    """The rows as a data set in one folder that all processes read.

    TRL's main process leaves the reference's log-probs next to the data for the others. Data in memory have their place
    in a temporary folder, another one in each process.
    """
    folder = config.output / CHECKPOINTS / "data"
    state = PartialState(cpu=on_cpu())
    with state.main_process_first(), without_bars():
        if state.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
            Dataset.from_list(rows).save_to_disk(folder)
        return load_from_disk(folder)


def _arguments(config: TrainingConfig, examples: int) -> dict[str, Any]:
    """TRL's settings for the arm; by default, a process's part of a batch is one forward pass.

    Raises ``GuardalignError`` if a batch cannot be divided evenly.
    """
    processes = PartialState(cpu=on_cpu()).num_processes
    total = config.batch_size * (2 if config.replies == "single" else 1)
    micro = config.trl_micro_batch_size or max(total // processes, 1)
    if total % (micro * processes):
        raise GuardalignError(
            f"{config.arm}: TRL divides a batch evenly: {total} replies or pairs are not a multiple of {processes} "
            f"process(es) times {micro}"
        )
    steps = config.steps or config.epochs * config.steps_per_epoch(examples)
    return {
        "output_dir": str(config.output / CHECKPOINTS),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": total // (micro * processes),
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.epochs,
        "max_steps": config.steps or -1,
        "optim": "adamw_torch" if config.optimizer == "adamw" else config.optimizer,
        "weight_decay": config.weight_decay,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": round(config.warmup_ratio * steps),
        "max_grad_norm": config.max_grad_norm,
        "seed": config.seed + config.first_epoch,  # the sampler adds the epoch
        "max_length": config.max_length,
        "bf16": config.precision != "fp32",
        "gradient_checkpointing": config.gradient_checkpointing,
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": on_cpu(),
        "train_sampling_strategy": "sequential" if _laid_out(config) else "random",
    }


def _resume(config: TrainingConfig, fingerprint: str, log: Log) -> str | None:
    folder = config.output / CHECKPOINTS
    path = folder / _FINGERPRINT
    if path.exists() and path.read_text(encoding="utf-8").strip() != fingerprint:
        log(f"{config.arm}: {folder} is of another configuration, data or model; starting over")
        shutil.rmtree(folder, ignore_errors=True)
    write_text(path, fingerprint)
    last = get_last_checkpoint(str(folder))
    return last if last is not None and (Path(last) / "trainer_state.json").exists() else None


def _interrupted(trainer: Trainer, sigterm: Sigterm) -> bool:
    """Whether any process has received SIGTERM; all processes get the same answer."""
    received = torch.tensor(int(sigterm.came), device=trainer.accelerator.device)
    if not trainer.accelerator.reduce(received):
        return False
    sigterm.saving()
    return True


class _Watcher(TrainerCallback):
    """Forwards TRL's log under this project's names, and ends training once ``interrupted()`` is true."""

    def __init__(self, progress: Progress, interrupted: Callable[[], bool]) -> None:
        self.progress, self.interrupted = progress, interrupted

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.interrupted() and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        metrics = {_NAMES.get(name, name): float(value) for name, value in logs.items()}
        self.progress.total = state.max_steps
        self.progress.step(state.global_step, metrics | {"memory_gib": peak_memory()})
