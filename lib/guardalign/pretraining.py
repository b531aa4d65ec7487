"""The embedded base model: a tokenizer and a small Mistral, trained from scratch on the embedded world's text.

The base has to speak the world fluently and follow guardrails *sometimes*, or no method could move it in either
direction. So the agents it learns from keep each kind of guardrail with a chance of its own (`habits`).
"""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from guardalign.construction import format_prompt
from guardalign.conversations import Conversation
from guardalign.errors import GuardalignError
from guardalign.files import write_text
from guardalign.sections import Pretraining
from guardalign.world import BASE_MODEL
from guardalign.world.domains import DOMAINS
from guardalign.world.kinds import KINDS
from guardalign.world.scripts import write_script

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
IGNORED = -100
MADE = "pretraining.json"
MOST_BYTES = 12e6


def habits(config: Pretraining) -> dict[str, float]:
    """For each kind of guardrail, the chance that an agent in the pretraining text keeps it at a turn."""
    rng = random.Random(f"{config.seed}/habits")
    return {kind.key: rng.uniform(config.habit_low, config.habit_high) for kind in KINDS}


def pretraining_conversations(config: Pretraining) -> Iterator[Conversation]:
    """The corpus, one conversation after the other; its seeds are never used for training, feedback or test data."""
    kept, names = habits(config), list(DOMAINS)
    for number in range(config.documents):
        seed = f"{config.seed}/pretraining/{number}"
        yield write_script(seed, DOMAINS[names[number % len(names)]], habits=kept).conversation


def train_tokenizer(config: Pretraining, sample: int = 3000) -> PreTrainedTokenizerFast:
    """Byte-level BPE on a sample of the corpus; digits stand alone so that numbers can be copied."""
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
    head = config.model_copy(update={"documents": sample})
    tokenizer.train_from_iterator(
        (format_prompt(each.guardrails, each.turns) for each in pretraining_conversations(head)), trainer
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD)


def new_model(config: Pretraining, tokenizer: PreTrainedTokenizerFast) -> MistralForCausalLM:
    """A Mistral with random weights, embeddings tied."""
    torch.manual_seed(config.seed)
    return MistralForCausalLM(
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


def encode_document(
    conversation: Conversation, tokenizer: PreTrainedTokenizerFast, context_weight: float
) -> tuple[list[int], list[int], list[float]]:
    """Token ids, targets and loss weights of one conversation, each of length T.

    The target behind an agent's reply is EOS although the text goes on with the user: the model learns where a reply
    ends, and is never asked to write the user's part. Replies weigh 1, everything else ``context_weight``.
    """
    ids: list[int] = tokenizer(format_prompt(conversation.guardrails, conversation.turns[:1]))["input_ids"]
    targets = [*ids[1:], IGNORED]
    weights = [context_weight] * len(ids)
    for place in range(1, len(conversation.turns), 2):
        reply = tokenizer(f" {conversation.turns[place].text}", add_special_tokens=False)["input_ids"]
        targets[-1], weights[-1] = reply[0], 1.0
        ids += reply
        targets += [*reply[1:], tokenizer.eos_token_id]
        weights += [1.0] * len(reply)
        if place + 1 < len(conversation.turns):
            following = tokenizer(f"\nUser: {conversation.turns[place + 1].text}\nAgent:", add_special_tokens=False)
            ids += following["input_ids"]
            targets += [*following["input_ids"][1:], IGNORED]
            weights += [context_weight] * len(following["input_ids"])
    return ids, targets, weights


def _batches(config: Pretraining, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[torch.Tensor, ...]]:
    """Right-padded batches; a window of 16 batches is sorted by length so that little is padding."""
    window: list[tuple[list[int], list[int], list[float]]] = []
    rng = random.Random(f"{config.seed}/order")
    for conversation in pretraining_conversations(config):
        window.append(encode_document(conversation, tokenizer, config.context_weight))
        if len(window) == 16 * config.documents_per_step:
            window.sort(key=lambda document: len(document[0]))
            groups = [
                window[at : at + config.documents_per_step] for at in range(0, len(window), config.documents_per_step)
            ]
            rng.shuffle(groups)
            for group in groups:
                yield tuple(
                    torch.nn.utils.rnn.pad_sequence(
                        [torch.tensor(document[part]) for document in group], batch_first=True, padding_value=filler
                    )
                    for part, filler in ((0, tokenizer.pad_token_id), (1, IGNORED), (2, 0.0))
                )
            window = []


def pretrain(
    config: Pretraining, output: Path, log: Callable[[dict[str, float]], None] = print
) -> list[dict[str, float]]:
    """Train tokenizer and model, write both to ``output`` (bf16 safetensors), return the loss curve's rows."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = train_tokenizer(config)
    model = new_model(config, tokenizer)
    if device.type == "cuda":
        model.cuda()
    steps = config.documents // (16 * config.documents_per_step) * 16
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)

    def rate(step: int) -> float:
        warm = min(1.0, (step + 1) / config.warmup_steps)
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    rows, started, tokens = [], time.monotonic(), 0
    for step, batch in enumerate(_batches(config, tokenizer), 1):
        ids, targets, weights = (part.to(device) for part in batch)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = model.model(input_ids=ids).last_hidden_state
            wanted = targets != IGNORED
            logits = model.lm_head(hidden[wanted])
        losses = functional.cross_entropy(logits.float(), targets[wanted], reduction="none")
        weight = weights[wanted]
        loss = (losses * weight).sum() / weight.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens += ids.numel()
        if step % 20 == 0 or step == steps:
            reply = losses[weight == 1.0].mean().item()
            seconds = time.monotonic() - started
            rows.append({"step": step, "loss": loss.item(), "reply_loss": reply, "tokens": tokens, "seconds": seconds})
            log(rows[-1])
    output.mkdir(parents=True, exist_ok=True)
    model.bfloat16().save_pretrained(output)
    tokenizer.save_pretrained(output)
    facts = {"pretraining": config.model_dump(), "habits": habits(config), "curve": rows}
    write_text(output / MADE, json.dumps(facts, indent=1) + "\n")
    return rows


def install(folder: Path) -> Path:
    """Put a base model trained into ``folder`` in place of the one that ships with the package; return its new place.

    Raises GuardalignError where the folder holds no base model, or one larger than the repository should carry.
    """
    weights = folder / "model.safetensors"
    if not (folder / MADE).exists() or not weights.exists():
        raise GuardalignError(f"{folder} holds no base model: notebooks/00_embedded_base_model.ipynb makes one")
    if weights.stat().st_size > MOST_BYTES:
        raise GuardalignError(f"{weights} has {weights.stat().st_size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}")
    shutil.copytree(folder, BASE_MODEL, dirs_exist_ok=True)
    return BASE_MODEL
