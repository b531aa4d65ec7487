"""Layout of a run's folder, and atomic writes: a file appears whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from guardalign.errors import ForeignRun, GuardalignError, InputError, MissingStage

Model = TypeVar("Model", bound=BaseModel)
CHANGE_NO_RESULT = frozenset({"launch", "report"})
VERSIONED = ("torch", "transformers", "trl", "peft", "numpy", "datasets", "papermill", "snakemake")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path next to ``path`` to write to, and rename it to ``path`` if the block succeeds.

    Raises GuardalignError if the disk is full; nothing half-written is left behind in any case.
    """
    with space_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        part = Path(name)
        try:
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.chmod(0o644)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, and rename it to ``folder`` if the block succeeds.

    If another process was faster, its folder stays. Raises GuardalignError if the disk is full.
    """
    with space_for(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as around:
            part = Path(around) / folder.name
            part.mkdir()
            yield part
            try:
                part.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise


@contextmanager
def space_for(path: Path) -> Iterator[None]:
    """Turn the errors of the system, torch and safetensors on a full disk into one GuardalignError."""
    try:
        yield
    except GuardalignError:
        raise
    except Exception as error:
        numbers = {getattr(each, "errno", None) for each in (error, error.__context__)}
        if numbers & {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} or f"os error {errno.ENOSPC}" in str(error):
            raise GuardalignError(
                f"The disk is full: {path} could not be written. Free some space and run again."
            ) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with plain newlines."""
    with replacing(Path(path)) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)


def write_rows(path: Path, rows: Iterable[BaseModel | dict[str, Any]]) -> None:
    """Write one JSON object per line, and the file's checksum (``vouch``).

    The old checksum is removed before the file is replaced: a checksum is never next to other content.
    """
    path = Path(path)
    with replacing(path) as part:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            for row in rows:
                stream.write(json_line(row) + "\n")
        _seal(path).unlink(missing_ok=True)
    vouch(path)


def vouch(path: Path) -> None:
    """Write a file's checksum into ``<path>.sha256``, for ``intact`` and ``sha256sum -c``."""
    write_text(_seal(path), f"{_checksum(path)}  {path.name}\n")


def intact(path: Path) -> bool:
    """Whether a file is as it was written; True if it has no checksum."""
    seal = _seal(path)
    return not seal.exists() or seal.read_text(encoding="utf-8", errors="replace").split(" ")[0] == _checksum(path)


def damaged(root: Path) -> list[Path]:
    """The JSONL files below ``root`` that are not as they were written."""
    paths = (seal.with_suffix("") for seal in sorted(root.rglob("*.jsonl.sha256")))
    return [path for path in paths if path.exists() and not intact(path)]


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_line(row: BaseModel | dict[str, Any]) -> str:
    """One row as written to a JSONL file."""
    return row.model_dump_json() if isinstance(row, BaseModel) else json.dumps(row, ensure_ascii=False)


def read_rows(path: Path, model: type[Model]) -> list[Model]:
    """Read a JSONL file that the project wrote.

    Raises InputError with file and line if a row is not a ``model``, and if the file differs from what was written.
    """
    path = Path(path)
    if not intact(path):
        raise InputError(
            f"{path} is damaged or was edited: its checksum differs. Run the notebook that makes it again, "
            f"or delete {_seal(path).name} to read it as it is."
        )
    rows = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                rows.append(model.model_validate_json(line.removeprefix(b"\xef\xbb\xbf")))
            except ValidationError as error:
                raise InputError(f"{path}, line {number} is not a {model.__name__}: {first_error(error)}") from None
    return rows


def first_error(error: ValidationError) -> str:
    """The first of a pydantic error's errors, in one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def fingerprint(*parts: Any) -> str:
    """16 hex digits of SHA-256 over the parts: a Path counts with its content, anything else as canonical JSON."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in _bytes(part):
            digest.update(piece)
        digest.update(b"\x00")
    return digest.hexdigest()[:16]


