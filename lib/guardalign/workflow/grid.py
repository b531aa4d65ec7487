"""A grid of parameters over a base file: which points it has, in which folder each lies, and each one's parameters.

``params/sweeps/*.yaml``::

    base: params/embedded.yaml
    run: rates                                   # the folder under outputs/; default: the file's name
    grid:
      seed: [1, 2, 3]
      study.arms.M_1SFT_ipo.learning_rate: [5e-5, 1e-4]      # a dotted key and its values
      model:                                     # or names and their values, for what is no plain value
        small: {name: embedded, max_length: 1024}

A point lies in ``outputs/<run>/<setting>``; where seeds vary they are folders ``seed-<n>`` within their setting, which
the report reads as one run of several training seeds.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, Field, ValidationError

from guardalign.config.params import Params
from guardalign.config.reading import read_mapping
from guardalign.config.sections import Section
from guardalign.errors import ParameterError
from guardalign.files import RunFolder, first_error, project_root, write_text

SEED = "seed"


class SweepFile(Section):
    """What a file under ``params/sweeps/`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    run: str | None = None
    grid: dict[str, list[Any] | dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True)
class Point:
    """One run of a grid. ``values`` are the axes' names for this point by dotted key, the seed among them."""

    run: str
    setting: str
    values: dict[str, str]
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """Its folder below the grid's: ``<setting>/seed-<n>``, as far as it has them."""
        seed = f"seed-{self.content[SEED]}" if SEED in self.values else ""
        return "/".join(filter(None, (self.setting, seed)))

    @property
    def folder(self) -> RunFolder:
        return RunFolder.named(f"{self.run}/{self.name}")

    @property
    def whole(self) -> RunFolder:
        """The folder of all its setting's seeds; its own where the seed does not vary."""
        return RunFolder.named(f"{self.run}/{self.setting}" if self.setting else self.run)

    def write(self) -> Path:
        """Put ``params.yaml`` into its folder, where it does not stand there already, and return its path."""
        path = self.folder.root / "params.yaml"
        text = yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
        return path


def read_sweep(path: Path) -> tuple[str, list[Point]]:
    """The run's name and every point of a sweep file. Raises ParameterError naming the file and what is wrong in it."""
    try:
        sweep = SweepFile.model_validate(read_mapping(path))
    except ValidationError as error:
        raise ParameterError(f"{path} is no sweep (base, run, grid): {first_error(error)}") from None
    run = sweep.run or path.stem
    return run, points(project_root() / sweep.base, run, sweep.grid)


def points(base: Path, run: str, grid: Mapping[str, Sequence[Any] | Mapping[str, Any]]) -> list[Point]:
    """Every combination of the grid's values, settings in the order given, a setting's seeds one after the other.

    ``grid``: a dotted key and its plain values, or its values by name. Each point's parameters are checked.
    Raises ParameterError.
    """
    Params.load(base)
    content = read_mapping(base)
    axes = {key: _named(key, values) for key, values in grid.items()}
    _refuse_overlap(list(axes))
    ordered = [*(key for key in axes if key != SEED), *(key for key in axes if key == SEED)]
    found = []
    for names in itertools.product(*(axes[key] for key in ordered)):
        chosen = dict(zip(ordered, names, strict=True))
        setting = "_".join(f"{key}-{_plain(name)}" for key, name in chosen.items() if key != SEED)
        changed = copy.deepcopy(content)
        for key, name in chosen.items():
            _put(changed, key, axes[key][name])
        point = Point(run, setting, chosen, changed)
        point.content["run"] = f"{run}/{point.name}" if point.name else run
        Params.checked(point.content, f"{run}, {point.name}: ")
        found.append(point)
    return found


def _named(key: str, values: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """The values of one axis by name: a plain value is its own name."""
    if key == "run":
        raise ParameterError("grid: every point has its own `run`; it cannot be varied")
    if not isinstance(values, Mapping):
        if any(isinstance(value, dict | list) for value in values):
            raise ParameterError(f"grid: give the values of `{key}` names, as in {key}: {{small: …, large: …}}")
        values = {str(value): value for value in values}
    if not values:
        raise ParameterError(f"grid: `{key}` has no values")
    named = {str(name): value for name, value in values.items()}
    if len({_plain(name) for name in named}) < len(named):
        raise ParameterError(f"grid: two values of `{key}` would share a folder; give them names of letters and digits")
    return named


def _plain(name: str) -> str:
    """A name as part of a folder's."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)


def _refuse_overlap(keys: Sequence[str]) -> None:
    for one, other in itertools.permutations(keys, 2):
        if other.startswith(f"{one}."):
            raise ParameterError(f"grid: `{other}` lies within `{one}`: vary one of them")


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; sections on the way that are absent are made."""
    *parents, last = key.split(".")
    for parent in parents:
        if content.get(parent) is None:
            content[parent] = {}
        content = content[parent]
        if not isinstance(content, dict):
            raise ParameterError(f"grid: `{key}` leads through `{parent}`, which is no section")
    content[last] = value
