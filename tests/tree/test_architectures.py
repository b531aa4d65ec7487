"""The tree against transformers' own forward pass for small random models of many architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from guardalign.tree import TokenSequence, TreeError, TreeScorer, tree_row

VOCABULARY = 60
SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
WINDOW = {"sliding_window": 32, "use_sliding_window": True, "layer_types": ["sliding_attention", "full_attention"]}
MIXTURE = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
          "first_k_dense_replace": 2, "head_dim": 4, "num_key_value_heads": 4}  # fmt: skip
ARCHITECTURES = {
    "mistral": {}, "llama": {}, "qwen2": {}, "qwen3": WINDOW, "gemma": {}, "gemma3_text": WINDOW, "smollm3": WINDOW,
    "phi3": {}, "olmo2": {}, "gpt_neox": {}, "gpt2": {"n_positions": 128}, "granite": {}, "cohere": {},
    "mixtral": MIXTURE, "deepseek_v3": LATENT, "starcoder2": {}, "opt": {"word_embed_proj_dim": 32},
}  # fmt: skip
STOPPED = {
    "gemma2": ({}, "softcap"),
    "gpt_oss": (MIXTURE, "s_aux"),
    "mamba": ({}, "state"),
    "falcon_h1": ({}, "state"),
    "lfm2": ({"layer_types": ["conv", "full_attention"]}, "conv"),
    "llama4_text": ({"layer_types": ["chunked_attention", "full_attention"]}, "chunked_attention"),
    "bloom": ({}, "interface"),
}


def random_model(kind: str, **settings: object) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SHAPE | settings)).eval()
    for weight in model.parameters():  # biases and gains too, which start at 0 and 1
        torch.nn.init.normal_(weight, 1.0 if weight.dim() == 1 else 0.0, 0.2)
    return model


def sequences(length: int = 24) -> list[TokenSequence]:
    """Two conversations of two pairs: replies that branch off at once and later, and one that another continues."""
    draw = np.random.default_rng(0)
    made = []
    for _ in range(2):
        stem = draw.integers(3, VOCABULARY, length - 8)
        for depth in (len(stem) - 5, len(stem)):
            first, second = draw.integers(3, VOCABULARY, (2, 8))
            second[:2] = first[:2]
            made += [TokenSequence(np.concatenate([stem[:depth], reply]), depth) for reply in (first, second)]
    return [*made, TokenSequence(made[0].tokens[:-3], made[0].start)]


def row_by_row(model: PreTrainedModel, sequences: list[TokenSequence]) -> torch.Tensor:
    """Completion log-probs (T,), one sequence after the other, each a plain causal row."""
    found = []
    for each in sequences:
        tokens = torch.from_numpy(each.tokens)
        log_probs = model(tokens[None], use_cache=False).logits[0].log_softmax(-1)
        positions = torch.arange(each.start, len(tokens))
        found.append(log_probs[positions - 1, tokens[positions]])
    return torch.cat(found)


def with_gradients(model: PreTrainedModel, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    (scores * torch.linspace(-1, 2, len(scores))).sum().backward()
    flat = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
    model.zero_grad(set_to_none=True)
    return scores.detach(), flat


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_scores_and_gradients_equal_row_by_row(kind):
    model = random_model(kind, **ARCHITECTURES[kind])
    expected = with_gradients(model, row_by_row(model, sequences()))
    row = tree_row(sequences())
    assert row.unique_tokens < row.logical_tokens / 2
    scorer = TreeScorer(model, block=16)
    found = with_gradients(model, scorer(row).policy)
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).norm()) <= 1e-4 * float(b.norm())
    torch.testing.assert_close(row_by_row(model, sequences()), expected[0])  # the model itself still works as before


@pytest.mark.parametrize("kind", STOPPED)
def test_what_cannot_follow_a_tree_is_refused_by_name(kind):
    settings, reason = STOPPED[kind]
    model = random_model(kind, **settings)
    with pytest.raises(TreeError, match=reason) as refused:
        TreeScorer(model)(tree_row(sequences()))
    assert "\n" not in str(refused.value)


def test_an_encoder_decoder_is_refused():
    model = AutoModelForSeq2SeqLM.from_config(
        AutoConfig.for_model("t5", vocab_size=60, d_model=16, d_ff=16, num_layers=1)
    )
    with pytest.raises(TreeError, match="encoder-decoder"):
        TreeScorer(model)


@pytest.mark.parametrize("kind", ["mistral", "qwen3", "gemma3_text", "smollm3", "phimoe"])
def test_a_sequence_beyond_the_sliding_window_is_refused(kind):
    scorer = TreeScorer(random_model(kind, **(MIXTURE if kind == "phimoe" else WINDOW)))
    scorer.model.config.sliding_window = 32
    scorer(tree_row(sequences(32)))
    with pytest.raises(TreeError, match="window"):
        scorer(tree_row(sequences(33)))


def test_positions_that_change_with_the_longest_sequence_are_refused_beyond_their_first_length():
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
            "factor": 4.0}  # fmt: skip
    model = random_model("phi3", rope_parameters=rope, original_max_position_embeddings=30)
    scorer = TreeScorer(model)
    torch.testing.assert_close(scorer(tree_row(sequences(30))).policy, row_by_row(model, sequences(30)))
    with pytest.raises(TreeError, match="longrope"):
        scorer(tree_row(sequences(31)))


def test_a_model_that_follows_trees_still_generates():
    model = random_model("llama")
    prompts, mask = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 10]]), torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    arguments = {
        "input_ids": prompts,
        "attention_mask": mask,
        "max_new_tokens": 6,
        "do_sample": False,
        "eos_token_id": None,
    }
    expected = model.generate(**arguments)
    TreeScorer(model)(tree_row(sequences()))
    assert torch.equal(model.generate(**arguments), expected)