def _bytes(part: Any) -> Iterator[bytes]:
    if isinstance(part, Path):
        files = sorted(path for path in part.rglob("*") if path.is_file()) if part.is_dir() else [part]
        for path in files:
            yield path.relative_to(part).as_posix().encode()
            with path.open("rb") as stream:
                yield from iter(lambda: stream.read(1 << 20), b"")
    else:
        yield json.dumps(part, sort_keys=True, ensure_ascii=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no fingerprint")


def project_root() -> Path:
    """The folder that holds ``notebooks/``, ``params/`` and ``outputs/``: the checkout, else the working folder."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "Snakefile").exists() else Path.cwd()


def resolved(path: str) -> Path:
    """A path of the parameters: absolute, or relative to the project's folder."""
    return Path(path) if Path(path).is_absolute() else project_root() / path


def require(path: Path, notebook: str) -> Path:
    """Return ``path`` if it exists. Raises MissingStage, which names the notebook that makes it, otherwise."""
    if not Path(path).exists():
        raise MissingStage(f"{path} is missing: notebooks/{notebook}.ipynb makes it. Run that first, same parameters.")
    return Path(path)


@dataclass(frozen=True)
class RunFolder:
    """The layout of ``outputs/<run>``: the path of each product."""

    root: Path

    @classmethod
    def named(cls, run: str) -> RunFolder:
        """The folder of a run: ``outputs/<run>``, or ``run`` itself if it is an absolute path."""
        return cls(project_root() / "outputs" / run)

    def data(self, name: str) -> Path:
        return self.root / "data" / f"{name}.jsonl"

    def model(self, arm: str) -> Path:
        return self.root / "models" / arm

    def replies(self, arm: str) -> Path:
        return self.root / "replies" / f"{arm}.jsonl"

    def verdicts(self, arm_1: str, arm_2: str) -> Path:
        return self.root / "verdicts" / f"{arm_1}-vs-{arm_2}.jsonl"

    def tables(self, name: str) -> Path:
        """``name`` with its suffix, e.g. ``table1.csv``."""
        return self.root / "tables" / name

    def figures(self, name: str) -> Path:
        """``name`` with its suffix, e.g. ``figure3.png``."""
        return self.root / "figures" / name

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def facts(self) -> dict[str, Any]:
        """What the stages have recorded (``run.json``), by stage. Raises InputError if it is damaged."""
        path = self.root / "run.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
        except (ValueError, TypeError):
            raise InputError(f"{path} is damaged; `guardalign run PARAMS` makes it again") from None

    @property
    def is_damaged(self) -> bool:
        """Whether ``run.json`` cannot be read, so that all stages have to record their facts again."""
        try:
            return self.facts is None
        except InputError:
            return True

    def record(self, stage: str, **facts: Any) -> None:
        """Record a stage (parameters, seeds, content hashes) into ``run.json``, with the versions in use."""
        import fcntl

        versions = {"python": platform.python_version()} | {name: metadata.version(name) for name in VERSIONED}
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".run.json.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # stages run side by side: neither may lose what the other records
            known = ({} if self.is_damaged else self.facts) | {stage: facts, "versions": versions}
            write_text(self.root / "run.json", json.dumps(known, indent=1, sort_keys=True, default=_plain) + "\n")

    def agree(self, earlier: Iterable[str], sections: dict[str, Any]) -> None:
        """Check that the ``earlier`` stages saw the same parameters. Raises ForeignRun naming one that differs."""
        facts = self.facts
        for stage in earlier:
            recorded = facts.get(stage, {}).get("parameters", {})
            for name in sorted((recorded.keys() & sections.keys()) - CHANGE_NO_RESULT):
                now = json.loads(json.dumps(sections[name], default=_plain))
                if name == "study":  # each stage records its own arms
                    both = recorded[name]["arms"].keys() & now["arms"].keys()
                    recorded[name], now = (
                        {"seeds": each["seeds"]} | {arm: each["arms"][arm] for arm in both}
                        for each in (recorded[name], now)
                    )
                if recorded[name] != now:
                    raise ForeignRun(
                        f"{self.root} was made by {stage} with another `{name}`: {recorded[name]!r}, now {now!r}. "
                        f"Run notebooks/{stage}.ipynb again, or give this run another name (`run:`)."
                    )
