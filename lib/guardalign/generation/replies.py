"""Prompts and a checkpoint in, replies out: greedy or sampled, in batches, resuming interrupted runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from guardalign.config.sections import DecodingPrecision
from guardalign.data.conversations import Reply, Row
from guardalign.data.examples import Prompt
from guardalign.errors import InputError, OutOfMemory
from guardalign.files import fingerprint, read_rows
from guardalign.generation.decoding import Completion, Sampler, can_share, decode_plain, decode_shared
from guardalign.generation.store import Store
from guardalign.generation.trunks import batched_trunks, plan_trunks
from guardalign.models import loading
from guardalign.models.encoding import encode_prompt, prompt_of
from guardalign.models.hub import reaching
from guardalign.models.loading import is_adapter, load_tokenizer, model_fingerprint, text_files


class GenerationSettings(Row):
    """How replies are made. ``batch_size`` counts prompts; ``seed`` matters at a temperature above 0 alone.

    ``prefix_sharing`` computes what a conversation's prompts have in common once; without it, or where a model's
    attention does not allow it, ``model.generate`` runs on every prompt. Both give the same replies up to numerics.
    ``prompt`` is that of ``sections.Model``.
    """

    max_new_tokens: int = Field(default=96, ge=1)
    batch_size: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    seed: int = 0
    prompt: Literal["plain", "chat"] = "plain"
    prefix_sharing: bool = True
    precision: DecodingPrecision = "auto"


class GenerationJob(Row):
    """One arm's replies as a file for ``python -m guardalign.generation``: the model, the JSONL of ``Prompt`` rows it
    answers, and where the replies go."""

    model: str
    arm: str
    settings: GenerationSettings = GenerationSettings()
    output: Path
    pairs: Path | None = None

    def store(self, pairs: Sequence[Prompt]) -> Store:
        """Where the replies to ``pairs`` are kept; its ``is_complete`` says whether all exist."""
        return Store(self.output, made_with(self.model, pairs, self.arm, self.settings))


@dataclass(frozen=True)
class Policy:
    """A model ready to decode, its tokenizer, and the tokens that end a reply."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stop: tuple[int, ...]


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that share the work; ``wait`` returns when all have called it."""

    index: int = 0
    count: int = 1
    wait: Callable[[], object] = lambda: None


ALONE = Ranks()


def generate(
    model_dir: str | Path,
    pairs: Sequence[Prompt],
    arm: str,
    settings: GenerationSettings,
    output: Path,
    log: Callable[[str], object] = print,
    ranks: Ranks = ALONE,
) -> list[Reply]:
    """The replies of the policy at ``model_dir`` to ``pairs``, in their order; they are also written to ``output``.

    ``model_dir`` is a checkpoint, a PEFT adapter's folder or a model's name on the hub. Replies are appended batch by
    batch to ``<output>.partial``, from which an interrupted call resumes; the output appears whole. It is returned as
    it is if model, settings and prompts are those it was made with (``<output>.made`` holds their fingerprint).
    ``ranks`` is this process's part of the work; each process appends to its own file, and all return all replies.
    Raises InputError if a prompt is longer than the model's positions allow, or two pairs have the same id, and
    OutOfMemory if the GPU cannot hold a batch.
    """
    repeated = len(pairs) - len({pair.id for pair in pairs})
    if repeated:
        raise InputError(f"{repeated} pairs have the id of another one")
    store = Store(output, made_with(model_dir, pairs, arm, settings), ranks.index)
    if store.is_complete():
        return read_rows(output, Reply)
    done = store.resume()
    ranks.wait()  # no rank adds replies before all have read which are missing
    waiting = [pair for pair in pairs if pair.id not in done]
    if waiting:
        log(f"{arm}: {len(waiting)} replies to generate" + (f", {len(done)} already exist" if done else ""))
    if mine := dealt(waiting, ranks.count)[ranks.index]:
        policy = load_policy(model_dir, settings.precision)
        try:
            for batch in reply_batches(policy, mine, arm, settings):
                store.append(batch)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"{arm}: out of memory. Lower generation.batch_size (now {settings.batch_size}; replies stay the same)."
            ) from error
    ranks.wait()
    by_pair = store.kept()
    ranks.wait()
    replies = [by_pair[pair.id] for pair in pairs]
    if ranks.index == 0:
        store.write(replies)
    ranks.wait()
    return replies


def made_with(model_dir: str | Path, pairs: Sequence[Prompt], arm: str, settings: GenerationSettings) -> str:
    """A fingerprint of what determines the replies: weights, tokenizer, end tokens, settings and prompts."""
    asked = [(pair.id, pair.conversation_id, prompt_of(pair)) for pair in pairs]
    outcome = settings.model_dump(exclude={"batch_size", "prefix_sharing"})
    if not settings.temperature:
        outcome.pop("seed")
    weights = model_fingerprint(str(model_dir))
    return fingerprint(fingerprint(weights, *text_files(model_dir)), outcome, asked, arm)


def dealt(pairs: Sequence[Prompt], count: int) -> list[list[Prompt]]:
    """The pairs in ``count`` parts of about equal length in characters; a conversation's pairs stay together."""
    conversations: dict[str, list[Prompt]] = {}
    for pair in pairs:
        conversations.setdefault(pair.conversation_id, []).append(pair)
    length = {name: sum(len(prompt_of(pair)) for pair in group) for name, group in conversations.items()}
    parts: list[list[Prompt]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(conversations, key=lambda name: (-length[name], name)):
        least = loads.index(min(loads))
        parts[least] += conversations[name]
        loads[least] += length[name]
    return parts


def reply_batches(
    policy: Policy, pairs: Sequence[Prompt], arm: str, settings: GenerationSettings
) -> Iterator[list[Reply]]:
    """Decode the prompts of ``pairs`` batch by batch, longest first."""
    chat = policy.tokenizer if settings.prompt == "chat" else None
    texts = [prompt_of(pair, chat) for pair in pairs]
    prompts = [encode_prompt(policy.tokenizer, text).tolist() for text in texts]
    longest = max(map(len, prompts)) + settings.max_new_tokens
    _check_length(policy.model, longest, pairs[max(range(len(prompts)), key=lambda i: len(prompts[i]))].id)
    sampler = Sampler(settings.temperature, _draws(pairs, settings) if settings.temperature else None)
    size, rest = settings.batch_size, (settings.max_new_tokens, policy.stop, sampler)
    batches: Iterable[dict[int, Completion]]
    if settings.prefix_sharing and can_share(policy.model, longest):
        trunks = plan_trunks(prompts, [pair.conversation_id for pair in pairs])
        batches = (decode_shared(policy.model, batch, *rest) for batch in batched_trunks(trunks, size))
    else:
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        parts = ({i: prompts[i] for i in order[start : start + size]} for start in range(0, len(order), size))
        batches = (decode_plain(policy.model, batch, *rest) for batch in parts)
    for completions in batches:
        yield [_reply(policy, pairs[index], arm, completion) for index, completion in completions.items()]


def load_policy(model_dir: str | Path, precision: DecodingPrecision = "auto") -> Policy:
    """Load a checkpoint or adapter (merged into its base) for decoding, on the GPU if there is one.

    Raises ModelUnavailable.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = {"fp32": "float32", "bf16": "bfloat16", "auto": "auto" if device == "cuda" else "float32"}[precision]
    folder = str(model_dir)
    base = loading.adapter_base(folder) if is_adapter(folder) else folder
    with loading.without_bars(), reaching(base):
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, **loading.hub_rules(base))
    if is_adapter(folder):
        model = loading.on_base(model, folder).merge_and_unload()
    tokenizer = load_tokenizer(folder)
    ends = model.generation_config.eos_token_id
    stop = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    return Policy(model.to(device).eval(), tokenizer, tuple(sorted(stop)))


def _check_length(model: PreTrainedModel, length: int, pair_id: str) -> None:
    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if limit and length > limit:
        raise InputError(
            f"the prompt of {pair_id} and its reply may take {length} tokens, the model has {limit} positions; "
            "lower generation.max_new_tokens or leave the pair out"
        )


def _draws(pairs: Sequence[Prompt], settings: GenerationSettings) -> torch.Tensor:
    def of(pair_id: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(f"{settings.seed} {pair_id}".encode()).digest()[:8], "big") >> 1
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(settings.max_new_tokens, generator=generator, dtype=torch.float64)

    return torch.stack([of(pair.id) for pair in pairs])


def _reply(policy: Policy, pair: Prompt, arm: str, completion: Completion) -> Reply:
    text = str(policy.tokenizer.decode(list(completion.tokens), skip_special_tokens=True)).strip()
    return Reply(
        pair_id=pair.id,
        conversation_id=pair.conversation_id,
        arm=arm,
        text=text,
        tokens=len(completion.tokens),
        finished=completion.finished,
    )
