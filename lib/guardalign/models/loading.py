"""Checkpoints as models: full ones, adapters on a base, quantised ones; and the fingerprint of what was loaded."""

from __future__ import annotations

import json
import logging as standard_logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from guardalign.config.sections import Lora, Precision
from guardalign.errors import GuardalignError, InputError
from guardalign.files import fingerprint, new_folder, resolved, write_text
from guardalign.models import packaged
from guardalign.models.hub import ModelUnavailable, may_run_code, reaching, read_config
from guardalign.world import BASE_MODEL

# A notebook that needs the tokenizer alone does not wait for the models' own modules, 1.5 seconds.
if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Imported on a machine without its optional CPU kernels, bitsandbytes warns in every notebook; its fallback is as good.
standard_logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(standard_logging.ERROR)

_TEXT = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
_WEIGHTS = ("*.safetensors", "*.bin", "config.json", "adapter_config.json", "*.index.json")
RECORD = "training.json"
"""A training's record next to its checkpoint; it holds the fingerprint of the weights."""
AGAIN = "`guardalign run PARAMS --again` recreates what is damaged and keeps the rest"


def is_adapter(path: str) -> bool:
    return (Path(path) / "adapter_config.json").exists()


def adapter_base(path: str) -> str:
    """The base model an adapter folder was trained on."""
    config = json.loads((Path(path) / "adapter_config.json").read_text(encoding="utf-8"))
    return config["base_model_name_or_path"]


def base_model(name: str) -> str:
    """What transformers loads for ``model.name``: a packaged model's folder, a folder, or a name on the hub."""
    if name == "embedded":
        return str(BASE_MODEL)
    if name == packaged.NAME:
        return str(packaged.unpacked())
    folder = resolved(name)
    return str(folder) if folder.is_dir() else name


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub name. Raises ModelUnavailable."""
    with reaching(path):
        return AutoTokenizer.from_pretrained(path, trust_remote_code=may_run_code(path))


def load_model(path: str, precision: Precision = "fp32", lora: Lora | None = None) -> PreTrainedModel:
    """The policy to train (or score with) from a folder or hub name.

    With ``lora``: training continues an adapter folder; a full model gets a new adapter. Without: an adapter is
    merged into its base. Weights are float32 except for ``int8`` and ``nf4``, where bitsandbytes quantises the base.
    Dropout in the model's configuration is switched off. Raises ModelUnavailable.
    """
    if precision in ("int8", "nf4") and lora is None:
        raise GuardalignError(f"precision {precision} trains adapters only: give lora settings")
    model = _load_base(path, precision)
    if is_adapter(path):
        model = on_base(model, path, is_trainable=lora is not None)
        if lora is None:
            model = model.merge_and_unload().requires_grad_(True)
    elif lora is not None:
        model = with_adapter(model, lora)
    return model


def load_frozen(path: str, precision: Precision = "fp32") -> PreTrainedModel:
    """A model to score with, no gradients; an adapter folder is its base with the adapter on it."""
    model = _load_base(path, precision)
    if is_adapter(path):
        model = on_base(model, path)
    return model.eval().requires_grad_(False)


def redrawn(path: str, folder: Path, seed: int) -> str:
    """A model of the same architecture and tokenizer, its weights drawn anew, in a folder of its own below ``folder``.

    With the usual small initial weights such a model finds all tokens about equally likely.
    """
    target = folder / fingerprint(path, seed)
    if not target.exists():
        from transformers import AutoModelForCausalLM

        with new_folder(target) as part, torch.random.fork_rng(devices=[]), without_bars():
            torch.manual_seed(seed)
            AutoModelForCausalLM.from_config(read_config(path)).save_pretrained(part)
            load_tokenizer(path).save_pretrained(part)
    return str(target)


def _load_base(path: str, precision: Precision) -> Any:
    from transformers import AutoModelForCausalLM

    base = adapter_base(path) if is_adapter(path) else path
    with without_bars(), reaching(base):
        model = AutoModelForCausalLM.from_pretrained(base, **_arguments(base, precision))
    if precision in ("int8", "nf4"):
        from peft import prepare_model_for_kbit_training

        # Policy and reference: what is not quantised (norms, embeddings) computes in float32 in both.
        return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model


def merged(path: str, output: Path) -> str:
    """A folder of the whole model of ``path``: an adapter is merged into its base and saved in ``output``."""
    if not is_adapter(path):
        return path
    with without_bars():
        load_model(path).save_pretrained(output)
        load_tokenizer(path).save_pretrained(output)
    return str(output)


def hub_rules(path: str) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` for every kind of model: safetensors only, custom code only where allowed."""
    return {"use_safetensors": True, "trust_remote_code": may_run_code(path)}


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep the progress bars of transformers and datasets out of logs and notebooks."""
    datasets: Any = sys.modules.get("datasets")  # callers that use it have imported it already
    models, tables = logging.is_progress_bar_enabled(), datasets is None or datasets.are_progress_bars_disabled()
    logging.disable_progress_bar()
    if not tables:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if models:
            logging.enable_progress_bar()
        if not tables:
            datasets.enable_progress_bars()


def with_adapter(model: PreTrainedModel, lora: Lora) -> Any:
    from peft import LoraConfig, get_peft_model

    sizes = {"r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout}
    return get_peft_model(model, LoraConfig(**sizes, target_modules=lora.target_modules, task_type="CAUSAL_LM"))


def on_base(model: PreTrainedModel, path: str, is_trainable: bool = False) -> Any:
    """``model`` with the adapter of the folder ``path`` on it. Raises ModelUnavailable."""
    from peft import PeftModel

    if not (Path(path) / "adapter_model.safetensors").exists():
        raise ModelUnavailable(f"{path} holds no adapter_model.safetensors, the only format of adapters that is read")
    return PeftModel.from_pretrained(model, path, is_trainable=is_trainable)


def _arguments(path: str, precision: Precision) -> dict[str, Any]:
    config = read_config(path)
    for name, value in config.to_dict().items():  # architectures name it attention_dropout, resid_pdrop, layerdrop, ...
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    arguments: dict[str, Any] = {"config": config, "dtype": torch.float32} | hub_rules(path)
    if precision in ("int8", "nf4"):
        from transformers import BitsAndBytesConfig

        quantisation = BitsAndBytesConfig(
            load_in_8bit=precision == "int8",
            load_in_4bit=precision == "nf4",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
            bnb_4bit_use_double_quant=True,
        )
        arguments |= {"quantization_config": quantisation, "dtype": torch.bfloat16}
    if torch.cuda.is_available():
        arguments["device_map"] = {"": torch.cuda.current_device()}
    return arguments


def clear_model(folder: Path) -> None:
    """Remove the model that an earlier training left in ``folder``: transformers would also load its adapter."""
    for file in (*_files(folder), folder / "chat_template.jinja"):
        file.unlink(missing_ok=True)
    shutil.rmtree(folder / "value_head", ignore_errors=True)


def drop_weights(folder: Path) -> None:
    """Remove a trained arm's weights; their fingerprint goes into its record, so that its replies stay valid."""
    record = folder / RECORD
    if dropped(folder):
        return
    content = json.loads(record.read_text(encoding="utf-8"))
    write_text(record, json.dumps(content | {"dropped": model_fingerprint(str(folder))}, indent=1) + "\n")
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix in (".safetensors", ".bin", ".pt"):
            path.unlink()


