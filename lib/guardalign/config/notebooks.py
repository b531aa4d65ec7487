"""The parts of a notebook file that are read: its parameters cell, and the error an executed one ended with.

``python -m guardalign.config.notebooks`` updates the source notebooks: the parameters cells show the values of
``params/embedded.yaml``, or of the notebook's own file in ``params/questions``, and no outputs are kept.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from guardalign.config.plan import NOTEBOOKS, TUNING, narrowed
from guardalign.errors import ParameterError
from guardalign.files import project_root, write_text


def shown_parameters(notebook: Path) -> dict[str, Any]:
    """The sections of the cell tagged ``parameters`` with their values, in order.

    Raises ParameterError if there is not exactly one such cell, or if it does anything but assign.
    """
    # Read as JSON: Snakemake does it for every stage, and nbformat takes a second to import.
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ParameterError(f"{notebook} has {len(tagged)} cells tagged `parameters`; expected one")
    shown: dict[str, Any] = {}
    for statement in ast.parse(tagged[0]).body:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            raise ParameterError(f"{notebook}: the parameters cell may only assign sections")
        shown[statement.targets[0].id] = ast.literal_eval(statement.value)
    return shown


def values_for(notebook: Path, sections: Mapping[str, Any]) -> dict[str, Any]:
    """What a notebook is given: the sections that it shows, of ``study`` the arms of its stage and those they need."""
    values = {name: sections[name] for name in shown_parameters(notebook) if name in sections}
    stage = next((stage for stage, name in NOTEBOOKS.items() if name == notebook.stem), None)
    if "study" in values and stage:
        values["study"] = narrowed(values["study"], stage)
    elif "study" in values and notebook.stem != TUNING:
        values["study"] = {key: value for key, value in values["study"].items() if key != "tuning"}
    return values


def profile(notebook: Path) -> Path:
    """The parameter file whose values a source notebook shows."""
    folder = notebook.parent.parent / "params"
    specific = folder / "questions" / f"{notebook.stem}.yaml"
    return specific if specific.exists() else folder / "embedded.yaml"


def failure(executed: Path) -> str | None:
    """The error an executed notebook ended with, as ``Name: message``; None if no cell failed."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (FileNotFoundError, json.JSONDecodeError):  # not begun, or papermill was killed as it wrote it
        return None
    outputs = (output for cell in cells for output in cell.get("outputs", []))
    errors = (output for output in outputs if output["output_type"] == "error")
    return next((f"{error['ename']}: {error['evalue']}" for error in errors), None)


def refresh(notebook: Path, sections: dict[str, Any]) -> bool:
    """Show the values of ``sections`` in the parameters cell and drop all outputs; True if that changed the file.

    A cell that shows something of its own keeps it, and so does one whose plan is the path of a file.
    """
    import nbformat  # takes a second

    before = notebook.read_text(encoding="utf-8")
    content = nbformat.reads(before, as_version=4)
    shown, values = shown_parameters(notebook), values_for(notebook, sections)
    if isinstance(shown.get("study"), str):
        values["study"] = shown["study"]
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if "parameters" in cell.metadata.get("tags", []) and shown.keys() <= values.keys():
            cell.source = "\n".join(f"{name} = {literal(values[name])}" for name in shown)
    after = nbformat.writes(content) + "\n"
    if after != before:
        write_text(notebook, after)
    return after != before


def literal(value: Any, indent: int = 0, width: int = 96) -> str:
    """A value as Python source: on one line if it fits, else one key or item per line."""
    line = _on_one_line(value)
    if not isinstance(value, dict | list) or len(line) + indent <= width:
        return line
    inner = " " * (indent + 4)
    if isinstance(value, list):
        body = "".join(f"{inner}{literal(part, indent + 4)},\n" for part in value)
        return "[\n" + body + " " * indent + "]"
    body = "".join(f'{inner}"{key}": {literal(part, indent + 4)},\n' for key, part in value.items())
    return "{\n" + body + " " * indent + "}"


def _on_one_line(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(map(_on_one_line, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_on_one_line(key)}: {_on_one_line(part)}" for key, part in value.items()) + "}"
    return repr(value)


def main() -> int:
    root = project_root()
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        values = yaml.safe_load(profile(notebook).read_text(encoding="utf-8"))
        if refresh(notebook, {name: _numbers(part) for name, part in values.items()}):
            print(f"{notebook.relative_to(root)} updated")
    return 0


def _numbers(value: Any) -> Any:
    """``2e-6``, which YAML reads as text, as the number it is."""
    if isinstance(value, dict):
        return {key: _numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


if __name__ == "__main__":
    sys.exit(main())
