"""What a run needs, before anything starts: memory, disk, hours, the judge's price; and a refusal where it is short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from guardalign.config.params import Params
from guardalign.errors import GuardalignError
from guardalign.files import RunFolder
from guardalign.launch import accelerate_config
from guardalign.models.loading import base_model
from guardalign.workflow.estimate.data import Data, data_of
from guardalign.workflow.estimate.machine import CPU_BANDWIDTH, CPU_TFLOPS, GIB, SHARE_OF_PEAK, Machine
from guardalign.workflow.estimate.memory import Memory, Setting, training_memory, writing_memory
from guardalign.workflow.estimate.shape import Shape, shape_of
from guardalign.workflow.estimate.work import (
    Judging,
    Work,
    disk_bytes,
    judging,
    largest_row,
    prompts_answered,
    training_flops,
    works,
)

PROCESS_BYTES = 0.9 * GIB
"""A Python process with torch and transformers loaded."""
CONTEXT_BYTES = 0.6 * GIB
"""What a CUDA process takes of its GPU before the first tensor."""
TERA = 1e12
SHARDING = ("FSDP", "DEEPSPEED")


class TooSmall(GuardalignError):
    """The machine is short of something the run needs; the message says of what, and what to change."""


@dataclass(frozen=True)
class Placement:
    """Where training runs: processes on one machine and in all, on GPUs or not, and how many share the weights."""

    kind: str
    local: int = 1
    processes: int = 1
    gpu: bool = False
    shards: int = 1

    @classmethod
    def of(cls, kind: str, machine: Machine) -> Placement:
        """The placement of a launch kind; ``none`` takes a GPU where there is one."""
        if kind == "none":
            return cls(kind, gpu=bool(machine.gpus))
        settings = yaml.safe_load(accelerate_config(kind).read_text(encoding="utf-8"))
        processes = int(settings["num_processes"])
        return cls(
            kind,
            local=processes // int(settings.get("num_machines", 1)),
            processes=processes,
            gpu=not settings.get("use_cpu", False),
            shards=processes if settings["distributed_type"] in SHARDING else 1,
        )


@dataclass(frozen=True)
class Estimate:
    """All figures: bytes, hours, dollars. ``memory`` is a process's while it trains, ``writing`` while it decodes."""

    params: str
    shape: Shape
    data: Data
    placement: Placement
    work: tuple[Work, ...]
    memory: Memory
    writing: Memory
    disk: dict[str, float]
    training_hours: float
    writing_hours: float
    judging: Judging
    device: str

    @property
    def peak(self) -> float:
        """Bytes a device needs at most."""
        return max(self.memory.total, self.writing.total)

    @property
    def process(self) -> float:
        """Bytes a process needs at most: its GPU's share, or on a CPU all of it, Python and its libraries included."""
        return self.peak + (CONTEXT_BYTES if self.placement.gpu else PROCESS_BYTES)


def estimate(settings: Params, machine: Machine) -> Estimate:
    """What a run of ``settings`` needs on a machine like ``machine``. Raises ModelUnavailable, ParameterError."""
    name = base_model(settings.model.name)
    shape, data = shape_of(name, settings.model.lora), data_of(settings, name)
    place, training = Placement.of(settings.launch.kind, machine), settings.training
    precision, checkpointing = settings.model.precision, training.gradient_checkpointing
    replicated, device = place.processes > 1 and place.shards == 1, "cuda" if place.gpu else "cpu"
    setting = Setting(precision, training.optimizer, checkpointing, place.shards, device, replicated)  # type: ignore[arg-type]
    work = works(settings, data)
    rows = [largest_row(settings, data, method, place.processes) for method in {each.method for each in work}]
    stored = 2 if place.gpu and shape.adapter else 4
    length = data.longest + settings.generation.max_new_tokens
    writing = writing_memory(shape, stored, settings.generation.batch_size, length)
    kind, flops, bandwidth = _speed(machine, place)
    return Estimate(
        params=settings.run,
        shape=shape,
        data=data,
        placement=place,
        work=tuple(work),
        memory=max((training_memory(shape, setting, row) for row in rows), key=lambda each: each.total),
        writing=writing,
        disk=disk_bytes(settings, shape, data, work, download=not Path(name).is_dir()),
        training_hours=training_flops(settings, shape, work) / (flops * place.processes) / 3600,
        writing_hours=_writing_hours(settings, shape, data, stored, flops, bandwidth),
        judging=judging(settings, data),
        device=kind,
    )