def dropped(folder: Path) -> str | None:
    """The fingerprint of weights that ``drop_weights`` removed; None if it did not."""
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8")).get("dropped")
    except (OSError, ValueError, AttributeError):
        return None


def model_fingerprint(path: str) -> str:
    """Changes with the weights, the architecture, or the adapter's state: hub models by commit, folders by content.

    Raises InputError if a trained arm's folder is damaged: its content differs from what its training recorded.
    """
    folder = Path(path)
    if not folder.is_dir():
        return fingerprint(path, getattr(read_config(path), "_commit_hash", None))
    record = folder / RECORD
    if known := dropped(folder):
        return known
    content = content_of(folder)
    if record.exists():
        try:
            recorded = json.loads(record.read_text(encoding="utf-8")).get("weights", content)
        except (ValueError, AttributeError) as error:
            raise InputError(f"{record} is damaged: {error}; {AGAIN}") from None
        if recorded != content:
            raise InputError(f"{folder} is damaged: its weights are not those that were trained; {AGAIN}")
    return fingerprint(model_fingerprint(adapter_base(path)), *_files(folder)) if is_adapter(path) else content


def content_of(folder: Path) -> str:
    """The fingerprint of a model's own files, an adapter's base left out. Raises InputError if it has none."""
    files = _files(folder)
    if not any(file.suffix in (".safetensors", ".bin") for file in files):
        raise InputError(f"{folder} holds no model weights")
    return fingerprint(*files)


def text_files(path: str | Path) -> list[Path]:
    """What a folder holds besides weights that decides how text becomes tokens and replies end; none of a hub model."""
    return [file for name in _TEXT if (file := Path(path) / name).exists()]


def _files(folder: Path) -> list[Path]:
    return sorted({file for pattern in _WEIGHTS for file in folder.glob(pattern)})
