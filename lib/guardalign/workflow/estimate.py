"""What a run needs, before anything starts: memory, disk, hours, dollars; and a refusal if a machine is too small.

Weights, gradients and optimiser states are counted (bytes per weight as in Rajbhandari et al. 2020, "ZeRO", section
3.1, with float32 weights and autocast as ``models.loading`` has them), on torch's meta device: no weights are read.
Activations are what autograd keeps of a decoder layer of the Llama family in transformers 5; a test counts them again.
Hours are floating-point operations (Kaplan et al. 2020, section 2.1) over an assumed share of the peak: good to a
factor of two.
"""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
import torch
import yaml
from torch import nn
from transformers import AutoModelForCausalLM

from guardalign.config.params import Params
from guardalign.config.plan import Plan
from guardalign.config.sections import Lora
from guardalign.data.construction import Rejection, format_prompt, points
from guardalign.data.conversations import Conversation, PreferencePair
from guardalign.data.splitting import split_of
from guardalign.errors import GuardalignError
from guardalign.files import RunFolder, resolved
from guardalign.launch import accelerate_config
from guardalign.llm.budget import PriceTable
from guardalign.llm.endpoint import Endpoint
from guardalign.llm.request import Usage
from guardalign.losses import METHODS
from guardalign.models.hub import may_run_code, reaching, read_config
from guardalign.models.loading import LoraSettings, adapter_base, base_model, is_adapter, with_adapter
from guardalign.study.sources import load

GIB, TERA = 2.0**30, 1e12
CHARACTERS_A_TOKEN = 4.0
PROCESS_BYTES = 0.9 * GIB
"""A Python process with torch and transformers loaded; a CUDA process takes 0.6 GiB of its GPU beforehand."""
SHARE_OF_PEAK = 0.35
"""Of a GPU's peak that training reaches (0.3 to 0.5 is usual: Chowdhery et al. 2022, "PaLM", table 3)."""
CPU_TFLOPS, NARROW = {"fp32": 0.06, "bf16": 0.13}, 512
"""What a core reaches (measured on AMD Zen 4, SmolLM2-135M); narrower models reach a quarter of it."""
DEVICES = {"H200": (141, 989), "H100": (80, 989), "A100": (80, 312), "L40S": (48, 362), "A6000": (48, 155),
           "RTX 4090": (24, 165), "RTX 3090": (24, 71), "A10": (24, 125), "L4": (24, 121), "T4": (16, 65)}  # fmt: skip
"""GPUs: GiB, and dense bf16 TFLOP/s by the maker's data sheet."""
STATE_BYTES = {"adamw": 8.0, "rmsprop": 4.0, "paged_adamw_8bit": 2 * (1 + 4 / 256)}
"""Bytes of optimiser state per trained weight: two float32 moments, one, or two of 8 bits with a scale for each 256."""
INNER_BYTES = {"fp32": 4.0, "bf16": 4.0, "int8": 1.0, "nf4": 0.5 + 1 / 64 + 4 / (64 * 256)}
"""Bytes per inner weight: nf4 has a scale of 8 bits for 64 weights, itself scaled for 256 (Dettmers et al. 2023)."""
KEPT = {"fp32": (24, 16, 8, 8), "bf16": (26, 8, 4, 4)}
KEPT_BY_ADAPTERS = {"fp32": (16, 16, 8, 8), "bf16": (18, 8, 6, 4), "int8": (26, 10, 6, 4), "nf4": (18, 14, 10, 8)}
"""Bytes per token that autograd keeps of a decoder layer for each of its width, inner width, queries and keys: where
all weights are trained, and where adapters are."""
LOGIT_BYTES = 12
"""A predicted token's log-probs over the vocabulary in float32, their gradient, and the gradient of the logits."""
JUDGE_PROMPT, JUDGE_REPLY, CANARIES_AN_ITEM = 900, 460, 3
"""Tokens a judge call holds besides conversation and replies, and of its answer (measured: benchmarks/results)."""


class TooSmall(GuardalignError):
    """The machine is short of something the run needs; the message names it and what to change."""


@dataclass(frozen=True)
class Shape:
    """Counts of weights (``inner``: of the decoder's linear layers, which int8 and nf4 quantise) and widths.

    ``adapter``: weights of low-rank adapters, 0 for full fine-tuning. ``queries`` and ``keys`` are heads times head
    width.
    """

    parameters: int
    inner: int
    adapter: int
    rank: int
    layers: int
    hidden: int
    intermediate: int
    queries: int
    keys: int
    vocabulary: int

    @property
    def trained(self) -> int:
        return self.adapter or self.parameters


