from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from guardalign.config.sections import Lora
from guardalign.errors import GuardalignError, InputError, Preempted
from guardalign.losses import METHODS, ScoredBatch
from guardalign.models.encoding import encode
from guardalign.models.loading import load_frozen, load_tokenizer, model_fingerprint
from guardalign.processes import PREEMPTED
from guardalign.training import (
    NotFinite,
    TrainingConfig,
    TrainingResult,
    completion_logprobs,
    evaluate_pairs,
    progress,
    train,
)
from guardalign.training.batches import encode_examples, plan
from guardalign.training.probe import repeated_share, repetition
from guardalign.training.step import StepOutput
from tiny import make_examples, make_model, save_checkpoint

EXAMPLES = make_examples(5, 3)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "base")


def config(base: Path, output: Path, method: str = "dpo", **settings) -> TrainingConfig:
    options = {"learning_rate": 1e-3, "batch_size": 4, "epochs": 2, "warmup_ratio": 0.0, "save_steps": 3, **settings}
    return TrainingConfig(arm="arm", model=str(base), output=output, method=method, **options)


def quiet(line: str) -> None:
    """Takes no notice of the log."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [file] = sorted(folder.glob("*.safetensors"))
    return load_file(file)


def distance(a: Path, b: Path) -> float:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.no_cover  # traced it takes half as long again, and other tests run the same lines
@pytest.mark.parametrize("method", METHODS)
def test_accumulated_rows_train_to_the_weights_of_the_whole_batch(base, tmp_path, method):
    whole = train(config(base, tmp_path / "whole", method), EXAMPLES, quiet)
    parts = train(config(base, tmp_path / "parts", method, row_tokens=260), EXAMPLES, quiet)
    assert parts.unique_tokens > whole.unique_tokens
    assert distance(tmp_path / "whole", tmp_path / "parts") < 2e-5
    assert distance(tmp_path / "whole", base) > 1e-3


def test_the_policys_entropy_is_that_of_its_reply_tokens(base, tmp_path):
    whole, parts = config(base, tmp_path / "whole"), config(base, tmp_path / "parts", row_tokens=260)
    for given in (whole, parts):
        train(given, EXAMPLES, quiet)
    first = plan(encode_examples(load_tokenizer(str(base)), EXAMPLES, whole), whole)[0]
    model, expected = load_frozen(str(base)), []
    for sequence in first.sequences:
        ids = torch.as_tensor(sequence.tokens)[None]
        log_probs = model(ids).logits[0, sequence.start - 1 : -1].double().log_softmax(-1)
        expected += (-(log_probs.exp() * log_probs).sum(-1)).tolist()
    for given in (whole, parts):
        assert metrics(given.output)[0]["entropy"] == pytest.approx(np.mean(expected), abs=1e-4)


def test_without_a_reference_the_loss_is_that_of_the_policys_own_log_probs(base, tmp_path):
    own, constant = (
        config(base, tmp_path / "own", "ipo_mean"),
        config(base, tmp_path / "c", "ipo_mean", reference="none"),
    )
    for given in (own, constant):
        train(given, EXAMPLES, quiet)
    first = plan(encode_examples(load_tokenizer(str(base)), EXAMPLES, constant), constant)[0]
    model, means = load_frozen(str(base)), []
    for sequence in first.sequences:
        ids = torch.as_tensor(sequence.tokens)
        log_probs = model(ids[None]).logits[0, sequence.start - 1 : -1].double().log_softmax(-1)
        means.append(float(log_probs.gather(1, ids[sequence.start :, None].long()).mean()))
    margins = np.array(means[: first.chosen]) - np.array(means[first.chosen :])
    assert metrics(constant.output)[0]["loss"] == pytest.approx(np.mean((margins - 5) ** 2), rel=1e-4)
    assert metrics(own.output)[0]["loss"] == pytest.approx(25, rel=1e-4)
    assert distance(own.output, constant.output) > 0


def test_the_critics_loss_is_that_before_advantages_are_whitened(base, tmp_path):
    """Values start at zero: the advantage of the token k before a reply's last is (γλ)^k times its reward."""
    settings = config(base, tmp_path / "ppo", "ppo_offline")
    train(settings, EXAMPLES, quiet)
    first = plan(encode_examples(load_tokenizer(str(base)), EXAMPLES, settings), settings)[0]
    advantages = [(0.99 * 0.95) ** k for s in first.sequences for k in range(s.completion_length)]
    assert metrics(settings.output)[0]["critic_loss"] == pytest.approx(0.5 * np.mean(np.square(advantages)), rel=1e-4)
    assert "critic_loss" not in metrics(train(config(base, tmp_path / "dpo"), EXAMPLES, quiet).output)[0]


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_training_moves_the_replies_the_right_way(base, tmp_path, method):
    result = train(config(base, tmp_path / method, method, epochs=6), EXAMPLES, quiet)
    own, before = (
        evaluate_pairs(load_frozen(str(folder)), load_tokenizer(str(base)), EXAMPLES)
        for folder in (tmp_path / method, base)
    )
    chosen = np.array([a.chosen - b.chosen for a, b in zip(own, before, strict=True)])
    rejected = np.array([a.rejected - b.rejected for a, b in zip(own, before, strict=True)])
    assert chosen.mean() > 5 if method == "sft" else (chosen > rejected).mean() > 0.9
    assert metrics(tmp_path / method)[-1]["loss"] < metrics(tmp_path / method)[0]["loss"]
    assert result.metrics["loss"] == pytest.approx(metrics(tmp_path / method)[-1]["loss"], rel=1e-4)


