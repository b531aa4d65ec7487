"""The source notebooks: no outputs, one parameters cell that shows the embedded profile, short cells, no shell."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from guardalign.config import params
from guardalign.config.notebooks import failure, literal, profile, refresh, shown_parameters, values_for
from guardalign.errors import ParameterError
from series import NAMES, ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAGIC = re.compile(r"^%(matplotlib inline|config InlineBackend\.\w+ = .+)$")


def cells(path: Path, kind: str = "code"):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def test_the_series_is_complete():
    assert {path.stem for path in NOTEBOOKS} >= set(NAMES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestEveryNotebook:
    def test_is_valid_and_kept_without_outputs(self, path):
        nbformat.validate(json.loads(path.read_text(encoding="utf-8")))
        assert not any(cell.outputs or cell.execution_count for cell in cells(path))

    def test_shows_its_profile_in_one_parameters_cell(self, path):
        """Compared as the sections read them, so that 2e-6 equals the text that YAML makes of it."""
        shown, whole = shown_parameters(path), yaml.safe_load(profile(path).read_text())
        known = values_for(path, whole)
        if isinstance(shown.get("study"), str):
            known["study"] = whole["study"]
        read = params.read(shown).sections()
        assert {name: read[name] for name in known} == params.read(known).sections()

    def test_opens_with_question_needs_makes_and_time(self, path):
        first = cells(path, "markdown")[0].source
        assert first.startswith("# ")
        for word in ("Question", "Needs", "Makes", "Takes"):
            assert f"**{word}" in first, word

    def test_has_short_cells_without_definitions_or_shell_commands(self, path):
        sources = [cell.source for cell in cells(path)]
        given = [cell.source for cell in cells(path) if "parameters" in cell.metadata.get("tags", [])]
        assert max(len(source.splitlines()) for source in sources if source not in given) <= 30
        assert median(len(source.splitlines()) for source in sources) <= 10
        for source in sources:
            assert not re.search(r"^\s*(def|class) ", source, re.M), source
            assert "os.system" not in source and "subprocess" not in source
            magics = [line for line in source.splitlines() if re.match(r"\s*[!%]", line)]
            assert all(MAGIC.match(line) for line in magics), magics


def test_refreshing_restores_parameters_and_drops_outputs(tmp_path):
    source = (ROOT / "notebooks" / "02_sft.ipynb").read_text()
    path = tmp_path / "02_sft.ipynb"
    content = nbformat.reads(source, as_version=4)
    for cell in content.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = 'run = "other"\n' + cell.source.split("\n", 1)[1]
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="seen")], 3
    nbformat.write(content, path)
    values = {name: params.read(shown_parameters(path)).section(name) for name in shown_parameters(path)}
    assert refresh(path, values | {"run": "embedded"})
    assert shown_parameters(path)["run"] == "embedded"
    assert not any(cell.outputs or cell.execution_count for cell in cells(path))
    assert not refresh(path, values | {"run": "embedded"})


def test_literals_are_python_and_come_back():
    value = {"a": {"rate": 2e-06, "many": list(range(40))}, "b": "it's", "c": None, "d": True}
    text = literal(value)
    assert eval(text) == value and max(map(len, text.splitlines())) < 180
    assert literal({"a": 1}) == '{"a": 1}'


def test_a_notebook_without_a_parameters_cell_is_refused(tmp_path):
    path = tmp_path / "bare.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")]), path)
    with pytest.raises(ParameterError, match="0 cells"):
        shown_parameters(path)
    assert failure(path) is None and failure(tmp_path / "absent.ipynb") is None


def test_a_notebook_runs_twice_in_one_kernel(tmp_path):
    notebook = nbformat.read(ROOT / "notebooks" / "01_dataset_construction.ipynb", as_version=4)
    counts = {"train": 3, "feedback": 2, "test": 2, "transfer": 1}
    notebook.cells[1].source += f"\nrun = {str(tmp_path / 'run')!r}\nsource['conversations'] = {counts}"
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "notebooks")}})
    with client.setup_kernel():
        for _ in range(2):
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            pairs = (tmp_path / "run" / "data" / "pairs.jsonl").read_bytes()
            assert len({json.loads(line)["split"] for line in pairs.splitlines()}) == 4
