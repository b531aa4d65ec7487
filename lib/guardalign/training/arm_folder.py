"""A trained arm's folder: writing its checkpoint and record, and recognising a finished one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from guardalign.config.plan import NONE
from guardalign.data.examples import Example
from guardalign.errors import InputError
from guardalign.files import fingerprint, space_for, write_text
from guardalign.models.loading import (
    AGAIN,
    RECORD,
    clear_model,
    content_of,
    model_fingerprint,
    text_files,
    without_bars,
)
from guardalign.training.config import TrainingConfig, TrainingResult

Log = Callable[[str], object]
CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"


def training_fingerprint(config: TrainingConfig, examples: Sequence[Example]) -> str:
    """A fingerprint of what determines the resulting weights: settings, data, tokenizer, initial model, reference."""
    models = [fingerprint(model_fingerprint(config.model), *text_files(config.model))]
    if config.loss.reference:
        models.append(model_fingerprint(config.reference_model) if config.reads_reference else NONE)
    return fingerprint(config.facts(), models, [example.model_dump() for example in examples])


def finished(output: Path, expected: str, log: Log = print) -> TrainingResult | None:
    """The result of an earlier run with the same fingerprint, if the arm's folder ``output`` holds one, whole.

    A damaged one is logged and ignored: the arm is trained again.
    """
    path = output / RECORD
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["fingerprint"] != expected:
            return None
        model_fingerprint(str(output))
        read_metrics(output)
        return TrainingResult(**content["result"]).model_copy(update={"skipped": True, "output": output})
    except InputError as error:
        log(f"{output.name}: WARNING: {error}")
    except (ValueError, KeyError, TypeError) as error:
        log(f"{output.name}: WARNING: {path} is damaged ({type(error).__name__})")
    log(f"{output.name}: training it again")
    return None


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """A training's metrics, one row per step. Raises InputError if the file is not what a finished one wrote."""
    path, record = folder / METRICS, folder / RECORD
    try:
        recorded = json.loads(record.read_text(encoding="utf-8")).get("metrics") if record.exists() else None
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} or {RECORD} next to it is damaged: {error}; {AGAIN}") from None
    if recorded not in (None, fingerprint(path)):
        raise InputError(f"{path} is damaged: its content differs from what training wrote; {AGAIN}")
    return rows


def save_arm(
    model: Any,
    tokenizer: Any,
    config: TrainingConfig,
    result: TrainingResult,
    weights: Mapping[str, Tensor] | None = None,
    value_head: Mapping[str, Tensor] | None = None,
) -> None:
    """The checkpoint in transformers' own format; ``training.json`` last: a folder without it is not finished.

    ``weights`` are those of a model that does not hold all of them itself.
    """
    clear_model(config.output)
    with without_bars(), space_for(config.output):
        model.save_pretrained(config.output, **({"state_dict": dict(weights)} if weights else {}))
        tokenizer.save_pretrained(config.output)
        if value_head:
            (config.output / "value_head").mkdir(exist_ok=True)
            save_file(dict(value_head), config.output / "value_head" / "model.safetensors")
    shutil.rmtree(config.output / CHECKPOINTS, ignore_errors=True)
    record(config.output, result, config=config.model_dump(mode="json"))


def record(output: Path, result: TrainingResult, **facts: Any) -> None:
    """Write ``training.json``: ``facts``, the result, and the content of weights and metrics, for ``finished``."""
    content = facts | {
        "fingerprint": result.fingerprint,
        "result": result.model_dump(mode="json"),
        "weights": content_of(output),
        "metrics": fingerprint(output / METRICS),
    }
    write_text(output / RECORD, json.dumps(content, indent=1) + "\n")
