"""A tokenizer and a model with random weights, small enough for a test, and conversations for them."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from guardalign.data.construction import format_prompt
from guardalign.data.conversations import Turn
from guardalign.data.examples import Example
from guardalign.models.loading import without_bars

WORDS = ("order", "parcel", "refund", "please", "thanks", "number", "account", "hello", "sorry", "invoice", "late")
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
FAMILIES = {
    "mistral": (MistralConfig, MistralForCausalLM, {"tie_word_embeddings": True}),
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 8}),
}


def make_examples(conversations: int, points: int, seed: int = 0) -> list[Example]:
    """Conversations whose history holds the chosen replies, with rejected replies of their own."""
    rng = random.Random(seed)

    def say(low: int, high: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(low, high))) + "."

    examples = []
    for number in range(conversations):
        guardrails = tuple(say(3, 9) for _ in range(2))
        turns: list[Turn] = []
        for point in range(points):
            turns.append(Turn(role="user", text=say(2, 6)))
            chosen, rejected = say(2, 7), say(2, 7)
            prompt = format_prompt(guardrails, turns)
            examples.append(
                Example(
                    id=f"c{number}-{point}",
                    conversation_id=f"c{number}",
                    prompt=prompt,
                    chosen=f" {chosen}",
                    rejected=f" {rejected}",
                )
            )
            turns.append(Turn(role="agent", text=chosen))
    return examples


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE that puts one BOS in front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    texts = [e.prompt + e.chosen for e in make_examples(20, 3, seed=9)]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


def make_model(
    family: str = "mistral", vocabulary: int = 360, seed: int = 0, scale: float = 0.1, **shape: int
) -> PreTrainedModel:
    """Random weights wide enough that log-probs differ from token to token."""
    config_type, model_type, extra = FAMILIES[family]
    torch.manual_seed(seed)
    config = config_type(
        vocab_size=vocabulary, initializer_range=scale, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        **SHAPE | extra | shape,
    )  # fmt: skip
    return model_type(config)


def save_checkpoint(folder: Path, seed: int = 0, family: str = "mistral", **shape: int) -> Path:
    tokenizer = make_tokenizer()
    with without_bars():
        make_model(family, len(tokenizer), seed, **shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
