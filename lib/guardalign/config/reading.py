"""YAML files that people write, read so that nothing in them is lost or taken for something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from guardalign.errors import ParameterError


class _Loader(yaml.SafeLoader):
    """YAML whose keys are unique."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


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
