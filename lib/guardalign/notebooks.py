"""What stands in a notebook file: its parameters cell, and the error an executed one ended with."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat

from guardalign.errors import ParameterError


def parameters_source(notebook: Path) -> str:
    """The source of the cell tagged ``parameters``. Raises ParameterError where there is not exactly one."""
    content = nbformat.read(notebook, as_version=4)
    tagged = [cell.source for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ParameterError(f"{notebook} has {len(tagged)} cells tagged `parameters`; one is wanted")
    return tagged[0]


def shown_parameters(notebook: Path) -> dict[str, Any]:
    """The sections of the parameters cell with their values, in order."""
    shown: dict[str, Any] = {}
    for statement in ast.parse(parameters_source(notebook)).body:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            raise ParameterError(f"{notebook}: the parameters cell may only assign sections")
        shown[statement.targets[0].id] = ast.literal_eval(statement.value)
    return shown


def failure(executed: Path) -> str | None:
    """The error an executed notebook ended with, as ``Name: message``; None where no cell failed."""
    if not executed.exists():
        return None
    for cell in nbformat.read(executed, as_version=4).cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"{output.ename}: {output.evalue}"
    return None
