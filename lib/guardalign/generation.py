"""Prompts and a checkpoint in, replies out: greedy or sampled, in batches, going on where a run was cut off."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from peft import AutoPeftModelForCausalLM
from pydantic import Field
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from guardalign.construction import format_prompt
from guardalign.conversations import PreferencePair, Reply, Row
from guardalign.decoding import (
    Completion,
    Sampler,
    Trunk,
    can_share,
    decode_plain,
    decode_shared,
    plan_trunks,
)
from guardalign.encoding import encode_prompt
from guardalign.errors import GuardalignError
from guardalign.files import fingerprint, json_line, read_rows, write_rows, write_text
from guardalign.loading import is_adapter, load_tokenizer, model_fingerprint, without_bars

TEXT_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


class GenerationError(GuardalignError):
    """A prompt that the model cannot take, or a checkpoint that cannot be read."""


class GenerationSettings(Row):
    """How replies are made. ``batch_size`` counts prompts; ``seed`` matters at a temperature above 0 alone.

    ``prefix_sharing`` computes what a conversation's prompts have in common once; without it, or where a model's
    attention does not allow it, ``model.generate`` runs on every prompt. Both give the same replies up to numerics.
    """

    max_new_tokens: int = Field(default=96, ge=1)
    batch_size: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    seed: int = 0
    prefix_sharing: bool = True
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


@dataclass(frozen=True)
class Policy:
    """A model ready to decode, its tokenizer, and the tokens that end a reply."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stop: tuple[int, ...]


def generate(
    model_dir: str | Path,
    pairs: Sequence[PreferencePair],
    arm: str,
    settings: GenerationSettings | None = None,
    output: str | Path = "replies.jsonl",
    log: Callable[[str], object] = print,
) -> list[Reply]:
    """The replies of the policy at ``model_dir`` to ``pairs``, in their order; they are also written to ``output``.

    ``model_dir`` is a checkpoint, a PEFT adapter's folder or a model's name on the hub. Replies are appended batch by
    batch to ``<output>.partial`` and go on from there after a cut; the output appears whole. It is returned as it is
    when model, settings and prompts are those it was made with (``<output>.made`` holds their fingerprint).

    Raises:
        GenerationError: a prompt is longer than the model's positions allow, or two pairs have the same id.
    """
    settings, output = settings or GenerationSettings(), Path(output)
    repeated = len(pairs) - len({pair.id for pair in pairs})
    if repeated:
        raise GenerationError(f"{repeated} pairs have the id of another one")
    asked = [(pair.id, pair.conversation_id, format_prompt(pair.guardrails, pair.turns)) for pair in pairs]
    outcome = settings.model_dump(exclude={"batch_size", "prefix_sharing"})
    if not settings.temperature:
        outcome.pop("seed")
    made = fingerprint(policy_fingerprint(model_dir), outcome, asked, arm)
    store = _Store(output, made)
    if store.is_complete():
        return read_rows(output, Reply)
    done = store.resume()
    waiting = [pair for pair in pairs if pair.id not in done]
    if waiting:
        log(f"{arm}: {len(waiting)} replies to generate" + (f", {len(done)} there already" if done else ""))
        policy = load_policy(model_dir, settings.precision)
        for batch in reply_batches(policy, waiting, arm, settings):
            store.append(batch)
            done.update({reply.pair_id: reply for reply in batch})
    replies = [done[pair.id] for pair in pairs]
    store.finish(replies)
    return replies


def reply_batches(
    policy: Policy, pairs: Sequence[PreferencePair], arm: str, settings: GenerationSettings
) -> Iterator[list[Reply]]:
    """Decode the prompts of ``pairs`` batch by batch, longest first; what is common to a conversation only once."""
    texts = [format_prompt(pair.guardrails, pair.turns) for pair in pairs]
    prompts = [encode_prompt(policy.tokenizer, text).tolist() for text in texts]
    longest = max(map(len, prompts)) + settings.max_new_tokens
    _check_length(policy.model, longest, pairs[max(range(len(prompts)), key=lambda i: len(prompts[i]))].id)
    sampler = Sampler(settings.temperature, _draws(pairs, settings) if settings.temperature else None)
    if settings.prefix_sharing and can_share(policy.model, longest):
        batches = _decode_shared(policy, prompts, [pair.conversation_id for pair in pairs], settings, sampler)
    else:
        batches = _decode_plain(policy, prompts, settings, sampler)
    for completions in batches:
        yield [_reply(policy, pairs[index], arm, completion) for index, completion in completions.items()]


def _decode_shared(
    policy: Policy, prompts: list[list[int]], groups: list[str], settings: GenerationSettings, sampler: Sampler
) -> Iterator[dict[int, Completion]]:
    trunks = plan_trunks(prompts, groups)
    for batch in batched_trunks(trunks, settings.batch_size):
        yield decode_shared(policy.model, batch, settings.max_new_tokens, policy.stop, sampler)


