"""Training and generation as processes of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from guardalign.errors import ParameterError
from guardalign.files import project_root


def accelerate_config(kind: str) -> Path:
    """The accelerate configuration of a kind, or ``kind`` itself if it is a file."""
    folder = project_root() / "params" / "accelerate"
    path = Path(kind) if Path(kind).is_file() else folder / f"{kind}.yaml"
    if not path.exists():
        known = ", ".join(["none", *sorted(file.stem for file in folder.glob("*.yaml"))])
        raise ParameterError(f"launch.kind: unknown kind {kind!r}: expected one of {known}")
    return path


def launch_settings(config: Path) -> dict[str, Any]:
    """What an accelerate configuration holds. Raises ParameterError if it cannot be read or names no processes."""
    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))
        return settings | {"num_processes": int(settings["num_processes"])}
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise ParameterError(
            f"launch.kind: {config} is no accelerate configuration with num_processes ({type(error).__name__}): "
            "`accelerate config --config_file FILE` writes one"
        ) from None


def gpus(launch: Mapping[str, Any], shown: Collection[str]) -> int:
    """How many GPUs a stage that shows the sections ``shown`` takes: those of the launch where it trains, one where it
    answers only. Kind ``none`` takes a GPU if it sees one and claims none."""
    if launch["kind"] == "none" or not {"training", "generation"} & set(shown):
        return 0
    settings = launch_settings(accelerate_config(launch["kind"]))
    if settings.get("use_cpu"):
        return 0
    return settings["num_processes"] if "launch" in shown else 1
