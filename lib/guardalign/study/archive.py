"""A study's results without its weights, in one file of a few MB: what is committed, and what a clone resumes from.

The file holds data, replies, verdicts, scores, and each arm's folder except for the weights: the training record with
their fingerprint, the tokenizer. With these, all arms and their replies count as done. Weights are trained again
only where a new arm starts from them.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from guardalign.config.params import Params
from guardalign.errors import InputError
from guardalign.files import RunFolder, replacing, space_for
from guardalign.models.loading import RECORD, dropped, model_fingerprint, text_files
from guardalign.training.arm_folder import METRICS

ARCHIVE = "results.tar.xz"
FOLDERS = {"data", "distances", "instructions", "outcomes", "replies", "samples", "scores", "verdicts"}
LEFT_OUT = {"llm", "models", "tuning"}


def pack(run: RunFolder) -> Path:
    """Write ``results.tar.xz`` into the run's folder. The same results give the same bytes.

    Raises InputError if there are no replies.
    """
    members = {path: path.read_bytes() for path in sorted(run.root.rglob("*")) if _belongs(path, run.root)}
    if not any("replies" in path.parts for path in members):
        raise InputError(f"{run.root} holds no replies to pack")
    for record in sorted(run.root.rglob(f"models/*/{RECORD}")):
        content = json.loads(record.read_text(encoding="utf-8"))
        gone = dropped(record.parent) or model_fingerprint(str(record.parent))
        text = json.dumps(content | {"dropped": gone}, indent=1) + "\n"
        # Paths of the original run do not apply elsewhere.
        members[record] = text.replace(f"{run.root}/", "").replace(str(Path.home()), "~").encode()
        for path in (record.with_name(METRICS), *text_files(record.parent)):  # the tokenizer enters fingerprints too
            if path.exists():
                members[path] = path.read_bytes()
    archive = run.root / ARCHIVE
    with replacing(archive) as part, tarfile.open(part, "w:xz", preset=9) as tar:
        for path, content in members.items():
            info = tarfile.TarInfo(str(path.relative_to(run.root)))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive


def unpack(run: RunFolder) -> bool:
    """Restore the files of a committed archive that are missing; False if there is no archive."""
    archive = run.root / ARCHIVE
    if not archive.exists():
        return False
    with space_for(run.root), tarfile.open(archive, "r:xz") as tar:
        missing = [each for each in tar.getmembers() if not (run.root / each.name).exists()]
        with tempfile.TemporaryDirectory(prefix=".unpacked.", dir=run.root) as aside:
            tar.extractall(aside, missing, filter="data")
            for each in missing:  # each file appears whole, even if the call is interrupted
                (run.root / each.name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(aside) / each.name, run.root / each.name)
    return True


def _belongs(path: Path, root: Path) -> bool:
    folders = set(path.relative_to(root).parts[:-1])
    return path.is_file() and bool(folders & FOLDERS) and not folders & LEFT_OUT and ".partial" not in path.name


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    """``guardalign pack``."""
    parser.add_argument("params", help="the run's parameter file")
    archive = pack(RunFolder.named(Params.load(parser.parse_args(argv).params).run))
    print(f"{archive}: {archive.stat().st_size / 2**20:.1f} MiB")
