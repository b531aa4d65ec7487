"""The most memory in use while something runs: the GPU's allocator, or this process's resident size on a CPU."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil
import torch

SECONDS = 0.05


class PeakMemory:
    """A context; ``gib`` afterwards is the peak within it. On a CPU it is sampled 20 times a second."""

    def __init__(self) -> None:
        self.gib = 0.0
        self._process, self._end = psutil.Process(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        else:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if torch.cuda.is_available():
            self.gib = torch.cuda.max_memory_allocated() / 2**30
            return
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.gib = max(self.gib, self._process.memory_info().rss / 2**30)
            if self._end.wait(SECONDS):
                return
