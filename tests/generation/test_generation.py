from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM

from guardalign.data.construction import format_prompt
from guardalign.data.conversations import PreferencePair, Reply, Turn
from guardalign.errors import InputError
from guardalign.files import read_rows
from guardalign.generation.decoding import Sampler, can_share, decode_plain, decode_shared
from guardalign.generation.replies import (
    GenerationJob,
    GenerationSettings,
    dealt,
    generate,
    load_policy,
    made_with,
)
from guardalign.generation.store import Store
from guardalign.generation.trunks import Branch, Trunk, batched_trunks, plan_trunks
from guardalign.launch.accelerate import run_generation
from guardalign.models.encoding import encode_prompt, prompt_of
from tiny import FAMILIES, SHAPE, WORDS, make_model, make_tokenizer

LIBRARY = str(Path(__file__).parents[2] / "lib")


def make_pairs(conversations: int, points: int, seed: int = 0) -> list[PreferencePair]:
    """Conversations of 1 to ``points`` points whose history continues with the chosen replies."""
    rng = random.Random(seed)

    def say(low: int, high: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(low, high))) + "."

    pairs = []
    for number in range(conversations):
        guardrails = tuple(say(3, 9) for _ in range(rng.randint(1, 3)))
        turns: list[Turn] = []
        for point in range(rng.randint(1, points)):
            turns.append(Turn(role="user", text=say(2, 9)))
            common = {"id": f"c{number}-{point}", "conversation_id": f"c{number}", "guardrails": guardrails}
            pairs.append(PreferencePair(**common, turns=tuple(turns), chosen=say(2, 9), rejected="no"))
            turns.append(Turn(role="agent", text=pairs[-1].chosen))
    return pairs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random weights wide enough that greedy replies vary; the end token's row is scaled so that some end early."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = make_tokenizer()
    model = make_model("llama", len(tokenizer), scale=0.4)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] *= 1.8
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def contents(replies):
    return [(reply.pair_id, reply.text, reply.tokens, reply.finished) for reply in replies]


@torch.inference_mode()
def greedy_by_hand(model, prompt: list[int], limit: int, stop) -> tuple[tuple[int, ...], bool]:
    """One prompt, no cache, no batch: the definition of greedy decoding."""
    ids = list(prompt)
    for _ in range(limit):
        token = int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in stop:
            return tuple(ids[len(prompt) :]), True
        ids.append(token)
    return tuple(ids[len(prompt) :]), False


def test_trunks_by_hand():
    prompts = [[1, 2, 3, 9], [1, 2, 3, 4, 5, 9], [7, 8], [1, 2, 3, 4, 5, 9], [1, 2, 6]]
    assert plan_trunks(prompts, ["a", "a", "a", "a", "b"]) == [
        Trunk((1, 2, 3, 4, 5), (Branch(1, 5, (9,)), Branch(3, 5, (9,)), Branch(0, 3, (9,)))),
        Trunk((1, 2), (Branch(4, 2, (6,)),)),
        Trunk((7,), (Branch(2, 1, (8,)),)),
    ]


def test_batches_keep_trunks_whole_and_below_the_size():
    trunks = plan_trunks([[group, 5, position] for group in range(4) for position in range(3)], np.repeat(range(4), 3))
    assert [len(batch) for batch in batched_trunks(trunks, 6)] == [2, 2]
    assert [len(batch) for batch in batched_trunks(trunks, 8)] == [2, 2]
    assert [len(batch) for batch in batched_trunks(trunks, 1)] == [1, 1, 1, 1]


@pytest.mark.parametrize("family", FAMILIES)
def test_both_paths_decode_as_one_prompt_at_a_time_without_cache(family):
    """Prompts that are prefixes up to their end, that leave early, that share nothing; of one token; twice the same."""
    model = make_model(family, vocabulary=50, scale=0.3).eval()
    rng = random.Random(1)
    prompts, groups = [], []
    for group in range(4):
        history = [rng.randrange(50) for _ in range(rng.randint(1, 30))]
        for _ in range(rng.randint(1, 6)):
            history = history + [rng.randrange(50) for _ in range(rng.randint(1, 9))]
            prompts.append(history + [rng.randrange(50) for _ in range(rng.randint(0, 5))])
            groups.append(group)
    prompts += [[rng.randrange(50) for _ in range(12)], prompts[0], [3]]
    groups += [0, 0, 9]
    stop, limit = (2, 11, 17), 30
    expected = [greedy_by_hand(model, prompt, limit, stop) for prompt in prompts]
    assert {finished for _, finished in expected} == {True, False}
    trunks = plan_trunks(prompts, groups)
    shared = decode_shared(model, trunks, limit, stop, Sampler())
    plain = decode_plain(model, dict(enumerate(prompts)), limit, stop, Sampler())
    for index, reply in enumerate(expected):
        assert (shared[index].tokens, shared[index].finished) == reply
        assert (plain[index].tokens, plain[index].finished) == reply


