"""``TreeDPOTrainer`` beside TRL's own trainer: same model, data and batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PromptTuningConfig
from transformers import AutoConfig, AutoModelForCausalLM, PrinterCallback
from trl import DPOConfig, DPOTrainer

from guardalign.launch import accelerate_config
from guardalign.models.loading import without_bars
from guardalign.tree import TreeError
from guardalign.tree.trl import TreeDPOTrainer
from tiny import make_examples, make_tokenizer, save_checkpoint

ROOT = Path(__file__).parents[2]
STEPS = 20
EVERY_LOSS = ["sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
              "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"]  # fmt: skip
LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights="gaussian")
CASES: dict[str, dict[str, Any]] = {
    "dpo": {},
    "adapters": {"peft_config": LORA, "loss_type": "ipo"},
    "adapters, precomputed": {"peft_config": LORA, "precompute_ref_log_probs": True},
    "precomputed, checkpointing": {"precompute_ref_log_probs": True, "gradient_checkpointing": True},
    "every loss": {"loss_type": EVERY_LOSS, "label_smoothing": 0.1, "beta": 0.5},
    "weights, tails, divergence": {
        "loss_type": ["sigmoid", "robust"], "use_weighting": True, "ld_alpha": 0.5, "f_divergence_type": "js_divergence"
    },
    "shortened": {"max_length": 40, "truncation_mode": "keep_end"},
    "accumulated, bf16": {"gradient_accumulation_steps": 2, "bf16": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "base")


def pairs() -> Dataset:
    rows = [{"prompt": e.prompt, "chosen": e.chosen, "rejected": e.rejected} for e in make_examples(20, 3)]
    return Dataset.from_list(rows)


def trainer(kind: type[DPOTrainer], base: Path, folder: Path, peft_config: Any = None, **settings: Any) -> DPOTrainer:
    given: dict[str, Any] = {
        "max_steps": STEPS, "per_device_train_batch_size": 3, "learning_rate": 1e-3, "logging_steps": 1, "bf16": False,
        "gradient_checkpointing": False, "train_sampling_strategy": "sequential", "report_to": [], "use_cpu": True,
        "save_strategy": "no", "disable_tqdm": True, "max_length": None,
    }  # fmt: skip
    arguments = DPOConfig(str(folder), **given | settings)
    with without_bars():
        made = kind(str(base), args=arguments, train_dataset=pairs(), processing_class=make_tokenizer(),
                    peft_config=peft_config)  # fmt: skip
    made.remove_callback(PrinterCallback)
    return made


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_are_trls(base, tmp_path, case):
    logs = []
    for kind in (DPOTrainer, TreeDPOTrainer):
        trained = trainer(kind, base, tmp_path / kind.__name__, **CASES[case])
        trained.train()
        logs.append([step for step in trained.state.log_history if "loss" in step])
    assert [len(log) for log in logs] == [STEPS, STEPS]
    exact = "bf16" not in case
    for theirs, ours in zip(*logs, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if name != "grad_norm":
                assert ours[name] == pytest.approx(value, rel=1e-4 if exact else 0.1, abs=1e-4 if exact else 0.2), name
    losses = [step["loss"] for step in logs[0]]
    assert max(losses) - min(losses) > 1e-2


def test_evaluation_is_trls(base, tmp_path):
    found = []
    for kind in (DPOTrainer, TreeDPOTrainer):
        made = trainer(kind, base, tmp_path / kind.__name__)
        figures = made.evaluate(pairs().select(range(6)))
        found.append({name: value for name, value in figures.items() if "second" not in name and "runtime" not in name})
    assert found[1] == pytest.approx(found[0], abs=1e-4)


BOTH = """
import sys
from pathlib import Path
from trl import DPOTrainer
from guardalign.tree.trl import TreeDPOTrainer
from tests.tree.test_trl_trainer import trainer

for kind in (DPOTrainer, TreeDPOTrainer):
    made = trainer(kind, Path(sys.argv[1]), Path(sys.argv[2]), max_steps=4)
    made.train()
    if made.accelerator.is_main_process:
        losses = [round(step["loss"], 4) for step in made.state.log_history if "loss" in step]
        print("losses", made.accelerator.num_processes, losses)
"""


def test_two_processes_take_the_steps_that_trls_two_take(base, tmp_path):
    script = tmp_path / "both.py"
    script.write_text(BOTH)
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(accelerate_config("cpu2"))]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "lib")])
    done = subprocess.run(
        [*launcher, str(script), str(base), str(tmp_path)], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    theirs, ours = [line for line in done.stdout.splitlines() if line.startswith("losses")]
    assert theirs.startswith("losses 2 [") and ours == theirs, done.stderr


def test_each_distinct_prefix_is_computed_once(base, tmp_path, monkeypatch):
    made = trainer(TreeDPOTrainer, base, tmp_path, precompute_ref_log_probs=True)
    sizes = []
    made.model.model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    batch = made.data_collator([made.train_dataset[i] for i in range(3)])
    made.compute_loss(made.model, made._prepare_inputs(batch))
    [(rows, tokens)] = sizes
    assert rows == 1 and tokens < int(batch["attention_mask"].sum()) / 2


def test_what_it_cannot_follow_is_refused_by_name(base, tmp_path):
    with pytest.raises(TreeError, match="prompt-learning"):
        trainer(TreeDPOTrainer, base, tmp_path, PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "num_key_value_heads": 2, "vocab_size": 360, "router_aux_loss_coef": 0.1, "pad_token_id": 0}  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("mixtral", **shape)).save_pretrained(tmp_path / "moe")
    with pytest.raises(TreeError, match="router_aux_loss_coef"):
        trainer(TreeDPOTrainer, tmp_path / "moe", tmp_path / "out")