def shape_of(name: str, lora: Lora | None = None) -> Shape:
    """The shape of a model by folder or hub name. Raises ModelUnavailable."""
    base = adapter_base(name) if is_adapter(name) else name
    config, trusted = read_config(base), may_run_code(base)
    with torch.device("meta"), reaching(base):
        return measured(AutoModelForCausalLM.from_config(config, trust_remote_code=trusted), config, lora)


def measured(model: Any, config: Any, lora: Lora | None = None) -> Shape:
    """The shape of a model that is already built, on any device; with ``lora`` it gets an adapter."""
    output, decoder = model.get_output_embeddings(), config.get_text_config(decoder=True)
    linear = [each for each in model.modules() if isinstance(each, nn.Linear) and each is not output]
    parameters, inner = sum(weight.numel() for weight in model.parameters()), sum(e.weight.numel() for e in linear)
    adapted = with_adapter(model, LoraSettings(**lora.model_dump())).parameters() if lora else ()
    heads = decoder.num_attention_heads
    width = getattr(decoder, "head_dim", None) or decoder.hidden_size // heads
    return Shape(
        parameters=parameters,
        inner=inner,
        adapter=sum(weight.numel() for weight in adapted if weight.requires_grad),
        rank=lora.rank if lora else 0,
        layers=decoder.num_hidden_layers,
        hidden=decoder.hidden_size,
        intermediate=getattr(decoder, "intermediate_size", None) or 4 * decoder.hidden_size,
        queries=heads * width,
        keys=(getattr(decoder, "num_key_value_heads", None) or heads) * width,
        vocabulary=decoder.vocab_size,
    )


@dataclass(frozen=True)
class Row:
    """The largest forward pass: distinct tokens, those that are predicted, and whether gradients of an earlier pass of
    the same step wait meanwhile."""

    tokens: float
    predicted: float
    accumulates: bool = False


def training_memory(
    shape: Shape,
    row: Row,
    precision: str,
    optimizer: str,
    checkpointing: bool,
    shards: int = 1,
    replicated: bool = False,
) -> dict[str, float]:
    """Bytes at the peak of a training step, by what they are for. ``shards`` processes share weights, gradients and
    states; ``replicated``: others hold the same weights (DDP, whose buckets are a second copy of the gradients).

    The peak is at the end of the forward pass or of the backward pass: gradients come while activations go. The
    reference costs nothing extra: its log-probs are computed before the policy is loaded.
    """
    head, layer = shape.parameters - shape.inner, shape.inner // shape.layers
    gradients = 4.0 * shape.trained / shards
    kept = row.tokens * token_bytes(shape, precision)
    passing = row.tokens * (8.0 * shape.hidden + 3.0 * (4 if precision == "fp32" else 2) * shape.intermediate)
    logits, copies = LOGIT_BYTES * row.predicted * shape.vocabulary, 0.0
    if precision != "fp32":  # autocast keeps bfloat16 copies of matrices until the backward pass has used them
        whole = precision == "bf16" and shards == 1 and not (checkpointing and shape.adapter)
        copies = 2.0 * ((shape.inner if whole else layer) + shape.vocabulary * shape.hidden)
    if checkpointing:  # keeps a layer's input and computes one layer again (Chen et al. 2016)
        passes = 4.0 * shape.layers * shape.hidden * row.tokens + max(logits + copies, kept + passing + 2.0 * layer)
    else:
        passes = shape.layers * kept + passing + logits + copies
    waiting = gradients if row.accumulates else 0.0
    return {
        "weights": weight_bytes(shape, precision) / shards + (4.0 * (2 * layer + head) if shards > 1 else 0.0),
        "optimiser": STATE_BYTES[optimizer] * shape.trained / shards,
        "gradients": waiting + (gradients if replicated else 0.0),
        "activations": max(passes, gradients - waiting + passing),
    }


def weight_bytes(shape: Shape, precision: str) -> float:
    """The kept weights of a whole model, adapters included: float32 unless quantised."""
    return INNER_BYTES[precision] * shape.inner + 4.0 * (shape.parameters - shape.inner + shape.adapter)