def test_a_window_shorter_than_the_prompt_takes_the_plain_path(checkpoint, tmp_path):
    """Branching off would show a token what is outside its window."""
    folder = shutil.copytree(checkpoint, tmp_path / "window")
    torch.manual_seed(0)
    config = MistralConfig(vocab_size=360, **SHAPE, sliding_window=24, initializer_range=0.3, eos_token_id=2)
    MistralForCausalLM(config).save_pretrained(folder)
    policy, pairs = load_policy(folder), make_pairs(2, 2)
    assert can_share(policy.model, 24) and not can_share(policy.model, 25)
    replies = generate(folder, pairs, "arm", GenerationSettings(max_new_tokens=12), tmp_path / "r.jsonl")
    for pair, reply in zip(pairs, replies, strict=True):
        prompt = encode_prompt(policy.tokenizer, format_prompt(pair.guardrails, pair.turns)).tolist()
        tokens, finished = greedy_by_hand(policy.model, prompt, 12, policy.stop)
        assert (reply.tokens, reply.finished) == (len(tokens), finished)
        assert reply.text == policy.tokenizer.decode(tokens, skip_special_tokens=True).strip()


def test_replies_follow_the_models_chat_template(checkpoint, tmp_path):
    folder, pairs = shutil.copytree(checkpoint, tmp_path / "chat"), make_pairs(2, 2)
    (folder / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    policy = load_policy(folder)
    for way in ("plain", "chat"):
        settings = GenerationSettings(max_new_tokens=12, prompt=way)
        replies = generate(folder, pairs, "arm", settings, tmp_path / f"{way}.jsonl")
        for pair, reply in zip(pairs, replies, strict=True):
            text = prompt_of(pair, policy.tokenizer if way == "chat" else None)
            assert text.endswith({"plain": "\nAgent:", "chat": "\nassistant:"}[way])
            tokens, _ = greedy_by_hand(policy.model, encode_prompt(policy.tokenizer, text).tolist(), 12, policy.stop)
            assert reply.text == policy.tokenizer.decode(tokens, skip_special_tokens=True).strip()


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_reply_depends_neither_on_its_batch_nor_on_the_path(checkpoint, tmp_path, temperature):
    pairs = make_pairs(6, 4)
    ways = {"whole": {"batch_size": 64}, "single": {"batch_size": 1}, "plain": {"prefix_sharing": False}}
    made = {}
    for name, options in ways.items():
        settings = GenerationSettings(max_new_tokens=16, temperature=temperature, **options)
        made[name] = contents(generate(checkpoint, pairs, "arm", settings, tmp_path / f"{name}.jsonl"))
    assert made["whole"] == made["single"] == made["plain"]
    assert [pair_id for pair_id, *_ in made["whole"]] == [pair.id for pair in pairs]
    assert {finished for *_, finished in made["whole"]} == {True, False}
    alone = GenerationSettings(max_new_tokens=16, temperature=temperature)
    last = contents(generate(checkpoint, pairs[-1:], "arm", alone, tmp_path / "alone.jsonl"))
    assert last == made["whole"][-1:]


def test_the_seed_changes_sampled_replies_only(checkpoint, tmp_path):
    pairs = make_pairs(3, 3)

    def made(temperature: float, seed: int):
        settings = GenerationSettings(max_new_tokens=12, temperature=temperature, seed=seed)
        return contents(generate(checkpoint, pairs, "arm", settings, tmp_path / f"{temperature}-{seed}.jsonl"))

    assert made(0.0, 1) == made(0.0, 2)
    assert made(1.0, 1) != made(1.0, 2)


def test_several_samples_of_a_prompt_share_it_and_are_those_of_plain_sampling():
    model = make_model("llama", vocabulary=50, scale=0.3).eval()
    rng = random.Random(2)
    prompts = [[rng.randrange(50) for _ in range(size)] for size in (20, 7)]
    asked = [prompt for prompt in prompts for _ in range(5)]
    trunks = plan_trunks(asked, [0] * 5 + [1] * 5)
    assert sorted(len(trunk.tokens) for trunk in trunks) == [6, 19]
    draws = torch.rand(len(asked), 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shared = decode_shared(model, trunks, 12, (2, 11), Sampler(1.0, draws))
    assert shared == decode_plain(model, dict(enumerate(asked)), 12, (2, 11), Sampler(1.0, draws))
    assert len({shared[index].tokens for index in range(5)}) == 5


def test_sampled_tokens_follow_the_softmax():
    logits, count = torch.tensor([1.0, -0.5, 0.3, 2.0]), 40_000
    draws = torch.rand(count, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = Sampler(0.7, draws)(logits.expand(count, -1), torch.arange(count), 0)
    observed = torch.bincount(tokens, minlength=4) / count
    expected = (logits / 0.7).softmax(-1)
    # Four standard errors of a share of 40,000 draws are below 0.01.
    assert torch.allclose(observed, expected, atol=0.01)
    assert Sampler()(logits[None], torch.tensor([0]), 0).item() == 3


def test_a_draw_at_the_edge_picks_no_impossible_token():
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]])
    for draw, token in ((0.0, 1), (0.4999, 1), (0.5, 2), (1 - 2**-53, 2)):
        draws = torch.tensor([[draw]], dtype=torch.float64)
        assert Sampler(1.0, draws)(logits, torch.tensor([0]), 0).item() == token