def _speed(machine: Machine, place: Placement) -> tuple[str, float, float]:
    """The device's name, operations and bytes a second."""
    if not place.gpu:
        cores = max(1, machine.cores // place.local)
        return f"CPU, {machine.cores} cores", CPU_TFLOPS * TERA * cores, CPU_BANDWIDTH * 1e9
    kind = machine.gpus[0].kind if machine.gpus else None
    if kind is None:
        return "GPU of unknown speed, taken for an A10", 125 * TERA * SHARE_OF_PEAK, 600e9
    return kind.name, kind.tflops * TERA * SHARE_OF_PEAK, kind.bandwidth * 1e9


def _writing_hours(settings: Params, shape: Shape, data: Data, stored: int, flops: float, bandwidth: float) -> float:
    """One process decodes: a step reads all weights, and every token costs 2 operations a weight."""
    answers, size = prompts_answered(settings, data), settings.generation.batch_size
    tokens = settings.generation.max_new_tokens
    reading = -(-answers // size) * tokens * stored * shape.parameters / bandwidth
    computing = 2 * shape.parameters * answers * (tokens + data.last / data.per_conversation) / flops
    return (reading + computing) / 3600


def check(found: Estimate, machine: Machine, folder: Path) -> None:
    """Compare the needs with the machine; ``folder`` is the run's, whose files count as there already.

    Raises TooSmall naming everything that is short and what to change.
    """
    short = [
        *_short_of_devices(found, machine),
        *_short_of_memory(found, machine),
        *_short_of_disk(found, machine, folder),
    ]
    if short:
        lines = "\n".join(f"- {line}" for line in short)
        raise TooSmall(
            f"This machine is too small for these parameters:\n{lines}\nThe whole estimate: `guardalign "
            "estimate PARAMS`. To start all the same: GUARDALIGN_UNCHECKED=1 in the environment."
        )


def _short_of_devices(found: Estimate, machine: Machine) -> list[str]:
    place = found.placement
    if not place.gpu or len(machine.gpus) >= place.local:
        return []
    return [
        f"launch.kind {place.kind} wants {place.local} GPUs on this machine, which has {len(machine.gpus)}: set "
        "num_processes in params/accelerate, choose another kind, or run it elsewhere (--profile)."
    ]


def _short_of_memory(found: Estimate, machine: Machine) -> list[str]:
    place = found.placement
    hint = (
        "Lower training.row_tokens or generation.batch_size, switch training.gradient_checkpointing on, train adapters "
        "(model.lora; model.precision: nf4), or take a smaller model."
    )
    if place.gpu:
        have, what = min((gpu.memory for gpu in machine.gpus), default=float("inf")), "each GPU"
        need = found.process
    else:
        have, what, need = machine.memory, "memory", place.local * found.process
    return [f"{what}: {need / GIB:.1f} GiB wanted, {have / GIB:.1f} there. {hint}"] if need > have else []


def _short_of_disk(found: Estimate, machine: Machine, folder: Path) -> list[str]:
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    need = sum(found.disk.values()) - there
    if need <= machine.disk:
        return []
    return [
        f"disk: {need / GIB:.1f} GiB wanted, {machine.disk / GIB:.1f} free. Free some space, give `run:` a folder on "
        "another disk, train adapters (model.lora), or compare fewer methods."
    ]


def checked_here(settings: Params) -> Estimate:
    """The estimate for this machine. Raises TooSmall."""
    folder = RunFolder.named(settings.run).root
    machine = Machine.here(folder)
    found = estimate(settings, machine)
    check(found, machine, folder)
    return found
