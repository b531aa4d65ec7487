"""Where a model's files come from, a folder or the Hugging Face hub, and what to do when they cannot be loaded.

Only safetensors weights are read. A repository's own code runs only if its name is in the environment
variable GUARDALIGN_REMOTE_CODE: a parameter file cannot switch that on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from huggingface_hub import constants, get_session
from huggingface_hub import errors as hub
from transformers import AutoConfig, PretrainedConfig

from guardalign.errors import GuardalignError

REMOTE_CODE = "GUARDALIGN_REMOTE_CODE"
SECONDS_TO_ANSWER = 5.0


class ModelUnavailable(GuardalignError):
    """A model that cannot be loaded: gated, missing, unreachable, in another format, or in need of its own code."""


def read_config(name: str) -> PretrainedConfig:
    """A model's configuration. Raises ModelUnavailable."""
    with reaching(name):
        return AutoConfig.from_pretrained(name, trust_remote_code=may_run_code(name))


def may_run_code(name: str) -> bool:
    """Whether the code that comes with a model may run: its repository is named in GUARDALIGN_REMOTE_CODE.

    A folder's code is that of the repositories its configuration points to, or the folder's own, named by its path.
    """
    allowed = {each.strip() for each in os.environ.get(REMOTE_CODE, "").split(",")} - {""}
    return bool(allowed) and _code_of(name) <= allowed


def _code_of(name: str) -> set[str]:
    path = Path(name) / "config.json"
    if not path.is_file():
        return {name}
    pointers = json.loads(path.read_text(encoding="utf-8")).get("auto_map", {}).values()
    return {pointer.partition("--")[0] if "--" in pointer else name for pointer in pointers} or {name}


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Turn what transformers and the hub's client raise while loading ``name`` into ModelUnavailable.

    If the hub does not answer, only the local cache is used: the client would retry for half a minute.
    """
    offline = constants.HF_HUB_OFFLINE or not (Path(name).is_dir() or _hub_answers())
    try:
        # transformers would ask a service of the hub to convert pickled weights, and open a pull request there.
        with (
            patch.dict(os.environ, {"DISABLE_SAFETENSORS_CONVERSION": "1"}),
            patch.object(constants, "HF_HUB_OFFLINE", offline),
        ):
            yield
    except (OSError, ValueError, ImportError, hub.HfHubHTTPError) as error:
        raise ModelUnavailable(_explanation(name, error)) from error


def _hub_answers() -> bool:
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS_TO_ANSWER)
    except Exception:  # the client's own exceptions, from whichever library it uses
        return False
    return True


def _explanation(name: str, error: BaseException) -> str:
    causes, text = list(_causes(error)), str(error)

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if "trust_remote_code" in text:
        return (
            f"{name} has custom code, which is not run. If you have read it and trust it, allow it by name: "
            f"{REMOTE_CODE}={','.join(sorted(_code_of(name)))}"
        )
    if "safetensors" in text and ("does not appear to have" in text or "no file named" in text.lower()):
        return (
            f"{name} has no weights in safetensors, the only format that is read (pickles can run code). Choose a "
            "model that has them, or convert it: load it once and save it by save_pretrained."
        )
    if caused_by(hub.GatedRepoError):
        return (
            f"{name} is gated: open https://huggingface.co/{name}, accept its terms, and log in by `hf auth login` (or "
            "set HF_TOKEN) with a token that may read gated repositories."
        )
    if caused_by(hub.RepositoryNotFoundError, hub.HFValidationError) or "is not a valid model identifier" in text:
        return (
            f"{name} is neither a folder nor a model on the hub. Check the spelling of model.name; a "
            "private model needs `hf auth login` or HF_TOKEN."
        )
    if "backend tokenizer" in text:
        return f"{name} has no tokenizer that can be read: it needs a tokenizer.json (save_pretrained writes one)."
    if (
        caused_by(hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError)
        or "couldn't connect" in text
        or "offline mode" in text
    ):
        return (
            f"{name} is not on this machine and the hub cannot be reached. With a network: `hf download {name}`; "
            "without: copy the model's folder here and give its path as model.name, or take `embedded`, which ships "
            "with the project."
        )
    return f"{name} cannot be loaded: {(text.strip() or type(error).__name__).splitlines()[0]}"


def _causes(error: BaseException | None) -> Iterator[Any]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
