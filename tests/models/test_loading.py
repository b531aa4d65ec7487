"""Models by name: one that cannot be loaded is refused with what to do about it; no foreign code is run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from guardalign.config.sections import Lora
from guardalign.models import hub
from guardalign.models.loading import base_model, load_frozen, load_model, load_tokenizer, redrawn
from guardalign.world import BASE_MODEL
from hub_server import serving
from tiny import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
import json, sys
from guardalign.errors import GuardalignError
from guardalign.models.loading import load_frozen, load_tokenizer
errors = {}
for name in sys.argv[1:]:
    for load in (load_frozen, load_tokenizer):
        try:
            load(name)
        except GuardalignError as error:
            errors.setdefault(name, str(error))
print(json.dumps(errors))
"""


def load_errors(home: Path, *names: str, **environment: str) -> dict[str, str]:
    """What a process of its own says of models it cannot load."""
    around = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "GUARDALIGN_"))}
    around |= {"HF_HOME": str(home), "PYTHONPATH": str(ROOT / "lib"), "OMP_NUM_THREADS": "1"} | environment
    run = subprocess.run([sys.executable, "-c", LOAD, *names], env=around, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def by_hub(tmp_path_factory) -> dict[str, str]:
    names = ("gated", "gated-anonymous", "absent", "pickled", "coded", "unknown")
    with serving() as address:
        return load_errors(tmp_path_factory.mktemp("home"), *(f"org/{name}" for name in names), HF_ENDPOINT=address)


@pytest.mark.parametrize(
    "name, says",
    [
        ("gated", "is gated: open https://huggingface.co/org/gated, accept its terms, and log in by `hf auth login`"),
        ("gated-anonymous", "is gated"),
        ("absent", "org/absent is neither a folder nor a model on the hub"),
        ("pickled", "org/pickled has no weights in safetensors"),
        ("coded", "GUARDALIGN_REMOTE_CODE=org/coded"),
        ("unknown", "model type `of_next_year`"),
    ],
)
def test_an_error_of_the_hub_says_what_to_do(by_hub, name, says):
    assert says in by_hub[f"org/{name}"]


def test_without_a_network_the_ways_out_are_named(tmp_path):
    errors = load_errors(tmp_path, "org/model", HF_HUB_OFFLINE="1")["org/model"]
    assert "org/model is not on this machine and the hub cannot be reached" in errors
    assert "hf download org/model" in errors and "embedded" in errors


def test_a_hub_that_does_not_answer_is_asked_once_for_each_load(tmp_path):
    """The client's own way is five more requests, half a minute for each of them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked: list[int] = []

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()
                    asked.append(1)

        threading.Thread(target=hang_up, daemon=True).start()
        errors = load_errors(tmp_path, "org/model", HF_ENDPOINT=f"http://127.0.0.1:{server.getsockname()[1]}")
    assert "cannot be reached" in errors["org/model"] and 1 <= len(asked) <= 2 * 3


def test_a_name_that_is_neither_folder_nor_repository_is_refused(tmp_path):
    for name in ("not a name", str(tmp_path / "absent")):
        with pytest.raises(hub.ModelUnavailable, match="neither a folder"):
            load_frozen(name)


def test_pickled_weights_in_a_folder_are_not_read(tmp_path):
    folder = save_checkpoint(tmp_path / "model")
    weights = load_frozen(str(folder)).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(hub.ModelUnavailable, match="safetensors"):
        load_frozen(str(folder))


def test_a_pickled_adapter_is_not_read(tmp_path):
    base = save_checkpoint(tmp_path / "base")
    load_model(str(base), lora=Lora(rank=2)).save_pretrained(tmp_path / "adapter")
    load_frozen(str(tmp_path / "adapter"))
    shutil.move(tmp_path / "adapter" / "adapter_model.safetensors", tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(hub.ModelUnavailable, match="no adapter_model"):
        load_frozen(str(tmp_path / "adapter"))


def with_own_code(folder: Path, mark: Path) -> Path:
    """A checkpoint whose configuration asks for a Python file of its own, which leaves ``mark`` when it is run."""
    save_checkpoint(folder)
    content = json.loads((folder / "config.json").read_text())
    content |= {"model_type": "its_own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "own.py").write_text(
        "from transformers import MistralConfig, MistralForCausalLM\n"
        f"open({str(mark)!r}, 'w').close()\n"
        "class OwnConfig(MistralConfig):\n    model_type = 'its_own'\n"
        "class Own(MistralForCausalLM):\n    config_class = OwnConfig\n"
    )
    return folder


def test_code_that_comes_with_a_model_runs_only_where_it_is_allowed_by_name(tmp_path, monkeypatch):
    folder, trace = with_own_code(tmp_path / "model", tmp_path / "ran"), tmp_path / "ran"
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    for allowed in ("", "org/another", "1"):
        monkeypatch.setenv(hub.REMOTE_CODE, allowed)
        with pytest.raises(hub.ModelUnavailable, match=f"{hub.REMOTE_CODE}="):
            load_frozen(str(folder))
    assert not trace.exists()
    monkeypatch.setenv(hub.REMOTE_CODE, f"org/another, {folder}")
    assert type(load_frozen(str(folder))).__name__ == "Own" and trace.exists()
    assert load_tokenizer(str(folder)).eos_token == "</s>"


def test_an_arms_folder_is_known_by_the_repository_of_its_code(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "org/coded--own.OwnConfig"}}))
    monkeypatch.setenv(hub.REMOTE_CODE, "org/coded")
    assert hub.may_run_code(str(tmp_path))
    monkeypatch.setenv(hub.REMOTE_CODE, str(tmp_path))
    assert not hub.may_run_code(str(tmp_path))


def test_the_base_is_the_shipped_model_a_folder_or_a_hub_name(tmp_path):
    assert base_model("embedded") == str(BASE_MODEL)
    assert base_model(str(tmp_path)) == str(tmp_path)
    assert base_model("mistralai/Mistral-7B-v0.1") == "mistralai/Mistral-7B-v0.1"


def test_weights_drawn_anew_are_the_seeds_and_find_all_tokens_about_equally_likely(tmp_path):
    base = base_model("embedded")
    before = torch.get_rng_state()
    folders = [redrawn(base, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("a", 2))]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (load_frozen(each) for each in folders)
    ids = torch.tensor([load_tokenizer(folders[0])("hello, the parcel is late")["input_ids"]])
    same, different = (float((first(ids).logits - each(ids).logits).abs().max()) for each in (again, other))
    assert same == 0 < different
    assert (
        first(ids).logits.log_softmax(-1).std(-1).max()
        < 0.5
        < load_frozen(base)(ids).logits.log_softmax(-1).std(-1).min()
    )
    written = (Path(folders[0]) / "model.safetensors").stat().st_mtime_ns
    assert redrawn(base, tmp_path / "a", 1) == folders[0]
    assert (Path(folders[0]) / "model.safetensors").stat().st_mtime_ns == written
    wider = redrawn(str(save_checkpoint(tmp_path / "wider", hidden_size=64)), tmp_path / "a", 1)
    assert load_frozen(wider).config.hidden_size == 64


def test_a_models_own_dropout_is_switched_off(tmp_path):
    shape = {"vocab_size": 60, "hidden_size": 32, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model("opt", word_embed_proj_dim=32, layerdrop=0.5, dropout=0.5, **shape)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model, ids = load_model(str(tmp_path)).train(), torch.arange(10)[None]
    assert torch.equal(model(ids).logits, model(ids).logits)
