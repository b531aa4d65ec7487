"""An arm exported loads in plain transformers and peft, and says what the arm says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from guardalign.config.sections import Lora
from guardalign.files import RunFolder
from guardalign.generation.replies import GenerationSettings, generate, load_policy
from guardalign.models.hub import ModelUnavailable
from guardalign.models.loading import load_frozen
from guardalign.study.export import export
from guardalign.training import train
from guardalign.workflow.cli import main
from tests.generation.test_generation import contents, make_pairs
from tests.training.test_training import EXAMPLES, config, quiet
from tiny import save_checkpoint

PROMPT = EXAMPLES[0].prompt


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run's folder with a fully trained arm, one of adapters, and one of adapters on four-bit weights."""
    folder = tmp_path_factory.mktemp("run")
    base = save_checkpoint(folder / "base", hidden_size=64, intermediate_size=64)
    for arm in ("full", "lora", "qlora"):
        lora = None if arm == "full" else Lora(rank=4)
        precision = "nf4" if arm == "qlora" else "fp32"
        settings = {"learning_rate": 1e-2, "lora": lora, "precision": precision}
        train(config(base, folder / "models" / arm, **settings), EXAMPLES, quiet)
    return folder


@torch.no_grad()
def logits(model) -> torch.Tensor:
    """(tokens, vocabulary) over one prompt."""
    ids = torch.arange(3, 200)[None].to(model.device)
    return model.eval()(ids).logits[0].float().cpu()


@pytest.mark.parametrize(("arm", "merge"), [("full", False), ("lora", True), ("qlora", True)])
def test_a_merged_arm_is_a_plain_checkpoint_with_the_arms_own_logits_and_replies(run, tmp_path, arm, merge):
    folder = export(run / "models" / arm, tmp_path / "out", merge)
    assert not {path.name for path in folder.iterdir()} & {"adapter_config.json", "training.json", "metrics.jsonl"}
    plain = AutoModelForCausalLM.from_pretrained(folder)
    own, base = load_policy(run / "models" / arm), load_policy(run / "base")
    assert torch.equal(logits(plain), logits(own.model))
    assert (logits(plain) - logits(base.model)).abs().max() > 0.1
    pairs, settings = make_pairs(3, 2), GenerationSettings(max_new_tokens=12)
    made = [
        contents(generate(each, pairs, "arm", settings, tmp_path / name, quiet))
        for name, each in (("own.jsonl", run / "models" / arm), ("exported.jsonl", folder))
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("arm", ["lora", "qlora"])
def test_an_adapter_loads_in_peft_on_the_base_it_names(run, tmp_path, arm):
    folder = export(run / "models" / arm, tmp_path / "out")
    facts = json.loads((folder / "adapter_config.json").read_text())
    assert facts["base_model_name_or_path"] == str((run / "base").resolve())
    base = AutoModelForCausalLM.from_pretrained(facts["base_model_name_or_path"])
    loaded = PeftModel.from_pretrained(base, folder)
    assert (logits(loaded) - logits(load_policy(run / "models" / arm).model)).abs().max() < 1e-4
    assert not (folder / "model.safetensors").exists()


def test_an_adapter_on_four_bit_weights_reloads_as_it_was_trained(run, tmp_path):
    """Saved, exported and loaded on four-bit weights again, it is what its own training reads as a reference."""
    folder = export(run / "models" / "qlora", tmp_path / "out")
    trained, reloaded = load_frozen(str(run / "models" / "qlora"), "nf4"), load_frozen(str(folder), "nf4")
    assert torch.equal(logits(trained), logits(reloaded))
    assert (logits(reloaded) - logits(load_frozen(str(run / "base"), "nf4"))).abs().max() > 0.1
    assert (logits(reloaded) - logits(load_frozen(str(folder), "fp32"))).abs().max() > 1e-3, "four bits show"


def test_the_chat_template_hands_the_prompt_on_as_it_is(run, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(export(run / "models" / "lora", tmp_path / "out"))
    given = tokenizer.apply_chat_template([{"role": "user", "content": PROMPT}], add_generation_prompt=True)
    ids = given["input_ids"] if not isinstance(given, list) else given
    assert ids == tokenizer(PROMPT)["input_ids"]


def test_arms_of_a_chat_run_keep_their_own_template(run, tmp_path):
    whole = shutil.copytree(run, tmp_path / "run")
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    (whole / "models" / "lora" / "chat_template.jinja").write_text(template)
    for prompt in ("plain", "chat"):
        RunFolder(whole).record("02_sft", parameters={"model": {"name": "base", "prompt": prompt}})
        assert main(["export", str(whole), "lora", str(tmp_path / prompt)]) == 0
        kept = AutoTokenizer.from_pretrained(tmp_path / prompt).chat_template
        assert (kept == template) == (prompt == "chat")


def test_the_command_writes_a_folder_once_and_names_the_arms_there_are(run, tmp_path, capsys):
    assert main(["export", str(run), "lora", str(tmp_path / "out"), "--merge"]) == 0
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert main(["export", str(run), "lora", str(tmp_path / "out")]) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(["export", str(run), "M_kto", str(tmp_path / "other")]) == 1
    assert "this run has full, lora, qlora" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_folder_that_cannot_be_written_whole_does_not_appear(run, tmp_path):
    broken = run / "models" / "lora" / "adapter_model.safetensors"
    kept = broken.read_bytes()
    broken.unlink()
    try:
        with pytest.raises(ModelUnavailable, match=r"adapter_model\.safetensors"):
            export(run / "models" / "lora", tmp_path / "out", merge=True)
    finally:
        broken.write_bytes(kept)
    assert list(tmp_path.iterdir()) == []
