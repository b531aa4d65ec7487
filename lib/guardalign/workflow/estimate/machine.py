"""What a machine has: memory, GPUs, free disk; and how fast its kind computes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

GIB = 2.0**30
SHARE_OF_PEAK = 0.35
"""Of a GPU's peak that training reaches, assumed: 0.3 to 0.5 is usual (Chowdhery et al. 2022, "PaLM", table 3)."""
CPU_TFLOPS = 0.03
"""A core's, assumed for AVX2; AVX-512 with bf16 does better."""
CPU_BANDWIDTH = 20.0


@dataclass(frozen=True)
class Device:
    """A GPU's kind: memory in GiB, dense bf16 TFLOP/s and GB/s by its maker's data sheet."""

    name: str
    gib: float
    tflops: float
    bandwidth: float


DEVICES = (
    Device("H200", 141, 989, 4800),
    Device("H100", 80, 989, 3350),
    Device("A100", 80, 312, 2039),
    Device("L40S", 48, 362, 864),
    Device("A6000", 48, 155, 768),
    Device("RTX 4090", 24, 165, 1008),
    Device("RTX 3090", 24, 71, 936),
    Device("A10", 24, 125, 600),
    Device("L4", 24, 121, 300),
    Device("T4", 16, 65, 320),
)


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver names it, with its memory in bytes."""

    name: str
    memory: float

    @property
    def kind(self) -> Device | None:
        """Its entry in the table of devices; the longest name that it holds counts."""
        known = [device for device in DEVICES if device.name in self.name]
        return max(known, key=lambda device: len(device.name), default=None)


@dataclass(frozen=True)
class Machine:
    """Bytes of memory and of free disk, processor cores, GPUs."""

    memory: float
    disk: float
    cores: int
    gpus: tuple[Gpu, ...] = ()

    @classmethod
    def here(cls, folder: Path) -> Machine:
        """This machine, its disk where ``folder`` is (or will be). A container's limit counts as its memory."""
        there = next(path for path in (folder, *folder.parents) if path.exists())
        found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return cls(
            memory=min(float(psutil.virtual_memory().total), _container_limit()),
            disk=float(shutil.disk_usage(there).free),
            cores=psutil.cpu_count(logical=False) or 1,
            gpus=tuple(Gpu(each.name, float(each.total_memory)) for each in found),
        )

    @classmethod
    def of(cls, device: str, count: int) -> Machine:
        """A machine of ``count`` GPUs of a known kind, with memory and disk that are never short."""
        [kind] = [each for each in DEVICES if each.name == device]
        return cls(float("inf"), float("inf"), 8, (Gpu(kind.name, kind.gib * GIB),) * count)


def _container_limit() -> float:
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return float("inf")
    return float(text) if text.isdigit() else float("inf")
