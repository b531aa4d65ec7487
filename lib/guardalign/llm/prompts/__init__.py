"""The prompts: Markdown files to be read and edited, and the only way data gets into them.

A prompt file has a part headed ``# system`` and one headed ``# user``; ``{{name}}`` is a slot. Data travels as JSON
strings on one line between two marks that an author of the data could not know, and inside it everything that could
look like an end (a line break, ``<`` and ``>``, a chat template's special tokens, control and invisible characters) is
escaped. A JSON parser gives it back byte for byte. Slots are filled in one pass: what data contains is never a slot.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardalign.errors import GuardalignError
from guardalign.llm import Message

SLOT = re.compile(r"\{\{(\w+)\}\}")
PART = re.compile(r"^# (system|user)[ \t]*\n", re.MULTILINE)
UNSAFE = re.compile(
    "[<>\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
    r"|\[(?=/?[A-Z])"
)
"""What JSON leaves alone and a prompt must not: angle brackets, C1 controls, invisible and directional characters,
lone surrogates, and the bracket of tokens like [INST]."""


class PromptError(GuardalignError):
    """A prompt file that cannot be read, or does not fit what is put into it."""


@dataclass(frozen=True)
class Prompt:
    """A prompt file: its name, the version of its text (12 hex digits), and the text of its parts."""

    name: str
    system: str
    user: str

    @classmethod
    def load(cls, name: str, folder: Path | None = None) -> Prompt:
        """Read ``<name>.md`` from ``folder`` (default: the package's own). Raises PromptError."""
        source = (folder or Path(__file__).parent) / f"{name}.md"
        try:
            pieces = PART.split(source.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"The prompt {source} cannot be read: {error}") from None
        parts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
        if parts.keys() != {"system", "user"} or SLOT.search(parts["system"]):
            raise PromptError(f"{source} needs a part '# system' without slots and a part '# user'")
        return cls(name, parts["system"].strip(), parts["user"].strip())

    @property
    def version(self) -> str:
        text = "\x00".join((self.system, self.user))
        return f"{self.name}@{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def fill(self, item: str, **values: Any) -> tuple[Message, Message]:
        """The messages with every slot filled: ``item`` (an id made here) and whole numbers as they are, the data of
        ``values`` as marked JSON.

        The system message is the same for every call, and slots are in the file in the order of how much calls have
        in common; so providers can serve the beginning from their cache. Raises PromptError if slots and values
        do not match.
        """
        wanted = SLOT.findall(self.user)
        if sorted(wanted) != sorted(["item", *values]):
            raise PromptError(f"The prompt {self.name} has the slots {sorted(wanted)}, not item, {', '.join(values)}")
        shown = {"item": item} | {name: str(value) for name, value in values.items() if isinstance(value, int)}
        mark = ""
        for name in (name for name in wanted if name not in shown):
            value = values[name]
            # 16 hex digits that depend on the data: unpredictable for its author, the same when the question is
            # repeated. Of a list only the first item counts, so that a history that grows keeps its beginning.
            seed = json.dumps(value[:1] if isinstance(value, list) else value, sort_keys=True)
            mark = hashlib.sha256(f"{mark}\x00{name}\x00{seed}".encode()).hexdigest()[:16]
            shown[name] = f"<<<{name} {mark}\n{encode(value)}\n{mark} {name}>>>"
        return Message("system", self.system), Message("user", SLOT.sub(lambda slot: shown[slot[1]], self.user))


def encode(value: Any) -> str:
    """JSON on one line that holds no character a reader could take for the end of it; ``json.loads`` undoes it."""
    return UNSAFE.sub(_escape, json.dumps(value, ensure_ascii=False, allow_nan=False))


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
