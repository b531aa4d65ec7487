"""Rows from the hub or from local files, through `datasets` and without loading scripts (datasets 4 runs none)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets

from guardalign.data.examples import Example
from guardalign.errors import InputError

BUILDERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
IDENTICAL = "identical replies"
EMPTY = "an empty reply"


@dataclass(frozen=True)
class Loaded:
    """Usable examples, and how many rows were set aside for which reason."""

    examples: list[Example]
    set_aside: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return len(self.examples) + self.set_aside.total()


def read(source: str, split: str = "train", data_dir: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a local file (JSON, JSON lines, CSV or Parquet, gzipped or not) or of a hub data set's ``split``.

    ``source`` may also be a file on the hub (``hf://datasets/<owner>/<name>/<file>``). Raises InputError if there is
    no such source or it cannot be read.
    """
    path = Path(source)
    try:
        if path.exists() or source.startswith("hf://"):
            rows = datasets.load_dataset(_builder(path), data_files=source, split="train", streaming=True)
        else:
            rows = datasets.load_dataset(source, data_dir=data_dir, split=split, streaming=True)
        yield from rows
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(f"{source}: {error}") from error


def _builder(path: Path) -> str:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    name = BUILDERS.get(suffixes[-1] if suffixes else "")
    if name is None:
        raise InputError(f"{path}: unknown file type, expected {', '.join(BUILDERS)}")
    return name


def texts(row: dict[str, Any], number: int, *columns: str) -> list[str]:
    """The named columns as text; None counts as empty. Raises InputError naming a column that is not there."""
    missing = [column for column in columns if column not in row]
    if missing:
        raise InputError(f"row {number} has no `{missing[0]}`; it has {', '.join(map(str, row))}")
    return [str(row[column] or "") for column in columns]


def pair(name: str, prompt: str, chosen: str, rejected: str) -> Example | str:
    """An example, or why there is none."""
    chosen, rejected = chosen.strip(), rejected.strip()
    if not chosen or not rejected:
        return EMPTY
    if chosen == rejected:
        return IDENTICAL
    return Example(id=name, conversation_id=name, prompt=prompt, chosen=f" {chosen}", rejected=f" {rejected}")


def sorted_out(found: Iterable[Example | str], limit: int | None = None) -> Loaded:
    """Examples, and counts of the reasons why others were left out; at most ``limit`` examples are read."""
    examples: list[Example] = []
    reasons: Counter[str] = Counter()
    for each in found:
        if isinstance(each, str):
            reasons[each] += 1
        else:
            examples.append(each)
            if len(examples) == limit:
                break
    return Loaded(examples, reasons)
