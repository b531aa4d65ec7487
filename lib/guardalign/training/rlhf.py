"""RLHF, which the direct methods replace: a Bradley–Terry reward model, then online policy optimisation against it.

Both through TRL: RewardTrainer (paper B's eq. 2), then RLOO (Ahmadian et al. 2024) or GRPO (Shao et al. 2024) with a KL
penalty against the SFT model (paper B's eq. 3).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase, PrinterCallback

from guardalign.config.plan import Rlhf
from guardalign.data.examples import Example
from guardalign.files import fingerprint, write_rows
from guardalign.models.encoding import encode, encode_prompt
from guardalign.models.loading import (
    clear_model,
    hub_rules,
    load_tokenizer,
    merged,
    model_fingerprint,
    without_bars,
)
from guardalign.training.arm_folder import METRICS, finished, record
from guardalign.training.batches import rejected_of
from guardalign.training.config import TrainingResult
from guardalign.training.progress import peak_memory

BATCH_SIZE = 64
"""Texts that are rewarded at once."""


class RewardModel:
    """A scalar per text: the reward of prompt and reply, read at the last token that is not the padding token (EOS if
    the reply is finished, unless the tokenizer pads with EOS)."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = load_tokenizer(str(folder))
        with without_bars():
            self.model = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, **hub_rules(str(folder))
            ).eval()
        if torch.cuda.is_available():
            self.model.cuda()

    @torch.no_grad()
    def scores(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """The rewards (n,) of token rows, prompt and reply together."""
        found: list[float] = []
        for at in range(0, len(rows), BATCH_SIZE):
            tokens = [torch.tensor(list(row)) for row in rows[at : at + BATCH_SIZE]]
            ids = pad_sequence(tokens, batch_first=True, padding_value=float(self.model.config.pad_token_id))
            mask = pad_sequence([torch.ones_like(each) for each in tokens], batch_first=True)
            device = self.model.device
            output = self.model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
            found += output.logits[:, 0].float().tolist()
        return found

    def accuracy(self, examples: Sequence[Example]) -> float:
        """Share of the pairs whose chosen reply gets the higher reward; ties count half. NaN without pairs."""
        pairs = [each for each in examples if each.rejected is not None]
        if not pairs:
            return float("nan")
        chosen, rejected = (self.scores(rows) for rows in _both(self.tokenizer, pairs))
        return float(np.mean(0.5 + 0.5 * np.sign(np.subtract(chosen, rejected))))


def _both(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> tuple[list[list[int]], list[list[int]]]:
    """Token rows of the chosen and of the rejected replies. Raises InputError for an example without the latter."""
    prompts, names = [each.prompt for each in examples], [each.id for each in examples]
    chosen = encode(tokenizer, prompts, [each.chosen for each in examples], names=names)
    rejected = encode(tokenizer, prompts, rejected_of(examples), names=names)
    return [each.tokens.tolist() for each in chosen], [each.tokens.tolist() for each in rejected]


def train_reward(
    settings: Rlhf, start: str, examples: Sequence[Example], output: Path, batch_size: int, seed: int = 0
) -> None:
    """A reward model from the SFT model ``start``: -log sigmoid(r(chosen) - r(rejected)) over the pairs."""
    from trl import RewardConfig, RewardTrainer

    start = merged(start, output / "start")
    tokenizer = load_tokenizer(start)
    torch.manual_seed(seed)
    with without_bars():
        model = AutoModelForSequenceClassification.from_pretrained(
            start, num_labels=1, dtype=torch.float32, **hub_rules(start)
        )
        model.config.pad_token_id = tokenizer.pad_token_id
        chosen, rejected = _both(tokenizer, examples)
        trainer = RewardTrainer(
            model,
            RewardConfig(
                **_common(output / "trainer", settings.reward_learning_rate, seed),
                per_device_train_batch_size=batch_size,
                num_train_epochs=settings.reward_epochs,
                max_length=None,
            ),
            train_dataset=Dataset.from_dict({"chosen_ids": chosen, "rejected_ids": rejected}),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(str(output))
    tokenizer.save_pretrained(output)


def train_policy(
    settings: Rlhf,
    start: str,
    reward: Path,
    prompts: Sequence[str],
    output: Path,
    max_new_tokens: int,
    seed: int = 0,
) -> list[dict[str, float]]:
    """RLOO or GRPO from the SFT model ``start`` against the reward model, replies sampled from the policy itself.

    Returns TRL's log, one row per step: reward, kl, entropy, length of completions and more.
    """
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    start = merged(start, output / "start")
    judge, tokenizer = RewardModel(reward), load_tokenizer(start)

    def rewards(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        rows = [[*encode_prompt(tokenizer, p), *ids] for p, ids in zip(prompts, completion_ids, strict=True)]
        return [*judge.scores(rows)]

    kinds: dict[str, Any] = {"rloo": (RLOOConfig, RLOOTrainer), "grpo": (GRPOConfig, GRPOTrainer)}
    config_type, trainer_type = kinds[settings.trainer]
    with without_bars():
        trainer = trainer_type(
            model=start,
            reward_funcs=rewards,
            args=config_type(
                **_common(output / "trainer", settings.learning_rate, seed),
                per_device_train_batch_size=settings.prompts * settings.generations,
                num_generations=settings.generations,
                max_steps=settings.steps,
                max_completion_length=max_new_tokens,
                beta=settings.beta,
                temperature=settings.temperature,
                model_init_kwargs={"dtype": "float32"} | hub_rules(start),
            ),
            train_dataset=Dataset.from_dict({"prompt": list(prompts)}),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        clear_model(output)
        trainer.save_model(str(output))
    tokenizer.save_pretrained(output)
    return [
        {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
        for row in trainer.state.log_history
        if "reward" in row
    ]


def train_online(
    name: str,
    settings: Rlhf,
    start: str,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    output: Path,
    batch_size: int,
    max_new_tokens: int,
    seed: int,
) -> TrainingResult:
    """The arm ``name``: ``train_reward``, then ``train_policy`` against it; an earlier result of the same is kept.

    The result's ``metrics`` are the reward model's accuracy on ``held_out``, seconds of both parts, replies drawn
    (generated token by token, besides the passes), and replies scored per pair of ``examples``: a drawn reply goes
    through policy, reference and reward model, a pair's two replies train the reward model.
    """
    asked = (settings, model_fingerprint(start), list(examples), list(held_out), batch_size, max_new_tokens, seed)
    arm_fingerprint = fingerprint(*asked)
    if done := finished(output, arm_fingerprint):
        return done
    reward, prompts = output / "reward_model", [each.prompt for each in examples]
    began = time.monotonic()
    train_reward(settings, start, examples, reward, batch_size, seed)
    reward_seconds = time.monotonic() - began
    accuracy = RewardModel(reward).accuracy(held_out)
    began = time.monotonic()
    history = train_policy(settings, start, reward, prompts, output, max_new_tokens, seed)
    policy_seconds = time.monotonic() - began
    drawn = settings.steps * settings.prompts * settings.generations
    passes = drawn / len(examples)
    metrics = {
        "reward_accuracy": accuracy,
        "reward_seconds": reward_seconds,
        "policy_seconds": policy_seconds,
        "replies_drawn": drawn,
        "policy_passes": passes,
        "reference_passes": passes if settings.beta else 0.0,
        "reward_passes": 2 * settings.reward_epochs + passes,
    }
    write_rows(output / METRICS, [row | {"memory_gib": peak_memory()} for row in history])
    result = TrainingResult(
        arm=name, output=output, fingerprint=arm_fingerprint, steps=settings.steps,
        seconds=reward_seconds + policy_seconds, metrics=metrics,
    )  # fmt: skip
    record(output, result)
    return result


def _common(folder: Path, rate: float, seed: int) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "learning_rate": rate,
        "seed": seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": not torch.cuda.is_available(),
    }