def test_an_adapter_replies_as_its_unmerged_model(checkpoint, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(checkpoint)
    torch.manual_seed(3)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    make_tokenizer().save_pretrained(tmp_path / "adapter")
    policy, pairs = load_policy(tmp_path / "adapter"), make_pairs(3, 3)
    assert not isinstance(policy.model, PeftModel)
    settings = GenerationSettings(max_new_tokens=10)
    replies = generate(tmp_path / "adapter", pairs, "arm", settings, tmp_path / "adapter.jsonl")
    for pair, reply in zip(pairs, replies, strict=True):
        prompt = encode_prompt(policy.tokenizer, format_prompt(pair.guardrails, pair.turns)).tolist()
        tokens, _ = greedy_by_hand(adapted.eval(), prompt, 10, policy.stop)
        assert reply.text == policy.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    of_base = generate(checkpoint, pairs, "arm", settings, tmp_path / "base.jsonl")
    assert contents(of_base) != contents(replies)


def test_unchanged_output_is_kept_and_any_change_is_noticed(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    pairs, output, lines = make_pairs(3, 2), tmp_path / "replies" / "arm.jsonl", []

    def run(asked=pairs, **options) -> bool:
        """Whether anything was generated."""
        lines.clear()
        settings = GenerationSettings(**{"max_new_tokens": 6} | options)
        replies = generate(folder, asked, "arm", settings, output, lines.append)
        assert [reply.pair_id for reply in replies] == [pair.id for pair in asked]
        assert [json.loads(line)["pair_id"] for line in output.read_text().splitlines()] == [p.id for p in asked]
        assert not list(output.parent.glob("*.partial"))
        return bool(lines)

    assert run() and not run()
    assert not run(batch_size=2) and not run(seed=5), "neither touches greedy replies"
    assert run(max_new_tokens=7) and run()
    assert run(precision="bf16") and run()
    assert run(asked=pairs[::-1]) and run()
    other = pairs[0].model_copy(update={"guardrails": ("Say sorry.",)})
    assert run(asked=[other, *pairs[1:]]) and run()
    output.write_text(output.read_text().replace("c0-0", "c0-9"))
    assert run() and not run()
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight[5] += 0.01
    model.save_pretrained(folder)
    assert run() and not run()


def test_replies_are_decoded_in_the_precision_asked_for(checkpoint):
    dtypes = {name: load_policy(checkpoint, name).model.dtype for name in ("fp32", "bf16")}
    assert dtypes == {"fp32": torch.float32, "bf16": torch.bfloat16}


KILLED = """
import sys
from pathlib import Path
from guardalign.data.conversations import PreferencePair
from guardalign.errors import InputError
from guardalign.files import read_rows
from guardalign.generation.replies import GenerationSettings, generate
model, pairs, output = sys.argv[1:]
settings = GenerationSettings(max_new_tokens=48, batch_size=1)
generate(model, read_rows(pairs, PreferencePair), "arm", settings, Path(output))
"""


def test_a_killed_run_resumes(checkpoint, tmp_path):
    pairs = make_pairs(60, 3)
    (tmp_path / "pairs.jsonl").write_text("".join(pair.model_dump_json() + "\n" for pair in pairs))
    output, partial = tmp_path / "r.jsonl", tmp_path / "r.jsonl.partial"
    command = [sys.executable, "-c", KILLED, str(checkpoint), str(tmp_path / "pairs.jsonl"), str(output)]
    child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": LIBRARY, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (partial.exists() and partial.read_bytes().count(b"\n") > 5):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not output.exists()
    kept = partial.read_bytes().count(b"\n") - 1
    with partial.open("ab") as file:
        file.write(b'{"pair_id": "c0-0", "conversation_id')  # as if the kill had fallen into the write
    lines: list[str] = []
    settings = GenerationSettings(max_new_tokens=48)
    resumed = generate(checkpoint, pairs, "arm", settings, output, lines.append)
    assert lines == [f"arm: {len(pairs) - kept} replies to generate, {kept} already exist"]
    assert contents(resumed) == contents(generate(checkpoint, pairs, "arm", settings, tmp_path / "whole.jsonl"))


def test_pairs_are_dealt_by_conversation_in_parts_of_about_equal_length():
    pairs = make_pairs(12, 4)
    parts = dealt(pairs, 3)
    assert sorted(pair.id for part in parts for pair in part) == sorted(pair.id for pair in pairs)
    owners = [{pair.conversation_id for pair in part} for part in parts]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 12
    loads = [sum(len(format_prompt(pair.guardrails, pair.turns)) for pair in part) for part in parts]
    assert max(loads) < 1.3 * min(loads)
    assert dealt(pairs[:1], 2)[1] == [] and dealt([], 2) == [[], []]


def test_two_processes_write_the_replies_of_one_and_resume_from_what_it_left(checkpoint, tmp_path):
    """One process made three replies and was cut off; two make the rest, each in a file of its own."""
    pairs, settings = make_pairs(8, 3), GenerationSettings(max_new_tokens=16, temperature=0.8, seed=3)
    whole = contents(generate(checkpoint, pairs, "arm", settings, tmp_path / "whole.jsonl"))
    output, lines = tmp_path / "two" / "r.jsonl", []
    left = Store(output, made_with(checkpoint, pairs, "arm", settings))
    left.resume()
    kept = read_rows(tmp_path / "whole.jsonl", Reply)[4:7]
    left.append([reply.model_copy(update={"text": f"kept {reply.text}"}) for reply in kept])
    job = GenerationJob(model=str(checkpoint), arm="arm", settings=settings, output=output)
    replies = run_generation(job, pairs, "cpu2", lines.append)
    assert lines == [f"arm: {len(pairs) - 3} replies to generate, 3 already exist"]
    assert [reply.text.startswith("kept ") for reply in replies] == [4 <= at < 7 for at in range(len(pairs))]
    of_two = [reply for at, reply in enumerate(contents(replies)) if not 4 <= at < 7]
    assert of_two == [reply for at, reply in enumerate(whole) if not 4 <= at < 7]
    names = [".jobs", "r.jsonl", "r.jsonl.made", "r.jsonl.sha256"]
    assert sorted(path.name for path in output.parent.iterdir()) == names
    assert read_rows(output, Reply) == replies
    assert run_generation(job, pairs, "cpu2", lines.append) == replies
    assert len(lines) == 1, "nothing is started where all replies are there"
    log = (output.parent / ".jobs" / "r" / "generation.log").read_text()
    assert log.count("replies to generate") == 1


def quiet(line: str) -> None:
    """Takes no notice of the log."""


def test_what_another_run_left_is_not_mixed_in(checkpoint, tmp_path):
    output, pairs = tmp_path / "r.jsonl", make_pairs(2, 2)
    left = {"pair_id": pairs[0].id, "conversation_id": "c0", "arm": "arm", "text": "another model's"}
    (tmp_path / "r.jsonl.partial").write_text(json.dumps({"made": "0" * 16}) + "\n" + json.dumps(left) + "\n")
    replies = generate(checkpoint, pairs, "arm", GenerationSettings(max_new_tokens=4), output)
    assert all(reply.text != "another model's" for reply in replies)


def test_prompts_too_long_and_repeated_ids_are_refused_by_name(checkpoint, tmp_path):
    pairs = make_pairs(2, 2)
    longest = max(pairs, key=lambda pair: len(format_prompt(pair.guardrails, pair.turns)))
    with pytest.raises(InputError, match=f"{longest.id} .* 2048"):
        generate(checkpoint, pairs, "arm", GenerationSettings(max_new_tokens=2000), tmp_path / "r.jsonl")
    with pytest.raises(InputError, match="id of another"):
        generate(checkpoint, [*pairs, pairs[0]], "arm", GenerationSettings(), tmp_path / "r.jsonl")
    assert generate(checkpoint, [], "arm", GenerationSettings(), tmp_path / "none.jsonl") == []
