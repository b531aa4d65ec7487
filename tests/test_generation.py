from __future__ import annotations

import random

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from guardalign.construction import format_prompt
from guardalign.conversations import PreferencePair, Turn
from guardalign.decoding import (
    Sampler,
    decode_plain,
    decode_shared,
    plan_trunks,
)
from guardalign.generation import (
    GenerationSettings,
    encode_prompt,
    generate,
    load_policy,
)

WORDS = ("order", "parcel", "refund", "please", "thanks", "number", "account", "hello", "sorry", "invoice", "late")


def make_pairs(conversations: int, points: int, seed: int = 0) -> list[PreferencePair]:
    rng = random.Random(seed)

    def say(low: int, high: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(low, high))) + "."

    pairs = []
    for number in range(conversations):
        guardrails = tuple(say(3, 9) for _ in range(rng.randint(1, 3)))
        turns: list[Turn] = []
        for point in range(rng.randint(1, points)):
            turns.append(Turn(role="user", text=say(2, 9)))
            chosen = say(2, 9)
            pairs.append(
                PreferencePair(
                    id=f"c{number}-{point}",
                    conversation_id=f"c{number}",
                    turns=tuple(turns),
                    chosen=chosen,
                    rejected="no",
                    guardrails=guardrails,
                )
            )
            turns.append(Turn(role="agent", text=chosen))
    return pairs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A random two-layer Mistral whose weights are wide enough that greedy replies vary, and some end by themselves."""
    folder = tmp_path_factory.mktemp("tiny")
    pairs = make_pairs(20, 4, seed=9)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([format_prompt(p.guardrails, p.turns) + " " + p.chosen for p in pairs], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, sliding_window=None, initializer_range=0.4,
        bos_token_id=0, eos_token_id=1, pad_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    model = MistralForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[1] *= 1.6  # the end token comes up now and then
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def policy(checkpoint):
    return load_policy(checkpoint)


def texts(replies):
    return [(reply.pair_id, reply.text, reply.tokens, reply.finished) for reply in replies]


def greedy_by_hand(model, prompt: list[int], limit: int, stop) -> tuple[list[int], bool]:
    """One prompt, no cache, no batch: the definition of greedy decoding."""
    ids = list(prompt)
    for _ in range(limit):
        token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if token in stop:
            return ids[len(prompt) :], True
        ids.append(token)
    return ids[len(prompt) :], False


def test_both_paths_give_the_tokens_of_greedy_decoding_one_by_one(policy):
    pairs = make_pairs(7, 4)
    prompts = [encode_prompt(policy.tokenizer, format_prompt(p.guardrails, p.turns)) for p in pairs]
    with torch.inference_mode():
        expected = [greedy_by_hand(policy.model, prompt, 24, policy.stop) for prompt in prompts]
    assert {True, False} == {finished for _, finished in expected}, "the case must hold both kinds of ending"
    trunks = plan_trunks(prompts, [p.conversation_id for p in pairs])
    shared = decode_shared(policy.model, trunks, 24, policy.stop, Sampler())
    plain = decode_plain(policy.model, dict(enumerate(prompts)), 24, policy.stop, Sampler())
    for index, (tokens, finished) in enumerate(expected):
        assert (list(shared[index].tokens), shared[index].finished) == (tokens, finished)
        assert (list(plain[index].tokens), plain[index].finished) == (tokens, finished)


def test_a_reply_does_not_depend_on_batches_or_the_path(checkpoint, tmp_path):
    pairs = make_pairs(6, 4)
    for temperature in (0.0, 0.9):
        made = {
            name: texts(
                generate(
                    checkpoint,
                    pairs,
                    "arm",
                    GenerationSettings(max_new_tokens=16, temperature=temperature, **options),
                    tmp_path / f"{name}{temperature}.jsonl",
                )
            )
            for name, options in {
                "shared": {"batch_size": 64},
                "small": {"batch_size": 1},
                "plain": {"prefix_sharing": False, "batch_size": 5},
            }.items()
        }
        assert made["shared"] == made["small"] == made["plain"]
        assert len({text for _, text, _, _ in made["shared"]}) > len(pairs) / 2