def test_held_out_figures_by_hand(base):
    model, tokenizer = load_frozen(str(base)), load_tokenizer(str(base))
    model.set_attn_implementation("eager")
    [row] = evaluate_pairs(model, tokenizer, EXAMPLES[:1])
    assert model.config._attn_implementation == "eager"
    ids = torch.tensor([[1, *tokenizer(EXAMPLES[0].prompt + EXAMPLES[0].chosen)["input_ids"][1:], 2]])
    log_probs = model(ids).logits[0].log_softmax(-1)
    start = len(tokenizer(EXAMPLES[0].prompt)["input_ids"])
    expected = sum(float(log_probs[t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))
    assert row.chosen == pytest.approx(expected, rel=1e-5)
    assert row.chosen_tokens == ids.shape[1] - start
    sequences = encode(tokenizer, [EXAMPLES[0].prompt] * 2, [EXAMPLES[0].chosen, str(EXAMPLES[0].rejected)])
    tokens = completion_logprobs(model, sequences)
    assert tokens[0].tolist() == pytest.approx([float(log_probs[t - 1, ids[0, t]]) for t in range(start, ids.shape[1])])
    assert float(tokens[1].sum()) == pytest.approx(row.rejected, rel=1e-5)


def test_a_finished_arm_is_kept_until_something_changes(base, tmp_path):
    settings = config(base, tmp_path / "arm", epochs=1)
    first = train(settings, EXAMPLES, quiet)
    stamp = (tmp_path / "arm" / "model.safetensors").stat().st_mtime_ns
    again = train(settings, EXAMPLES, quiet)
    assert again.skipped and not first.skipped and again.fingerprint == first.fingerprint
    assert (tmp_path / "arm" / "model.safetensors").stat().st_mtime_ns == stamp
    assert not train(settings, EXAMPLES[:-1], quiet).skipped
    assert not train(settings.model_copy(update={"beta": 0.2}), EXAMPLES, quiet).skipped


def test_a_finished_arm_is_trained_again_when_its_base_changed(tmp_path):
    base = save_checkpoint(tmp_path / "base")
    settings = config(base, tmp_path / "arm", epochs=1)
    train(settings, EXAMPLES, quiet)
    save_checkpoint(tmp_path / "base", seed=1)
    result = train(settings, EXAMPLES, quiet)
    assert not result.skipped
    assert metrics(tmp_path / "arm")[0]["kl"] == pytest.approx(0, abs=1e-4)  # no reference of the old base


def signalled_at(line: int, number: signal.Signals, settings: TrainingConfig) -> int:
    """Train in a child that gets a signal when it logs its ``line``-th step; returns its status (see os.wait)."""
    child = os.fork()
    if child == 0:
        progress.SECONDS_BETWEEN_LINES = -1.0
        seen, code = [], 99

        def log(text: str) -> None:
            seen.append(text)
            if sum("step" in text for text in seen) == line:
                os.kill(os.getpid(), number)

        try:
            train(settings, EXAMPLES, log)
            code = 0
        except Preempted:
            code = PREEMPTED
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


@pytest.mark.no_cover  # traced it takes half as long again, and other tests run the same lines
@pytest.mark.parametrize("method", ["kto", "ppo_offline"])
@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "paged_adamw_8bit"])
def test_a_killed_run_resumes_to_the_same_weights(base, tmp_path, method, optimizer):
    settings = {"optimizer": optimizer, "lora": Lora(rank=4, dropout=0.2)}
    train(config(base, tmp_path / "whole", method, **settings), EXAMPLES, quiet)
    cut = config(base, tmp_path / "cut", method, **settings)
    for line in (2, 5, 5):  # before the first checkpoint, after it, after the second
        assert os.WIFSIGNALED(signalled_at(line, signal.SIGKILL, cut))
    result = train(cut, EXAMPLES, quiet)
    assert result.resumed_step == 6
    assert distance(tmp_path / "whole", tmp_path / "cut") == 0
    assert [row["step"] for row in metrics(tmp_path / "cut")] == list(range(1, result.steps + 1))
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_the_reference_is_computed_once_for_all_arms(base, tmp_path):
    train(config(base, tmp_path / "dpo"), EXAMPLES, quiet)
    shards = {p: p.stat().st_mtime_ns for p in (tmp_path / ".reference").rglob("*.safetensors")}
    lines: list[str] = []
    train(config(base, tmp_path / "ipo", "ipo_sum", row_tokens=300), EXAMPLES, lines.append)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / ".reference").rglob("*.safetensors")}
    assert shards and after == shards


