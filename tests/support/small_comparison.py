"""The comparison of methods at a small size: one task, one seed, from the model that ships with the project."""

from __future__ import annotations

from pathlib import Path

import yaml

from guardalign.config.params import Params
from series import ROOT

TASK = "instructions"
TRAIN, TEST, BATCH = 32, 16, 8


def small(root: Path, study: dict[str, object] | None = None, **changes: object) -> Params:
    content = yaml.safe_load((ROOT / "params" / "comparison.yaml").read_text(encoding="utf-8"))
    content["run"] = str(root)
    content["training"]["batch_size"] = BATCH
    content["study"] |= {"tasks": [TASK], "seeds": [1], "workers": 1, "tuning": None}
    content["study"]["arms"]["sft"]["epochs"] = 2
    content["study"]["arms"]["rlhf"] |= {
        "steps": 2, "options": {"reward_learning_rate": 2e-4, "prompts": 4, "generations": 2}
    }  # fmt: skip
    content["study"] |= study or {}
    content["tasks"] = {
        "sources": {TASK: {"kind": "twin"}}, "train": TRAIN, "validation": 16, "test": TEST
    } | changes  # fmt: skip
    path = root / "params.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return Params.load(path)
