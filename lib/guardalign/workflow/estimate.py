"""What a run needs, before anything starts: memory, disk, hours, dollars; and a refusal if a machine is too small.

Hours are floating-point operations (Kaplan et al. 2020, section 2.1) over what a core or a GPU reaches: within 1.5
times of what was measured on a CPU, good to a factor of two on GPUs.
"""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import psutil
import torch
import yaml

from guardalign.config.params import Params
from guardalign.config.plan import CARE
from guardalign.data.construction import format_prompt
from guardalign.data.splitting import split_of
from guardalign.errors import GuardalignError
from guardalign.files import RunFolder, resolved
from guardalign.launch import accelerate_config
from guardalign.llm import Endpoint, Usage, price_of
from guardalign.losses import METHODS
from guardalign.models.loading import base_model
from guardalign.study import tasks
from guardalign.study.sources import Sourced, load
from guardalign.training.memory import STATE_BYTES, Row, Shape, shape_of, training_memory

GIB, TERA, CHARACTERS_PER_TOKEN = 2.0**30, 1e12, 4.0
LIBRARIES = {True: 0.6 * GIB, False: 0.9 * GIB}  # what a process takes besides tensors: of its GPU, or of memory
SHARE_OF_PEAK = 0.35  # of a GPU, in training (0.3 to 0.5 is usual: Chowdhery et al. 2022, "PaLM", table 3)
CPU_TFLOPS = {"fp32": 0.06, "bf16": 0.13}  # of a core (measured on AMD Zen 4 with SmolLM2-135M)
NARROW = 512  # models narrower than that reach a quarter of it
DEVICES = {"H200": (141, 989), "H100": (80, 989), "A100": (80, 312), "L40S": (48, 362), "A6000": (48, 155),
           "RTX 4090": (24, 165), "RTX 3090": (24, 71), "A10": (24, 125), "L4": (24, 121), "T4": (16, 65)}  # fmt: skip
"""GPUs: GiB, and dense bf16 TFLOP/s by the maker's data sheet."""
HH_TOKENS = 150.0, 60.0  # a prompt and a reply of Anthropic HH, roughly
JUDGE_PROMPT, JUDGE_REPLY = 900, 460  # tokens besides conversation and replies (measured: benchmarks/results)


class TooSmall(GuardalignError):
    """The machine is short of something the run needs; the message names it and what to change."""


class Data(NamedTuple):
    """Points by split; mean tokens of a prompt and of a reply; the longest prompt; points per conversation; source."""

    splits: dict[str, int]
    prompt: float
    reply: float
    longest: float
    per_conversation: float
    origin: str

    def points(self, *splits: str) -> int:
        return sum(self.splits.get(name, 0) for name in splits)


PAPER_A = Data({"train": 5100, "feedback": 1650, "test": 1707}, 900.0, 60.0, 2000.0, 8457 / 880,
               "paper A's 8,457 points, with lengths assumed (your data are not there)")  # fmt: skip


def data_of(settings: Params) -> Data:
    """What the run's source holds; paper A's size if your own data do not exist yet. Conversations without pairs
    count every answer of the agent as a point."""
    source, limit = settings.source, float(settings.model.max_length)
    if settings.study.tasks != (CARE,):
        return _data_of_tasks(settings)
    there = source.kind != "jsonl" or resolved(source.path or "").exists()
    read = load(source) if there else Sourced([])
    found = [(p.conversation_id, p.split, p.guardrails, p.turns, len(p.chosen + p.rejected) / 2) for p in read.pairs]
    found = found or [
        (each.id, split_of(each.id, source.seed, source.shares), each.guardrails, each.turns[:i], len(turn.text))
        for each in read.conversations for i, turn in enumerate(each.turns) if i and turn.role == "agent"
    ]  # fmt: skip
    if not found:
        return PAPER_A
    prompts = [min(limit, len(format_prompt(rules, turns)) / CHARACTERS_PER_TOKEN) for _, _, rules, turns, _ in found]
    splits, conversations = [str(split) for _, split, *_ in found], len({name for name, *_ in found})
    return Data(
        {name: splits.count(name) for name in dict.fromkeys(splits)}, fmean(prompts),
        fmean(reply for *_, reply in found) / CHARACTERS_PER_TOKEN + 1, max(prompts), len(found) / conversations,
        f"{len(found)} points of {conversations} conversations ({source.path or source.kind})",
    )  # fmt: skip


