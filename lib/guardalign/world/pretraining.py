"""The embedded base model: a tokenizer and a small Mistral, trained from scratch on the embedded world's text.

The base has to speak the world fluently and follow guardrails *sometimes*, or no method could move it in either
direction. What it *can* do it learns from agents who keep nearly every guardrail; what it *tends* to do it learns last,
from careless ones who keep each kind of guardrail with a chance of its own (`habits`).
"""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.optim.lr_scheduler import LambdaLR
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from guardalign.config.sections import Phase, Pretraining
from guardalign.data.construction import format_prompt
from guardalign.data.conversations import Conversation
from guardalign.errors import GuardalignError
from guardalign.files import fingerprint, write_text
from guardalign.world import BASE_MODEL
from guardalign.world.domains import DOMAINS
from guardalign.world.induction import lay_induction_circuit
from guardalign.world.kinds import KINDS
from guardalign.world.scripts import write_script

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
IGNORED = -100
WINDOW = 16
MADE = "pretraining.json"
MOST_BYTES = 12e6
Log = Callable[[dict[str, float]], None]


def habits(config: Pretraining) -> dict[str, float]:
    """For each kind of guardrail, the chance that an agent in the pretraining text keeps it at a turn."""
    rng = random.Random(f"{config.seed}/habits")
    return {kind.key: rng.uniform(config.habit_low, config.habit_high) for kind in KINDS}


def pretraining_conversations(config: Pretraining, phase: int = 0) -> Iterator[Conversation]:
    """The corpus of a phase, one conversation after the other; its seeds are never used for any split of the data."""
    part, names = config.phases[phase], list(DOMAINS)
    kept = habits(config) if part.kept is None else {kind.key: part.kept for kind in KINDS}
    corpus_name = "pretraining" if phase == 0 else f"pretraining/{phase}"
    for number in range(part.documents):
        yield write_script(
            f"{config.seed}/{corpus_name}/{number}", DOMAINS[names[number % len(names)]], habits=kept
        ).conversation


def corpus() -> Iterator[Conversation]:
    """The corpus of the packaged base model's last phase."""
    config = Pretraining.model_validate(json.loads((BASE_MODEL / MADE).read_text(encoding="utf-8"))["pretraining"])
    return pretraining_conversations(config, len(config.phases) - 1)