def test_lora_on_an_adapter_takes_its_frozen_self_as_reference(base, tmp_path):
    lora = Lora(rank=4)
    train(config(base, tmp_path / "sft", "sft", lora=lora), EXAMPLES, quiet)
    assert (tmp_path / "sft" / "adapter_model.safetensors").exists()
    settings = config(tmp_path / "sft", tmp_path / "ipo", "ipo_sum", lora=lora, beta=0.5, optimizer="rmsprop")
    train(settings, EXAMPLES, quiet)
    first = metrics(tmp_path / "ipo")[0]
    assert first["loss"] == pytest.approx(1.0, rel=1e-4) and first["kl"] == pytest.approx(0, abs=1e-4)
    assert distance(tmp_path / "sft", tmp_path / "ipo") > 1e-4
    facts = json.loads((tmp_path / "ipo" / "adapter_config.json").read_text())
    assert facts["base_model_name_or_path"] == str(base)


def test_full_fine_tuning_of_an_adapter_starts_from_the_merged_model(base, tmp_path):
    train(config(base, tmp_path / "sft", "sft", lora=Lora(rank=4)), EXAMPLES, quiet)
    train(config(tmp_path / "sft", tmp_path / "dpo"), EXAMPLES, quiet)
    assert metrics(tmp_path / "dpo")[0]["loss"] == pytest.approx(np.log(2), rel=1e-4)
    assert not (tmp_path / "dpo" / "adapter_config.json").exists()


def test_an_arm_trained_again_without_adapters_leaves_none_of_the_earlier_ones(base, tmp_path):
    for settings in ({"lora": Lora(rank=4)}, {}):
        train(config(base, tmp_path / "arm", "sft", epochs=1, **settings), EXAMPLES, quiet)
    train(config(base, tmp_path / "fresh", "sft", epochs=1), EXAMPLES, quiet)
    loaded, fresh = (load_frozen(str(tmp_path / name)).state_dict() for name in ("arm", "fresh"))
    assert loaded.keys() == fresh.keys() and all(torch.equal(loaded[name], fresh[name]) for name in fresh)


def test_an_adapter_and_its_base_have_different_fingerprints(base, tmp_path):
    train(config(base, tmp_path / "sft", "sft", lora=Lora(rank=4), epochs=1), EXAMPLES, quiet)
    train(config(base, tmp_path / "sft2", "sft", lora=Lora(rank=4), epochs=2), EXAMPLES, quiet)
    marks = {model_fingerprint(str(folder)) for folder in (base, tmp_path / "sft", tmp_path / "sft2")}
    assert len(marks) == 3


def test_another_tokenizer_trains_an_arm_again(tmp_path):
    base = save_checkpoint(tmp_path / "base")
    for skipped in (False, True):
        assert train(config(base, tmp_path / "arm", "sft", epochs=1), EXAMPLES, quiet).skipped is skipped
    facts = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(facts | {"padding_side": "left"}))
    assert not train(config(base, tmp_path / "arm", "sft", epochs=1), EXAMPLES, quiet).skipped


def test_gradient_checkpointing_changes_no_weight(base, tmp_path):
    train(config(base, tmp_path / "plain"), EXAMPLES, quiet)
    train(config(base, tmp_path / "saving", gradient_checkpointing=True), EXAMPLES, quiet)
    assert distance(tmp_path / "plain", tmp_path / "saving") < 1e-6


