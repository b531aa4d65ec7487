"""Rows from the hub or from local files, through `datasets` and without loading scripts (datasets 4 runs none)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from guardalign.data.examples import Example
from guardalign.errors import InputError

BUILDERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}


def read(source: str, split: str = "train", data_dir: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a local file (JSON, JSON lines, CSV or Parquet, gzipped or not) or of a hub data set's ``split``.

    ``source`` may also be a file on the hub (``hf://datasets/<owner>/<name>/<file>``). Raises InputError if there is
    no such source or it cannot be read.
    """
    path = Path(source)
    try:
        if path.exists() or source.startswith("hf://"):
            suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
            if suffix not in BUILDERS:
                raise InputError(f"{path}: unknown file type, expected {', '.join(BUILDERS)}")
            rows = datasets.load_dataset(BUILDERS[suffix], data_files=source, split="train", streaming=True)
        else:
            rows = datasets.load_dataset(source, data_dir=data_dir, split=split, streaming=True)
        yield from rows
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(f"{source}: {error}") from error


def texts(row: dict[str, Any], number: int, *columns: str) -> list[str]:
    """The named columns as text; None counts as empty. Raises InputError naming a column that is not there."""
    missing = [column for column in columns if column not in row]
    if missing:
        raise InputError(f"row {number} has no `{missing[0]}`; it has {', '.join(map(str, row))}")
    return [str(row[column] or "") for column in columns]


def pair(name: str, prompt: str, chosen: str, rejected: str) -> Example | None:
    """An example; None if a reply is empty or both are the same."""
    chosen, rejected = chosen.strip(), rejected.strip()
    if not chosen or not rejected or chosen == rejected:
        return None
    return Example(id=name, conversation_id=name, prompt=prompt, chosen=f" {chosen}", rejected=f" {rejected}")