def _data_of_tasks(settings: Params) -> Data:
    """The mean task: pairs of one prompt each. Real rows, which may have to be downloaded, count as HH's are long."""
    names, sizes = [name for name in settings.study.tasks if name != CARE], settings.tasks
    twins = [name for name in names if tasks.source_of(settings, name).kind == "twin"]
    assert sizes is not None  # source_of has refused a file without them
    rows = [each for name in twins for each in tasks.splits(settings, name)["train"]]
    prompts = [len(each.prompt) / CHARACTERS_PER_TOKEN for each in rows] or [HH_TOKENS[0]]
    replies = [len(each.chosen) / CHARACTERS_PER_TOKEN + 1 for each in rows] or [HH_TOKENS[1]]
    return Data(
        {"train": sizes.train, "test": sizes.test}, fmean(prompts), fmean(replies), max(prompts), 1.0,
        f"{sizes.train} pairs of each task ({', '.join(names)})",
    )  # fmt: skip


class Work(NamedTuple):
    """One arm's training: ``tokens`` are the distinct ones that go through the policy."""

    method: str
    steps: int
    tokens: float


def works(settings: Params, data: Data) -> list[Work]:
    """Every arm of the plan, once per seed and task; Flow 2 as if every answer were kept, RLHF as DPO."""
    arms, size = settings.study.arms, settings.training.batch_size

    def pairs(name: str) -> int:
        wanted = arms[name].pairs
        return min(data.points(*wanted.splits) // (wanted.part or (1, 1))[1], wanted.count or sys.maxsize)

    def steps(name: str) -> int:
        own = arms[name].steps
        return (sum(map(steps, own)) if isinstance(own, tuple) else own) or arms[name].epochs * -(-pairs(name) // size)

    found = []
    for name in settings.study.order():
        arm, count = arms[name], steps(name)
        method = arm.method if arm.method in METHODS else "dpo"
        tokens = count * batch_tokens(settings, data, min(size, pairs(name)), method, data.prompt)
        found.append(Work(method, count, tokens))
    return found * max(1, len(settings.study.seeds)) * len(settings.study.tasks)


def batch_tokens(settings: Params, data: Data, pairs: int, method: str, prompt: float) -> float:
    """Distinct tokens of a batch of ``pairs`` after prompts of ``prompt`` tokens. The tree engine computes a prompt
    once; where batches follow conversations, n pairs meet 1 + (n - 1) / (points per conversation) of them."""
    each = (1 if METHODS[method].replies == "chosen" else 2) + 2 * METHODS[method].mismatched
    met = float(pairs if settings.training.batching == "pair" else 1 + (pairs - 1) / data.per_conversation)
    return (pairs * each if settings.training.engine == "trl" else met) * prompt + pairs * each * data.reply


def flops_a_token(settings: Params, shape: Shape) -> int:
    """Operations for a weight and a token that trains: 6, of them 2 forward. Adapters need no gradients of the frozen
    weights (4); checkpointing computes the forward pass twice (2 more)."""
    return (4 if shape.adapter else 6) + (2 if settings.training.gradient_checkpointing else 0)


def judging(settings: Params, data: Data) -> tuple[int, float | None]:
    """The judges' calls, and dollars (None if a price is not known): for the contrasts, the compared methods and their
    starts against the chosen replies, the data's own pairs, and Flow 2's filter."""
    judge, plan, test = settings.judge, settings.study, data.points("test")
    asked, methods = [each for each in (judge.judges or (judge,)) if each.kind == "llm"], plan.part("methods")
    items = len(settings.contrasts()) * data.points("test", "transfer")
    items += (len(methods) + len({plan.arms[name].start for name in methods})) * test
    items += sum(data.points(*each) for each in {arm.pairs.splits for arm in plan.arms.values() if arm.pairs.judged})
    calls = (items * max(1, len(plan.seeds)) + test) * (2 if judge.orders == "both" else 1)
    used = Usage(round(calls * (JUDGE_PROMPT + data.prompt + 2 * data.reply)), 0, calls * JUDGE_REPLY)
    prices = [price_of(Endpoint.of(each)) for each in asked]
    return calls * len(asked), None if None in prices else sum(price.of(used) for price in prices if price)


class Machine(NamedTuple):
    """Bytes of memory and of free disk, processor cores, and GPUs: name and bytes of each."""

    memory: float
    disk: float
    cores: int
    gpus: tuple[tuple[str, float], ...] = ()

    @classmethod
    def here(cls, folder: Path) -> Machine:
        """This machine, its disk where ``folder`` is (or will be). A container's limit counts as its memory."""
        there = next(path for path in (folder, *folder.parents) if path.exists())
        gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        limit = Path("/sys/fs/cgroup/memory.max")
        most = limit.read_text().strip() if limit.exists() else ""
        memory = min(float(psutil.virtual_memory().total), float(most) if most.isdigit() else float("inf"))
        cores = psutil.cpu_count(logical=False) or 1
        return cls(memory, shutil.disk_usage(there).free, cores, tuple((g.name, g.total_memory) for g in gpus))

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
    """Bytes, hours, dollars. ``memory`` is a process's while it trains, ``writing`` while it decodes; ``processes`` run
    on each machine, for each of ``workers`` arms side by side."""

    shape: Shape
    data: Data
    processes: int
    workers: int
    gpu: bool
    work: list[Work]
    memory: dict[str, float]
    writing: float
    disk: dict[str, float]
    hours: float
    judging: tuple[int, float | None]

    @property
    def process(self) -> float:
        """Bytes a process needs at most: of its GPU, or on a CPU all of it."""
        return max(sum(self.memory.values()), self.writing) + LIBRARIES[self.gpu]


def estimate(settings: Params, machine: Machine) -> Estimate:
    """What a run of ``settings`` needs on a machine like ``machine``. Raises ModelUnavailable, ParameterError."""
    model, training, kind, plan = settings.model, settings.training, settings.launch.kind, settings.study
    name = base_model(model.name)
    shape, data = shape_of(name, model.lora), data_of(settings)
    launch = {} if kind == "none" else yaml.safe_load(accelerate_config(kind).read_text(encoding="utf-8"))
    everywhere, machines = int(launch.get("num_processes", 1)), int(launch.get("num_machines", 1))
    gpu = not launch.get("use_cpu", False) if launch else bool(machine.gpus)
    shards = everywhere if launch.get("distributed_type") in ("FSDP", "DEEPSPEED") else 1
    work, arms, seeds = works(settings, data), len(plan.arms), max(1, len(plan.seeds)) * len(plan.tasks)
    how = (model.precision, training.optimizer, training.gradient_checkpointing, shards, everywhere > shards)
    memories = [training_memory(shape, _largest(settings, data, e.method, everywhere), *how) for e in work[:arms]]
    trained = sum(each.tokens for each in work) * flops_a_token(settings, shape)
    # Replies to the test prompts: a conversation's longest prompt, some 1.4 times the mean, then a token at a time.
    written = len(work) * data.points("test", "transfer") * (1.4 * data.prompt / data.per_conversation + data.reply)
    reached = (machine.tflops or DEVICES["A10"][1]) * SHARE_OF_PEAK * everywhere
    if not gpu:  # arms side by side have a core each
        cores = machines * (machine.cores if plan.workers == 1 else min(plan.workers, machine.cores))
        reached = cores * CPU_TFLOPS.get(model.precision, 0.06) / (4 if shape.hidden < NARROW else 1)
    # With keep: false, the first of several seeds keeps all arms; of others, those needed and those at work are there.
    needed = arms if plan.keep else sum(map(plan.is_needed, plan.arms))
    kept = min(arms * seeds, (arms if seeds > 1 else needed) + needed * (seeds - 1) + plan.workers)
    cache = 4.0 * shape.layers * shape.keys * (data.longest + settings.generation.max_new_tokens)
    half = settings.generation.precision == "bf16" or (
        settings.generation.precision == "auto" and gpu and shape.adapter
    )
    saving = plan.workers if any(each.steps > training.save_steps for each in work) else 0
    return Estimate(
        shape, data, everywhere // machines, plan.workers, gpu, work,
        memory=max(memories, key=lambda each: sum(each.values())),
        writing=(2 if half else 4) * shape.parameters + settings.generation.batch_size * cache,
        disk={
            "models": 4.0 * shape.trained * kept,
            "checkpoints": 3 * (4.0 + STATE_BYTES[training.optimizer]) * shape.trained * saving,
            "download": 0.0 if Path(name).is_dir() else 2.0 * shape.parameters,
        },
        hours=shape.parameters * (trained + 2 * written) / (reached * TERA) / 3600,
        judging=judging(settings, data),
    )  # fmt: skip


def _largest(settings: Params, data: Data, method: str, processes: int) -> Row:
    """A process's share of a batch of the longest conversations, within row_tokens."""
    pairs = -(-settings.training.batch_size // processes)
    tokens, prompts = (batch_tokens(settings, data, pairs, method, each) for each in (data.longest, 0.0))
    most = tokens if settings.training.engine == "trl" else min(tokens, float(settings.training.row_tokens))
    return Row(most, min(most, prompts * most / tokens), tokens > most)


def check(estimate: Estimate, machine: Machine, folder: Path) -> None:
    """Compare the needs with the machine; ``folder`` is the run's, whose existing files are counted.

    Raises TooSmall naming everything that is short and what to change.
    """
    short, need, have = [], estimate.workers * estimate.process / GIB, machine.memory / GIB
    if estimate.gpu:
        have = min((size / GIB for _, size in machine.gpus), default=float("inf"))
        if len(machine.gpus) < estimate.processes:
            short.append(
                f"launch.kind needs {estimate.processes} GPUs on this machine, which has {len(machine.gpus)}: "
                "set num_processes in params/accelerate, or choose another kind."
            )
    else:
        need *= estimate.processes
    if need > have:
        short.append(
            f"{'each GPU' if estimate.gpu else 'memory'}: {need:.1f} GiB needed, {have:.1f} available. Lower "
            "training.row_tokens, generation.batch_size or study.workers, switch training.gradient_checkpointing on, "
            "or train adapters (model.lora; model.precision: nf4)."
        )
    existing = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    if (need := sum(estimate.disk.values()) - existing) > machine.disk:
        short.append(
            f"disk: {need / GIB:.1f} GiB needed, {machine.disk / GIB:.1f} free. Give `run:` a folder on another disk, "
            "train adapters (model.lora), set study.keep to false, or compare fewer methods."
        )
    if short:
        raise TooSmall(
            "\n- ".join(["This machine is too small for these parameters:", *short])
            + "\n`guardalign estimate PARAMS` prints the whole estimate; GUARDALIGN_UNCHECKED=1 starts anyway."
        )


def needs(estimate: Estimate) -> dict[str, str]:
    """The needs by name; after a colon, their parts."""
    shape, data, (calls, dollars) = estimate.shape, estimate.data, estimate.judging
    several = f" for each of {n} processes" if (n := estimate.processes * estimate.workers) > 1 else ""
    time = f"{estimate.hours:.1f} hours" if estimate.hours >= 1 else f"{estimate.hours * 60:.0f} minutes"
    tokens, device = sum(each.tokens for each in estimate.work) / 1e6, "GPUs" if estimate.gpu else "the CPU"
    cost = "price not known" if dollars is None else f"${dollars:.0f}"
    return {
        "model": f"{shape.parameters / 1e6:.1f}M weights, {shape.trained / 1e6:.1f}M trained on {device}",
        "data": f"{data.origin}; a prompt {data.prompt:.0f} tokens, a reply {data.reply:.0f}",
        "memory": f"{_size(estimate.process)}{several}: {_parts(estimate.memory | {'or decoding': estimate.writing})}",
        "disk": f"{_size(sum(estimate.disk.values()))}: {_parts(estimate.disk)}",
        "time": f"{time}: {len(estimate.work)} trainings of {tokens:.1f}M tokens, and their replies",
        "judge": f"{calls} calls, {cost}" if calls else "no calls",
    }


def _parts(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {_size(value)}" for name, value in parts.items() if value >= 1e6)


def _size(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.0f} MiB"


def command(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("params", type=Path, help="a parameter file")
    parser.add_argument("--device", choices=DEVICES, help="for machines with this GPU (default: this machine)")
    parser.add_argument("--brief", action="store_true", help="one line")
    asked = parser.parse_args(argv)
    settings = Params.load(asked.params)
    folder = RunFolder.named(settings.run).root
    machine = Machine.of(asked.device, 1) if asked.device else Machine.here(folder)
    found = estimate(settings, machine)
    if asked.brief:
        shown = [f"{name} {text.partition(':')[0]}" for name, text in list(needs(found).items())[2:]]
        print(f"Estimate: {'; '.join(shown)}", flush=True)
    else:
        print("\n".join(f"{name:8}{text}" for name, text in needs(found).items()), flush=True)
    check(found, Machine.of(asked.device, found.processes) if asked.device else machine, folder)
