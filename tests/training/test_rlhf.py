"""The online arm for real, on a tiny model: a reward model that can be wrong, then a policy that follows its reward."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from guardalign.config.plan import Rlhf
from guardalign.config.sections import Lora
from guardalign.data.examples import Example
from guardalign.errors import InputError
from guardalign.models.encoding import encode
from guardalign.models.loading import load_frozen
from guardalign.training import TrainingConfig, rlhf, train
from tiny import WORDS, save_checkpoint

GOOD, BAD = "thanks", "late"
SETTINGS = Rlhf(
    trainer="rloo", reward_learning_rate=5e-3, reward_epochs=3, learning_rate=5e-3, beta=0.01, steps=16, prompts=4,
    generations=4,
)  # fmt: skip


def pairs(count: int, seed: int) -> list[Example]:
    """The chosen reply says one word more often than the rejected one, which says another."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        prompt = f"User: {' '.join(rng.choices(WORDS, k=3))}\nAgent:"
        replies = [[word, *rng.choices(WORDS[:4], k=3)] for word in (GOOD, BAD)]
        for words in replies:
            rng.shuffle(words)
        chosen, rejected = (f" {' '.join(words)}" for words in replies)
        found.append(
            Example(id=str(number), conversation_id=str(number), prompt=prompt, chosen=chosen, rejected=rejected)
        )
    return found


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("rlhf") / "sft")


@pytest.fixture(scope="module")
def reward(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward") / "model"
    rlhf.train_reward(SETTINGS, str(start), pairs(64, 1), folder, batch_size=8)
    return rlhf.RewardModel(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the policy is trained."""
    return tmp_path_factory.mktemp("policy") / "model"


@pytest.fixture(scope="module")
def history(start, reward, folder):
    return policy(SETTINGS, start, reward, folder)


def policy(settings: Rlhf, start: Path, reward: rlhf.RewardModel, folder: Path) -> list[dict[str, float]]:
    prompts = [each.prompt for each in pairs(32, 3)]
    return rlhf.train_policy(settings, str(start), Path(reward.model.name_or_path), prompts, folder, max_new_tokens=8)


def test_the_reward_model_separates_held_out_replies(reward):
    accuracy = reward.accuracy(pairs(32, 2))
    assert accuracy > 0.8
    turned = [e.model_copy(update={"chosen": e.rejected, "rejected": e.chosen}) for e in pairs(32, 2)]
    assert reward.accuracy(turned) == pytest.approx(1 - accuracy)


def test_a_pair_without_a_rejected_reply_trains_no_reward_and_counts_in_no_accuracy(reward, start, tmp_path):
    whole = pairs(8, 2)
    single = whole[0].model_copy(update={"rejected": None})
    assert reward.accuracy([single, *whole[1:]]) == reward.accuracy(whole[1:])
    with pytest.raises(InputError, match="rejected reply"):
        rlhf.train_reward(SETTINGS, str(start), [single, *whole[1:]], tmp_path / "reward", batch_size=8)


def test_a_reward_is_the_same_alone_and_in_a_padded_batch(reward):
    prompts, chosen = zip(*((each.prompt, each.chosen) for each in pairs(6, 4)), strict=True)
    rows = [each.tokens.tolist() for each in encode(reward.tokenizer, prompts, chosen)]
    rows[0] = rows[0][: len(rows[0]) // 2]
    alone = [reward.scores([row])[0] for row in rows]
    assert reward.scores(rows) == pytest.approx(alone, abs=1e-4)
    assert len({round(score, 3) for score in alone}) > 1


def test_the_policy_moves_towards_what_is_rewarded(start, folder, history):
    rewards = [row["reward"] for row in history]
    assert len(rewards) == SETTINGS.steps
    assert np.mean(rewards[-5:]) > np.mean(rewards[:3]) + 0.2
    before, after = (load_file(each / "model.safetensors") for each in (start, folder))
    assert max(float((before[name] - after[name]).abs().max()) for name in before) > 1e-3


def test_the_distance_from_the_start_is_logged(history):
    kl = [row["kl"] for row in history]
    assert kl[0] == pytest.approx(0, abs=1e-3) and kl[-1] > 10 * abs(kl[0])
    assert all(row["entropy"] > 0 and np.isfinite(row["grad_norm"]) for row in history)


def test_the_penalty_holds_the_policy_near_the_start(start, reward, history, tmp_path):
    near = policy(SETTINGS.model_copy(update={"beta": 2.0}), start, reward, tmp_path / "near")
    assert near[-1]["kl"] < 0.5 * history[-1]["kl"]


def test_an_online_arm_counts_the_replies_drawn_and_scored_and_is_made_once(start, tmp_path):
    examples, settings = pairs(8, 3), SETTINGS.model_copy(update={"steps": 2, "reward_epochs": 1})
    arguments = (settings, str(start), examples, examples, tmp_path / "arm", 8, 4, 1)
    result = rlhf.train_online("arm", *arguments)
    drawn = 2 * SETTINGS.prompts * SETTINGS.generations
    assert result.metrics["replies_drawn"] == drawn and result.steps == 2
    assert result.metrics["policy_passes"] == result.metrics["reference_passes"] == drawn / 8
    assert result.metrics["reward_passes"] == 2 + drawn / 8
    assert result.seconds == result.metrics["reward_seconds"] + result.metrics["policy_seconds"] > 0
    assert not result.skipped and rlhf.train_online("arm", *arguments).skipped
    for name in ("model.safetensors", "metrics.jsonl", "training.json"):
        path = tmp_path / "arm" / name
        path.write_bytes(path.read_bytes()[:-9])
        assert not rlhf.train_online("arm", *arguments).skipped, name
    assert rlhf.train_online("arm", *arguments).skipped


def test_grpo_takes_the_same_settings(start, reward, tmp_path):
    settings = SETTINGS.model_copy(update={"trainer": "grpo", "steps": 2})
    history = policy(settings, start, reward, tmp_path / "grpo")
    assert len(history) == 2 and np.isfinite([row["reward"] for row in history]).all()


def test_an_adapter_is_merged_first_and_its_model_is_the_reference(start, tmp_path):
    examples = pairs(16, 5)
    train(
        TrainingConfig(
            arm="sft", model=str(start), output=tmp_path / "sft", method="sft", learning_rate=1e-2, batch_size=8,
            epochs=2, lora=Lora(rank=2, alpha=8),
        ),
        examples,
        lambda line: None,
    )  # fmt: skip
    adapter = str(tmp_path / "sft")
    rlhf.train_reward(SETTINGS, adapter, examples, tmp_path / "reward", batch_size=8)
    learnt = rlhf.RewardModel(tmp_path / "reward")
    assert learnt.accuracy(examples) > 0.5
    history = policy(SETTINGS.model_copy(update={"steps": 2}), adapter, learnt, tmp_path / "policy")
    assert history[0]["kl"] == pytest.approx(0, abs=1e-3)
    row = torch.tensor([[5, 6, 7, 8]])
    before = load_frozen(adapter)(input_ids=row).logits
    assert torch.allclose(load_frozen(str(tmp_path / "policy" / "start"))(input_ids=row).logits, before, atol=1e-5)
    assert not torch.allclose(load_frozen(str(start))(input_ids=row).logits, before, atol=1e-2)