def _decode_plain(
    policy: Policy, prompts: list[list[int]], settings: GenerationSettings, sampler: Sampler
) -> Iterator[dict[int, Completion]]:
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    for start in range(0, len(order), settings.batch_size):
        batch = {index: prompts[index] for index in order[start : start + settings.batch_size]}
        yield decode_plain(policy.model, batch, settings.max_new_tokens, policy.stop, sampler)


def batched_trunks(trunks: Sequence[Trunk], size: int) -> Iterator[list[Trunk]]:
    """Consecutive trunks with ``size`` branches together at most; a trunk with more than that is a batch of its own."""
    batch: list[Trunk] = []
    for trunk in trunks:
        if batch and sum(len(one.branches) for one in batch) + len(trunk.branches) > size:
            yield batch
            batch = []
        batch.append(trunk)
    if batch:
        yield batch


def load_policy(model_dir: str | Path, precision: str = "auto") -> Policy:
    """Load a checkpoint or adapter (merged into its base) for decoding, on the GPU where there is one.

    "auto" is the checkpoint's own precision on a GPU and float32 on a CPU.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = precision if precision != "auto" else "auto" if device == "cuda" else "float32"
    with without_bars():
        if is_adapter(str(model_dir)):
            model = AutoPeftModelForCausalLM.from_pretrained(model_dir, dtype=dtype).merge_and_unload()
        else:
            model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype)
    tokenizer = load_tokenizer(str(model_dir))
    ends = model.generation_config.eos_token_id
    stop = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    return Policy(model.to(device).eval(), tokenizer, tuple(sorted(stop)))


def policy_fingerprint(model_dir: str | Path) -> str:
    """Changes with the weights, the tokenizer, or the tokens that end a reply."""
    files = [file for name in TEXT_FILES if (file := Path(model_dir) / name).exists()]
    return fingerprint(model_fingerprint(str(model_dir)), *files)


def _check_length(model: PreTrainedModel, length: int, pair_id: str) -> None:
    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if limit and length > limit:
        raise GenerationError(
            f"the prompt of {pair_id} and its reply may take {length} tokens, the model has {limit} positions; "
            "lower generation.max_new_tokens or leave the pair out"
        )


def _draws(pairs: Sequence[PreferencePair], settings: GenerationSettings) -> torch.Tensor:
    def of(pair_id: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(f"{settings.seed} {pair_id}".encode()).digest()[:8], "big") >> 1
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(settings.max_new_tokens, generator=generator, dtype=torch.float64)

    return torch.stack([of(pair.id) for pair in pairs])


def _reply(policy: Policy, pair: PreferencePair, arm: str, completion: Completion) -> Reply:
    text = str(policy.tokenizer.decode(list(completion.tokens), skip_special_tokens=True)).strip()
    return Reply(
        pair_id=pair.id,
        conversation_id=pair.conversation_id,
        arm=arm,
        text=text,
        tokens=len(completion.tokens),
        finished=completion.finished,
    )


class _Store:
    """The files of one output: rows as they come in ``.partial``, the whole, and what it was made with in ``.made``."""

    def __init__(self, output: Path, made: str):
        self.output, self.made = output, made
        self.partial = output.with_name(output.name + ".partial")
        self.stamp = output.with_name(output.name + ".made")

    def is_complete(self) -> bool:
        if not (self.output.exists() and self.stamp.exists()):
            return False
        return json.loads(self.stamp.read_text(encoding="utf-8")) == self._stamp()

    def _stamp(self) -> dict[str, str]:
        return {"made": self.made, "content": fingerprint(self.output)}

    def resume(self) -> dict[str, Reply]:
        """The replies of a run that was cut off, if it was this one; a line cut in two is left out and cut away."""
        head = json.dumps({"made": self.made}) + "\n"
        lines = self.partial.read_bytes().splitlines(keepends=True) if self.partial.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        if not whole or whole[0] != head.encode():
            write_text(self.partial, head)
            return {}
        os.truncate(self.partial, sum(map(len, whole)))
        replies = [Reply.model_validate_json(line) for line in whole[1:]]
        return {reply.pair_id: reply for reply in replies}

    def append(self, replies: Sequence[Reply]) -> None:
        with self.partial.open("a", encoding="utf-8") as file:
            file.write("".join(json_line(reply) + "\n" for reply in replies))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, replies: Sequence[Reply]) -> None:
        """The stamp goes first and comes last, so that at no moment it vouches for another content."""
        self.stamp.unlink(missing_ok=True)
        write_rows(self.output, replies)
        write_text(self.stamp, json.dumps(self._stamp()) + "\n")
        self.partial.unlink(missing_ok=True)
