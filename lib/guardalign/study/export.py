"""``guardalign export RUN ARM DEST [--merge]``: an arm as a folder for other programs.

An adapter stays one (peft's format, with its base's name or path; ``vllm serve`` takes it by ``--lora-modules``), or is
merged into its base; a fully trained arm is a plain checkpoint in any case. A server's chat interface must show an arm
the prompts that it was trained on: one of a run with ``model.prompt: chat`` keeps its own chat template, any other gets
one that passes the message through unchanged.
"""

from __future__ import annotations

import json
import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from guardalign.errors import ParameterError
from guardalign.files import RunFolder, new_folder, write_text
from guardalign.generation.replies import load_policy
from guardalign.models.encoding import encode_prompt
from guardalign.models.loading import RECORD, adapter_base, is_adapter, load_tokenizer, model_fingerprint, without_bars

ADAPTER = "adapter_model.safetensors"


def export(model_dir: str | Path, destination: Path, merge: bool = False, prompt: str = "plain") -> Path:
    """Write the model at ``model_dir`` (a checkpoint, an adapter's folder, a hub name) to ``destination``, float32.

    ``prompt`` is that of ``sections.Model``, which the model was trained with. The folder appears whole or not at all.
    Raises ParameterError if it exists already.
    """
    if destination.exists():
        raise ParameterError(f"{destination} already exists: choose another folder, or remove it")
    with new_folder(destination) as part:
        _write(str(model_dir), part, merge, prompt)
    return destination


def _write(model_dir: str, folder: Path, merge: bool, prompt: str) -> None:
    if is_adapter(model_dir) and not merge:
        shutil.copy(Path(model_dir) / ADAPTER, folder / ADAPTER)
        facts = json.loads((Path(model_dir) / "adapter_config.json").read_text(encoding="utf-8"))
        base = adapter_base(model_dir)
        facts["base_model_name_or_path"] = str(Path(base).resolve()) if Path(base).is_dir() else base
        write_text(folder / "adapter_config.json", json.dumps(facts, indent=2) + "\n")
    else:
        with without_bars():
            load_policy(model_dir, "fp32").model.save_pretrained(folder)
    tokenizer = load_tokenizer(model_dir)
    if prompt == "plain":
        tokenizer.chat_template = plain_template(tokenizer)
    tokenizer.save_pretrained(folder)


def plain_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """A chat template that passes a message through unchanged, after a BOS if the tokenizer adds one."""
    starts_with_bos = encode_prompt(tokenizer, "a")[0] == tokenizer.bos_token_id
    bos = "{{ bos_token }}" if starts_with_bos else ""
    return bos + "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("run", help="the run's name, or its folder")
    parser.add_argument("arm", help="an arm of the run, such as M_1SFT_ipo")
    parser.add_argument("destination", type=Path, help="the folder to make")
    parser.add_argument("--merge", action="store_true", help="merge an adapter into its base")
    arguments = parser.parse_args(argv)
    here = Path(arguments.run)
    run = RunFolder(here) if (here / "models").is_dir() else RunFolder.named(arguments.run)
    folder = run.model(arguments.arm)
    if not (folder / RECORD).exists():
        known = ", ".join(sorted(each.parent.name for each in folder.parent.glob(f"*/{RECORD}"))) or "none"
        raise ParameterError(f"{folder} holds no trained arm; this run has {known}")
    model_fingerprint(str(folder))  # raises if the arm is damaged
    export(folder, arguments.destination, arguments.merge, _prompt_of(run))
    print(f"Written: {arguments.destination}")


def _prompt_of(run: RunFolder) -> str:
    """``model.prompt`` of the run, as its stages recorded it."""
    recorded = [stage.get("parameters", {}).get("model", {}) for stage in run.facts.values()]
    return next((model["prompt"] for model in recorded if "prompt" in model), "plain")