def token_bytes(shape: Shape, precision: str) -> float:
    """Bytes that autograd keeps of one token in one decoder layer, attention's inner workings aside."""
    widths = (shape.hidden, shape.intermediate, shape.queries, shape.keys)
    factors = (KEPT_BY_ADAPTERS if shape.adapter else KEPT)[precision]
    low_rank = (28 if precision == "fp32" else 14) * shape.rank
    return 8 + low_rank + sum(factor * width for factor, width in zip(factors, widths, strict=True))


@dataclass(frozen=True)
class Data:
    """Points by split, and mean tokens: of a prompt, of a conversation's longest prompt, of a reply; the longest prompt
    of all; points per conversation. ``origin`` names the source of the figures."""

    splits: dict[str, int]
    prompt: float
    last: float
    longest: float
    reply: float
    per_conversation: float
    origin: str

    def count(self, *splits: str) -> int:
        return sum(self.splits.get(name, 0) for name in splits)


PAPER_A = Data(
    {"train": 5100, "feedback": 1650, "test": 1707}, 900.0, 1500.0, 2000.0, 60.0, 8457 / 880,
    "paper A's 8,457 points of 880 conversations, with lengths assumed (the data are not there)",
)  # fmt: skip


def data_of(settings: Params) -> Data:
    """What the run's source holds; paper A's size if your own data do not exist yet. Conversations without pairs
    count every answer of the agent as a point."""
    source = settings.source
    read = load(source) if source.kind != "jsonl" or resolved(source.path or "").exists() else None
    pairs = [] if read is None else read.pairs or [p for each in read.conversations for p in _possible(each, settings)]
    if not pairs:
        return PAPER_A
    last: dict[str, int] = {}
    lengths = [len(format_prompt(pair.guardrails, pair.turns)) for pair in pairs]
    for pair, length in zip(pairs, lengths, strict=True):
        last[pair.conversation_id] = max(last.get(pair.conversation_id, 0), length)
    splits, limit = [str(pair.split) for pair in pairs], float(settings.model.max_length)
    prompt, mean, longest = (
        min(limit, length / CHARACTERS_A_TOKEN) for length in (fmean(lengths), fmean(last.values()), max(last.values()))
    )
    where = {"world": "the embedded world", "care": "the care corpus"}.get(source.kind, Path(source.path or "").name)
    return Data(
        splits={name: splits.count(name) for name in dict.fromkeys(splits)},
        prompt=prompt,
        last=mean,
        longest=longest,
        reply=fmean(len(pair.chosen) + len(pair.rejected) for pair in pairs) / 2 / CHARACTERS_A_TOKEN + 1,
        per_conversation=len(pairs) / len(last),
        origin=f"{len(pairs)} points of {len(last)} conversations in {where}",
    )


def _possible(conversation: Conversation, settings: Params) -> list[PreferencePair]:
    tagged = [turn.model_copy(update={"tagged": True}) for turn in conversation.turns]
    whole = conversation.model_copy(update={"turns": tuple(tagged)})
    split = split_of(conversation.id, settings.source.seed, settings.source.shares)
    found = points(whole, lambda each, index: Rejection(each.turns[index].text + "."))
    return [pair.model_copy(update={"split": split}) for pair in found]


@dataclass(frozen=True)
class Work:
    """One arm's training: ``tokens`` through the policy (distinct ones), and the arm whose log-probs it needs."""

    method: str
    reference: str | None
    tokens: float