def test_conversation_batches_hold_whole_conversations_and_pair_batches_do_not(base, tmp_path):
    tokenizer = load_tokenizer(str(base))
    examples = make_examples(8, 4)

    def conversations_per_batch(batching: str, method: str) -> list[int]:
        settings = config(base, tmp_path, method, batching=batching, epochs=1)
        data = encode_examples(tokenizer, examples, settings)
        batches = plan(data, settings)
        seen = sorted(i for b in batches for i in b.examples)
        assert seen == sorted([*range(32)] * (1 if method == "sft" else 2))
        return [len({examples[i].conversation_id for i in b.examples}) for b in batches]

    for method in ("sft", "dpo", "kto"):
        assert conversations_per_batch("conversation", method) == [1] * 8
        assert max(conversations_per_batch("pair", method)) > 2


def test_kto_batches_mix_both_labels_and_mismatch_prompts(base, tmp_path):
    tokenizer = load_tokenizer(str(base))
    settings = config(base, tmp_path, "kto", batching="pair")
    data = encode_examples(tokenizer, EXAMPLES, settings)
    for batch in plan(data, settings):
        assert 0 < batch.chosen < batch.replies
        own = {(s.tokens[: s.start].tobytes(), s.tokens[s.start :].tobytes()) for s in batch.sequences[: batch.replies]}
        for s in batch.sequences[batch.replies :]:
            prompt, reply = s.tokens[: s.start].tobytes(), s.tokens[s.start :].tobytes()
            assert (prompt, reply) not in own and any(reply == r and prompt != p for p, r in own)


@pytest.mark.parametrize("batching", ["conversation", "pair"])
def test_an_arm_that_continues_counting_epochs_sees_the_pairs_as_a_second_epoch_would(base, tmp_path, batching):
    both = config(base, tmp_path, batching=batching)
    data = encode_examples(load_tokenizer(str(base)), EXAMPLES, both)
    second = both.model_copy(update={"epochs": 1, "first_epoch": 1})
    half = both.steps_per_epoch(len(EXAMPLES))
    assert plan(data, second) == plan(data, both)[half:] != plan(data, both)[:half]
    assert second.facts()["first_epoch"] == 1 and "first_epoch" not in both.facts()


def test_nan_stops_the_run_and_saves_the_batch(tmp_path):
    base = save_checkpoint(tmp_path / "base")
    model = make_model(vocabulary=load_frozen(str(base)).config.vocab_size)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    model.save_pretrained(base)
    with pytest.raises(NotFinite, match=r"step 1: loss nan.*c\d-\d"):
        train(config(base, tmp_path / "arm", "sft"), EXAMPLES, quiet)
    facts = json.loads((tmp_path / "arm" / "not_finite.json").read_text())
    assert facts["step"] == 1 and len(facts["examples"]) == len(facts["sequences"]) == 4
    assert not (tmp_path / "arm" / "training.json").exists()


def test_a_falling_chosen_reward_is_warned_of(tmp_path):
    lines: list[str] = []
    watching = progress.Progress(config(tmp_path, tmp_path / "arm"), 100, lines.append)
    for step in range(1, 101):
        watching.step(step, {"loss": 0.5, "reward_chosen": -0.01 * step, "margin": 0.01 * step})
    assert len(watching.warnings) == 1 and "chosen reward falls" in watching.warnings[0]
    assert any("WARNING" in line for line in lines)


def test_bad_input_is_refused_by_name(base, tmp_path):
    single = EXAMPLES[0].model_copy(update={"rejected": None})
    with pytest.raises(InputError, match="c0-0"):
        train(config(base, tmp_path / "a"), [single], quiet)
    assert train(config(base, tmp_path / "a", "sft"), [single], quiet).steps == 2
    with pytest.raises(InputError, match="no examples"):
        train(config(base, tmp_path / "b"), [], quiet)
    with pytest.raises(InputError, match="budget of 50"):
        train(config(base, tmp_path / "c", row_tokens=50), EXAMPLES, quiet)
    with pytest.raises(ValidationError, match="unknown method 'dpoo'"):
        config(base, tmp_path, "dpoo")
    with pytest.raises(ValidationError, match="delta"):
        config(base, tmp_path, options={"delta": 1})


