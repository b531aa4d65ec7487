"""YAML files that people write, read so that nothing in them is lost or taken for something else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from guardalign.errors import ParameterError

MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """YAML whose keys are unique and whose aliases do not expand to more than fits into memory."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"with its aliases written out it holds more than {MOST_VALUES:,} values")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node expands to; infinitely many if it contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        inner = [each for part in parts for each in (part if isinstance(part, tuple) else (part,))]
        known[id(node)] = 1 + sum(_size(each, known) for each in inner)
    return known[id(node)]


def read_mapping(path: Path | str) -> dict[Any, Any]:
    """A YAML file's mapping; UTF-8 or UTF-16, with or without a BOM. Raises ParameterError naming the file, and the
    line if there is one."""
    try:
        content = yaml.load(Path(path).read_bytes(), _Loader)
    except OSError as error:
        raise ParameterError(f"{path}: {error.strerror}") from None
    except RecursionError:
        raise ParameterError(f"{path} is not readable YAML: too deeply nested") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise ParameterError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path} has no sections; compare params/embedded.yaml")
    return content