def works(settings: Params, data: Data) -> list[Work]:
    """Every arm of the plan, once per seed; Flow 2 is counted as if every answer were kept."""
    plan, size = settings.study, settings.training.batch_size

    def pairs(name: str) -> int:
        return min(data.count(*plan.arms[name].pairs.splits), plan.arms[name].pairs.count or sys.maxsize)

    def steps(name: str) -> int:
        arm = plan.arms[name]
        return sum(map(steps, arm.steps)) if isinstance(arm.steps, tuple) else arm.steps or passes(name)

    def passes(name: str) -> int:
        return plan.arms[name].epochs * -(-pairs(name) // size)

    found = []
    for name in plan.order():
        arm = plan.arms[name]
        tokens = steps(name) * batch_tokens(settings, data, min(size, pairs(name)), replies(arm.method))
        found.append(Work(arm.method, (arm.reference or arm.start) if METHODS[arm.method].reference else None, tokens))
    return found * max(1, len(plan.seeds))


def replies(method: str) -> int:
    """Replies per pair that go through the model."""
    loss = METHODS[method]
    return (1 if loss.replies == "chosen" else 2) + 2 * loss.mismatched


def batch_tokens(settings: Params, data: Data, pairs: int, each: int, prompt: float | None = None) -> float:
    """Tokens that are computed for a batch of ``pairs`` with ``each`` replies per pair.

    The tree engine computes a conversation's prompt once in a batch, and of its chosen replies those that later prompts
    hold. Where batches follow conversations, a batch of n pairs meets 1 + (n - 1) / (points per conversation) of them,
    some in part. TRL computes every row separately.
    """
    if settings.training.engine == "trl":
        return pairs * each * ((prompt or data.prompt) + data.reply)
    if settings.training.batching == "pair":
        return pairs * ((prompt or data.prompt) + each * data.reply)
    met = 1 + (pairs - 1) / data.per_conversation
    share = min(1.0, pairs / data.per_conversation / met)
    trunk = prompt or share * data.last + (1 - share) * data.prompt
    return met * (trunk + data.reply) + pairs * (each - 1) * data.reply


def flops_a_token(settings: Params, shape: Shape) -> int:
    """Operations for a weight and a token that trains: 6, of them 2 forward (Kaplan et al. 2020, section 2.1).

    Adapters need no gradients of the frozen weights (4); checkpointing computes the forward pass twice (2 more).
    """
    return (4 if shape.adapter else 6) + (2 if settings.training.gradient_checkpointing else 0)


@dataclass(frozen=True)
class Judging:
    """Calls, tokens of prompts and answers, and dollars (None if a price is not known)."""

    calls: int
    tokens: float
    dollars: float | None


def judging(settings: Params, data: Data) -> Judging:
    """What the judge is asked, in each order: the contrasts, the compared methods and their start against the chosen
    replies, the data's own pairs, canaries, and Flow 2's filter."""
    judge, plan = settings.judge, settings.study
    asked = [each for each in (judge.judges or (judge,)) if each.kind == "llm"]
    methods = plan.part("methods")
    against = len(methods) + len({plan.arms[name].start for name in methods})
    items = len(settings.contrasts()) * data.count("test", "transfer") + against * data.count("test")
    items += sum(data.count(*splits) for splits in {arm.pairs.splits for arm in plan.arms.values() if arm.pairs.judged})
    items = items * max(1, len(plan.seeds)) + data.count("test") + CANARIES_AN_ITEM * judge.canaries
    calls, prompt = items * (2 if judge.orders == "both" else 1), JUDGE_PROMPT + data.prompt + 2 * data.reply
    used = Usage(prompt=round(calls * prompt), cached=0, completion=calls * JUDGE_REPLY)
    prices = [PriceTable.load(each.prices).price(Endpoint.of(each)) for each in asked]
    dollars = None if None in prices else sum(price.of(used) for price in prices if price)
    return Judging(calls * len(asked), calls * len(asked) * (prompt + JUDGE_REPLY), dollars)


@dataclass(frozen=True)
class Machine:
    """Bytes of memory and of free disk, processor cores, and GPUs: name and bytes of each."""

    memory: float
    disk: float
    cores: int
    gpus: tuple[tuple[str, float], ...] = ()

    @classmethod
    def here(cls, folder: Path) -> Machine:
        """This machine, its disk where ``folder`` is (or will be). A container's limit counts as its memory."""
        there = next(path for path in (folder, *folder.parents) if path.exists())
        found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        limit = Path("/sys/fs/cgroup/memory.max")
        most = limit.read_text().strip() if limit.exists() else ""
        return cls(
            memory=min(float(psutil.virtual_memory().total), float(most) if most.isdigit() else float("inf")),
            disk=float(shutil.disk_usage(there).free),
            cores=psutil.cpu_count(logical=False) or 1,
            gpus=tuple((each.name, float(each.total_memory)) for each in found),
        )

    @classmethod
    def of(cls, device: str, count: int) -> Machine:
        """A machine of ``count`` GPUs of a known kind, with memory and disk that are never short."""
        return cls(float("inf"), float("inf"), 8, ((device, DEVICES[device][0] * GIB),) * count)

    @property
    def tflops(self) -> float | None:
        """The peak of its first GPU, by the longest known name that the driver's holds; None if that is unknown."""
        known = [name for name in DEVICES if self.gpus and name in self.gpus[0][0]]
        return DEVICES[max(known, key=len)][1] if known else None


@dataclass(frozen=True)
class Estimate:
    """All figures: bytes, hours, dollars. ``memory`` is a process's while it trains, ``writing`` while it decodes;
    ``processes`` run on each machine, ``everywhere`` in all."""

    shape: Shape
    data: Data
    kind: str
    processes: int
    everywhere: int
    gpu: bool
    work: tuple[Work, ...]
    memory: dict[str, float]
    writing: float
    disk: dict[str, float]
    hours: float
    judging: Judging

    @property
    def peak(self) -> float:
        """Bytes of tensors that a device needs at most."""
        return max(sum(self.memory.values()), self.writing)

    @property
    def process(self) -> float:
        """Bytes a process needs at most: its GPU's share, or on a CPU all of it, Python and its libraries included."""
        return self.peak + (0.6 * GIB if self.gpu else PROCESS_BYTES)


def estimate(settings: Params, machine: Machine) -> Estimate:
    """What a run of ``settings`` needs on a machine like ``machine``. Raises ModelUnavailable, ParameterError."""
    name, training, kind = base_model(settings.model.name), settings.training, settings.launch.kind
    shape, data = shape_of(name, settings.model.lora), data_of(settings)
    launch = {} if kind == "none" else yaml.safe_load(accelerate_config(kind).read_text(encoding="utf-8"))
    everywhere = int(launch.get("num_processes", 1))
    gpu = not launch.get("use_cpu", False) if launch else bool(machine.gpus)
    shards = everywhere if launch.get("distributed_type") in ("FSDP", "DEEPSPEED") else 1
    work = works(settings, data)
    how = (settings.model.precision, training.optimizer, training.gradient_checkpointing, shards)
    rows = [_largest(settings, data, method, everywhere) for method in {each.method for each in work}]
    memories = [training_memory(shape, row, *how, replicated=everywhere > shards) for row in rows]
    stored = 2 if gpu and shape.adapter else 4
    length = data.longest + settings.generation.max_new_tokens
    starts = {each.reference: each.tokens for each in work if each.reference}
    trained = sum(each.tokens for each in work) * flops_a_token(settings, shape) + 2 * sum(starts.values())
    # Every arm's replies to the test prompts: a conversation's history once, then a token at a time.
    written = len(work) * data.count("test", "transfer") * (data.last / data.per_conversation + data.reply)
    processes = everywhere // int(launch.get("num_machines", 1))
    cores = CPU_TFLOPS.get(settings.model.precision, 0.06) * max(1, machine.cores // processes)
    cores /= 4 if shape.hidden < NARROW else 1
    speed = (machine.tflops or DEVICES["A10"][1]) * SHARE_OF_PEAK if gpu else cores
    return Estimate(
        shape, data, kind, processes, everywhere, gpu, tuple(work),
        memory=max(memories, key=lambda each: sum(each.values())),
        writing=stored * shape.parameters + settings.generation.batch_size * length * 4.0 * shape.layers * shape.keys,
        disk={
            "models": 4.0 * shape.trained * _kept(settings.study),
            "checkpoints": 3 * (4.0 + STATE_BYTES[training.optimizer]) * shape.trained,
            "reference": 16.0 * data.reply * data.count("train", "feedback") * len(starts),
            "download": 0.0 if Path(name).is_dir() else 2.0 * shape.parameters,
        },
        hours=shape.parameters * (trained + 2 * written) / (speed * TERA * everywhere) / 3600,
        judging=judging(settings, data),
    )  # fmt: skip


def _kept(plan: Plan) -> int:
    """How many arms' weights are on disk in the end."""
    later = len(plan.arms) if plan.keep else sum(map(plan.is_needed, plan.arms)) + plan.workers
    return len(plan.arms) + later * (max(1, len(plan.seeds)) - 1)


def _largest(settings: Params, data: Data, method: str, processes: int) -> Row:
    """A process's share of a batch of the longest conversations, within row_tokens."""
    pairs, each = -(-settings.training.batch_size // processes), replies(method)
    tokens = batch_tokens(settings, data, pairs, each, data.longest)
    most = tokens if settings.training.engine == "trl" else min(tokens, float(settings.training.row_tokens))
    return Row(most, min(most, pairs * each * data.reply * most / tokens), tokens > most)


def check(found: Estimate, machine: Machine, folder: Path) -> None:
    """Compare the needs with the machine; ``folder`` is the run's, whose existing files are counted.

    Raises TooSmall naming everything that is short and what to change.
    """
    short = []
    if found.gpu and len(machine.gpus) < found.processes:
        short.append(
            f"launch.kind {found.kind} wants {found.processes} GPUs on this machine, which has {len(machine.gpus)}: "
            "set num_processes in params/accelerate, choose another kind, or run it elsewhere (--profile)."
        )
    need, have = found.processes * found.process, machine.memory
    if found.gpu:
        need, have = found.process, min((size for _, size in machine.gpus), default=float("inf"))
    if need > have:
        short.append(
            f"{'each GPU' if found.gpu else 'memory'}: {need / GIB:.1f} GiB wanted, {have / GIB:.1f} there. Lower "
            "training.row_tokens or generation.batch_size, switch training.gradient_checkpointing on, train adapters "
            "(model.lora; model.precision: nf4), or take a smaller model."
        )
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    if (need := sum(found.disk.values()) - there) > machine.disk:
        short.append(
            f"disk: {need / GIB:.1f} GiB wanted, {machine.disk / GIB:.1f} free. Free some space, give `run:` a folder "
            "on another disk, train adapters (model.lora), or compare fewer methods."
        )
    if short:
        raise TooSmall(
            "\n- ".join(["This machine is too small for these parameters:", *short])
            + "\n`guardalign estimate PARAMS` prints the whole estimate; GUARDALIGN_UNCHECKED=1 starts anyway."
        )


def table(found: Estimate) -> str:
    """A line per need, the parts it is made of behind it."""
    shape, judged, tokens = found.shape, found.judging, sum(each.tokens for each in found.work)
    trained = f"{shape.adapter / 1e6:.1f}M of adapters" if shape.adapter else "all"
    price = "price not known" if judged.dollars is None else f"${judged.dollars:.0f}"
    rows = {
        "model": f"{shape.parameters / 1e6:.1f}M weights, {trained} trained",
        "data": f"{found.data.origin}; a prompt {found.data.prompt:.0f} tokens, a reply {found.data.reply:.0f}",
        "processes": f"{found.everywhere} (launch.kind {found.kind}), on {'GPUs' if found.gpu else 'the CPU'}",
        "memory, training": f"{_size(sum(found.memory.values()))} per process: {_parts(found.memory)}",
        "memory, writing": _size(found.writing),
        "disk": f"{_size(sum(found.disk.values()))}: {_parts(found.disk)}",
        "time": f"{_time(found.hours)}: {len(found.work)} trainings of {tokens / 1e6:.1f}M tokens, and their replies",
        "judge": f"{judged.calls} calls, {judged.tokens / 1e6:.1f}M tokens, {price}" if judged.calls else "no calls",
    }
    return "\n".join(f"{name:18}{text}" for name, text in rows.items())


def summary(found: Estimate) -> str:
    """The estimate in one line, for the beginning of a run."""
    judged = found.judging
    price = f" (about ${judged.dollars:.0f})" if judged.calls and judged.dollars else ""
    return (
        f"Estimate: {_size(found.process)} of memory per process, {_size(sum(found.disk.values()))} of disk, "
        f"{_time(found.hours)}" + (f", {judged.calls} judge calls{price}." if judged.calls else ".")
    )


def _parts(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {_size(value)}" for name, value in parts.items() if value >= 1e6)


def _size(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.0f} MiB"


def _time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"


def command(parser: ArgumentParser, given: Sequence[str]) -> None:
    parser.add_argument("params", type=Path, help="a parameter file")
    parser.add_argument("--device", choices=DEVICES, help="for machines with this GPU (default: this machine)")
    parser.add_argument("--brief", action="store_true", help="one line")
    arguments = parser.parse_args(given)
    settings = Params.load(arguments.params)
    folder = RunFolder.named(settings.run).root
    machine = Machine.here(folder)
    if arguments.device:
        machine = Machine.of(arguments.device, 1)
    found = estimate(settings, machine)
    if arguments.device:
        machine = Machine.of(arguments.device, found.processes)
    print(summary(found) if arguments.brief else table(found), flush=True)
    check(found, machine, folder)
    if not arguments.brief:
        print(f"Machines with {arguments.device} GPUs have that." if arguments.device else "This machine has that.")