def test_a_reference_with_another_vocabulary_is_refused(base, tmp_path):
    other = save_checkpoint(tmp_path / "other")
    tokenizer = load_tokenizer(str(other))
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(other)
    with pytest.raises(GuardalignError, match="different vocabularies"):
        train(config(base, tmp_path / "arm", reference=str(other)), EXAMPLES, quiet)


def test_a_policy_that_repeats_itself_is_warned_of(base, tmp_path):
    stuttering = [e.model_copy(update={"chosen": " refund" * 30}) for e in EXAMPLES]
    settings = {"learning_rate": 2e-2, "epochs": 6, "probe_steps": 8}
    result = train(config(base, tmp_path / "stutter", "sft", **settings), stuttering, quiet)
    probed = [row for row in metrics(tmp_path / "stutter") if "repetition" in row]
    assert [row["step"] for row in probed] == [8, 16, 24]
    assert probed[-1]["repetition"] > 0.5 and "repeats itself" in result.warnings[-1]


def test_the_share_of_repeated_4_grams_by_hand():
    assert repeated_share([1, 2, 3, 4, 5, 6]) == 0
    assert repeated_share([7, 7, 7, 7, 7, 7, 7]) == pytest.approx(3 / 4)
    assert repeated_share([1, 2, 3]) == 0


def test_prompts_of_all_lengths_are_probed_together(base):
    model, tokenizer = load_frozen(str(base)), load_tokenizer(str(base))
    prompts = [EXAMPLES[0].prompt, EXAMPLES[2].prompt, EXAMPLES[-1].prompt]
    assert len({len(prompt) for prompt in prompts}) == len(prompts)
    alone = [repetition(model, tokenizer, [prompt]) for prompt in prompts]
    assert max(alone) > 0 and repetition(model, tokenizer, prompts) == pytest.approx(np.mean(alone))


def test_rpo_takes_unpaired_replies_too(base, tmp_path):
    settings = config(base, tmp_path / "rpo", "rpo", options={"rpo_paired": False}, batching="pair")
    data = encode_examples(load_tokenizer(str(base)), EXAMPLES, settings)
    assert any(2 * b.chosen != b.replies for b in plan(data, settings))
    train(settings, EXAMPLES, quiet)
    rows = metrics(tmp_path / "rpo")
    assert rows[0]["loss"] == pytest.approx(np.log(2), rel=1e-4) and rows[-1]["loss"] < rows[0]["loss"]
    assert all(0 < row["effective_beta"] <= 0.1 for row in rows)
    one = settings.model_copy(update={"batch_size": 1, "output": tmp_path / "one"})
    assert {batch.chosen for batch in plan(data, one)} == {0, 1, 2}
    train(one, EXAMPLES, quiet)
    assert [row["step"] for row in metrics(one.output)] == list(range(1, 31))


def test_accuracy_is_over_all_combinations_where_replies_are_unpaired(tmp_path):
    ratios = torch.tensor([2.0, 0.0, 1.0, 3.0])  # two chosen replies, then two rejected ones
    one_token_each = torch.arange(4)
    scored = ScoredBatch(ratios, torch.zeros(4), one_token_each, chosen=one_token_each < 2)
    for method, accuracy in (("dpo", 1 / 2), ("kto", 1 / 4)):
        found = progress.step_metrics(StepOutput(0.0, scored, 4, 4), config(tmp_path, tmp_path, method))
        assert found["accuracy"] == accuracy


def test_four_bit_weights_train_an_adapter(tmp_path):
    base = save_checkpoint(tmp_path / "base", hidden_size=128, intermediate_size=128)
    settings = config(base, tmp_path / "arm", precision="nf4", lora=Lora(rank=4), epochs=4)
    train(settings, EXAMPLES, quiet)
    rows = metrics(tmp_path / "arm")
    assert rows[0]["loss"] == pytest.approx(np.log(2), abs=0.01) and rows[-1]["loss"] < 0.68
    assert (tmp_path / "arm" / "adapter_model.safetensors").exists()
    with pytest.raises(GuardalignError, match="nf4 trains adapters only"):
        train(config(base, tmp_path / "full", precision="nf4"), EXAMPLES, quiet)


def test_a_result_is_recorded_in_the_folder(base, tmp_path):
    result = train(config(base, tmp_path / "arm"), EXAMPLES, quiet)
    content = json.loads((tmp_path / "arm" / "training.json").read_text())
    assert TrainingResult(**content["result"]) == result
    assert TrainingConfig(**content["config"]) == config(base, tmp_path / "arm")
    assert result.logical_tokens > 2 * result.unique_tokens > 0
