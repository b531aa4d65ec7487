"""An arm's folder: when it counts as finished, and how its checkpoint is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guardalign.data.examples import Example
from guardalign.files import fingerprint, write_text
from guardalign.models.loading import model_fingerprint, without_bars
from guardalign.training import checkpoints
from guardalign.training.config import TrainingConfig, TrainingResult
from guardalign.training.ending import naming_full_disk

Log = Callable[[str], object]
RESULT = "training.json"
CHECKPOINTS = "checkpoints"


def training_fingerprint(config: TrainingConfig, examples: Sequence[Example]) -> str:
    """What decides the weights that come out: settings, data, initial model and reference."""
    models = [model_fingerprint(config.model)]
    if config.loss.reference:
        models.append(model_fingerprint(config.reference_model))
    return fingerprint(config.facts(), models, [example.model_dump() for example in examples])


def finished(config: TrainingConfig, mark: str) -> TrainingResult | None:
    """The result of an earlier run with the same fingerprint, if the output folder holds one."""
    path = config.output / RESULT
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["fingerprint"] != mark:
        return None
    return TrainingResult(**content["result"]).model_copy(update={"skipped": True, "output": config.output})


def save_arm(
    model: Any,
    tokenizer: Any,
    config: TrainingConfig,
    result: TrainingResult,
    weights: Mapping[str, Tensor] | None = None,
    value_head: Mapping[str, Tensor] | None = None,
) -> None:
    """The checkpoint in transformers' own format; ``training.json`` last: a folder without it is not finished.

    ``weights`` are the model's where it does not hold all of them itself.
    """
    with without_bars(), naming_full_disk(config.output):
        model.save_pretrained(config.output, **({"state_dict": dict(weights)} if weights else {}))
        tokenizer.save_pretrained(config.output)
        if value_head:
            torch.save(dict(value_head), config.output / "value_head.pt")
    checkpoints.remove(config.output / CHECKPOINTS)
    content = {
        "config": config.model_dump(mode="json"),
        "fingerprint": result.fingerprint,
        "result": result.model_dump(mode="json"),
    }
    write_text(config.output / RESULT, json.dumps(content, indent=1) + "\n")