def train_tokenizer(config: Pretraining, sample: int = 3000) -> PreTrainedTokenizerFast:
    """Byte-level BPE on a sample of the corpus; digits are separate tokens so that numbers can be copied."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = islice(pretraining_conversations(config), sample)
    tokenizer.train_from_iterator((format_prompt(each.guardrails, each.turns) for each in corpus), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD)


def new_model(config: Pretraining, tokenizer: PreTrainedTokenizerFast) -> MistralForCausalLM:
    """A Mistral with random weights, embeddings tied, and the beginnings of copying in its first two layers."""
    torch.manual_seed(config.seed)
    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            intermediate_size=config.intermediate,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            max_position_embeddings=4096,
            sliding_window=None,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    lay_induction_circuit(model, config.seed)
    return model


def encode_document(
    conversation: Conversation, tokenizer: PreTrainedTokenizerFast, context_weight: float
) -> tuple[list[int], list[int], list[float]]:
    """Token ids, targets and loss weights of one conversation, each of length T.

    The target behind an agent's reply is EOS although a user turn follows in the text: the model learns where a reply
    ends, and is never asked to write the user's part. Replies weigh 1, everything else ``context_weight``.
    """
    ids: list[int] = tokenizer(format_prompt(conversation.guardrails, conversation.turns[:1]))["input_ids"]
    targets = [*ids[1:], IGNORED]
    weights = [context_weight] * len(ids)
    for index in range(1, len(conversation.turns), 2):
        reply = tokenizer(f" {conversation.turns[index].text}", add_special_tokens=False)["input_ids"]
        targets[-1], weights[-1] = reply[0], 1.0
        ids += reply
        targets += [*reply[1:], tokenizer.eos_token_id]
        weights += [1.0] * len(reply)
        if index + 1 < len(conversation.turns):
            following = tokenizer(f"\nUser: {conversation.turns[index + 1].text}\nAgent:", add_special_tokens=False)
            ids += following["input_ids"]
            targets += [*following["input_ids"][1:], IGNORED]
            weights += [context_weight] * len(following["input_ids"])
    return ids, targets, weights


def _batches(config: Pretraining, phase: int, tokenizer: PreTrainedTokenizerFast) -> Iterator[list[torch.Tensor]]:
    """Right-padded batches; a window of 16 batches is sorted by length so that little is padding."""
    window: list[tuple[list[int], list[int], list[float]]] = []
    size = config.phases[phase].documents_per_step
    rng = random.Random(f"{config.seed}/order" if phase == 0 else f"{config.seed}/order/{phase}")
    fillers = (tokenizer.pad_token_id, IGNORED, 0.0)
    for conversation in pretraining_conversations(config, phase):
        window.append(encode_document(conversation, tokenizer, config.context_weight))
        if len(window) == WINDOW * size:
            window.sort(key=lambda document: len(document[0]))
            groups = [window[at : at + size] for at in range(0, len(window), size)]
            rng.shuffle(groups)
            for group in groups:
                columns = zip(zip(*group, strict=True), fillers, strict=True)  # ids, targets, weights
                yield [pad_sequence([*map(torch.tensor, column)], True, filler) for column, filler in columns]
            window = []


def echoes(
    count: int, vocabulary: int, generator: torch.Generator, length: int = 192
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and targets, both (count, length): random tokens that repeat themselves from some position on.

    The first round cannot be predicted and has no target. Repetition is what makes a small model learn to copy early
    (Olsson et al. 2022, "In-context Learning and Induction Heads", arXiv 2209.11895).
    """
    ids = torch.empty(count, length, dtype=torch.long)
    targets = torch.full((count, length), IGNORED)
    for row in range(count):
        period = int(torch.randint(8, length // 2, (1,), generator=generator))
        once = torch.randint(len((BOS, EOS, PAD)), vocabulary, (period,), generator=generator)
        ids[row] = once.repeat(length // period + 1)[:length]
        targets[row, period:-1] = ids[row, period + 1 :]
    return ids, targets


def _losses(model: MistralForCausalLM, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Loss of every token that has a target, in order."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = model.model(input_ids=ids).last_hidden_state
        logits = model.lm_head(hidden[targets != IGNORED])
    return functional.cross_entropy(logits.float(), targets[targets != IGNORED], reduction="none")


def _optimizers(model: MistralForCausalLM, part: Phase) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the rest: fewer steps to the same loss than AdamW for all of them."""
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    taken = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in taken]
    return [
        torch.optim.Muon(matrices, lr=part.learning_rate, weight_decay=0.05),
        torch.optim.AdamW(rest, lr=part.embedding_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(warmup: int, steps: int, step: int) -> float:
    """Factor on the learning rate at ``step`` of ``steps``: a linear rise, then half a cosine down to 2 %."""
    return min(1.0, (step + 1) / max(warmup, 1)) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _train_phase(
    config: Pretraining, phase: int, model: MistralForCausalLM, tokenizer: PreTrainedTokenizerFast, log: Log
) -> list[dict[str, float]]:
    part, device = config.phases[phase], model.device
    steps = part.documents // (WINDOW * part.documents_per_step) * WINDOW
    if not steps:
        raise GuardalignError(
            f"a phase needs {WINDOW * part.documents_per_step} documents or more, not {part.documents}"
        )
    optimizers = _optimizers(model, part)
    schedules = [LambdaLR(optimizer, partial(_rate, part.warmup_steps, steps)) for optimizer in optimizers]
    chance = torch.Generator().manual_seed(config.seed)
    rows, started, tokens = [], time.monotonic(), 0
    for step, batch in enumerate(_batches(config, phase, tokenizer), 1):
        ids, targets, weights = (part_.to(device) for part_ in batch)
        losses, weight = _losses(model, ids, targets), weights[targets != IGNORED]
        loss = (losses * weight).sum() / weight.sum()
        loss.backward()
        facts = {"phase": phase + 1, "step": step, "loss": loss.item(), "reply_loss": losses[weight == 1].mean().item()}
        if part.echoes_per_step:
            echoed = _losses(
                model, *(rows_.to(device) for rows_ in echoes(part.echoes_per_step, len(tokenizer), chance))
            ).mean()
            (0.5 * echoed).backward()
            facts["echo_loss"] = echoed.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        model.zero_grad()
        tokens += ids.numel()
        if step % 20 == 0 or step == steps:
            rows.append(facts | {"tokens": tokens, "seconds": time.monotonic() - started})
            log(rows[-1])
    return rows


def _phase_fingerprint(config: Pretraining, phase: int) -> str:
    """Fingerprint of everything that decides the weights after a phase: habits only where its text has them."""
    parts = config.phases[: phase + 1]
    careless = habits(config) if any(part.kept is None for part in parts) else None
    return fingerprint(config.model_dump(exclude={"phases", "habit_low", "habit_high"}), parts, careless)


def pretrain(config: Pretraining, output: Path, log: Log = print) -> list[dict[str, float]]:
    """Train tokenizer and model, write both to ``output`` (bf16 safetensors), return the loss curve's rows.

    Every phase begins with the bf16 weights of the previous one in ``output/phase-<n>``, and one that exists
    already is not trained again.
    """
    tokenizer = train_tokenizer(config)
    curve: list[dict[str, float]] = []
    for phase in range(len(config.phases)):
        folder, before = output / f"phase-{phase + 1}", output / f"phase-{phase}"
        expected = _phase_fingerprint(config, phase)
        record = json.loads((folder / MADE).read_text(encoding="utf-8")) if (folder / MADE).exists() else {}
        if record.get("mark") != expected:
            model = new_model(config, tokenizer) if phase == 0 else MistralForCausalLM.from_pretrained(before)
            model = model.float()
            if torch.cuda.is_available():
                model.cuda()
            rows = _train_phase(config, phase, model, tokenizer, log)
            model.bfloat16().save_pretrained(folder)
            record = {"mark": expected, "curve": rows}
            write_text(folder / MADE, json.dumps(record) + "\n")
        curve += record["curve"]
    shutil.copytree(folder, output, dirs_exist_ok=True)
    tokenizer.save_pretrained(output)
    facts = {"pretraining": config.model_dump(), "habits": habits(config), "curve": curve}
    write_text(output / MADE, json.dumps(facts, indent=1) + "\n")
    return curve


def install(folder: Path) -> Path:
    """Replace the base model shipped with the package by the one in ``folder``; return its new path.

    Raises GuardalignError if the folder holds no base model, or one larger than the repository should carry.
    """
    weights = folder / "model.safetensors"
    if not (folder / MADE).exists() or not weights.exists():
        raise GuardalignError(f"{folder} holds no base model: notebooks/00_embedded_base_model.ipynb makes one")
    if weights.stat().st_size > MOST_BYTES:
        raise GuardalignError(f"{weights} has {weights.stat().st_size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}")
    shutil.copytree(folder, BASE_MODEL, dirs_exist_ok=True, ignore=shutil.ignore_patterns("phase-*"))
    return BASE_MODEL
