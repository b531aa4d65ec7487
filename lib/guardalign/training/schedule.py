"""The learning rate over a training's steps, as transformers' ``get_scheduler`` has it (a test compares the two).

That one brings peft and bitsandbytes along, a second at the start of every training, for three lines of arithmetic.
"""

from __future__ import annotations

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Schedule = Literal["constant", "linear", "cosine"]


def scheduler(schedule: Schedule, optimizer: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """``constant`` from the first step; else a rise from 0 in ``warmup`` steps, and down to 0 at ``steps``: in a line,
    or along half a cosine."""

    def share(step: int) -> float:
        if schedule == "constant":
            return 1.0
        if step < warmup:
            return step / warmup
        length = max(1, steps - warmup)
        if schedule == "linear":
            return max(0.0, (steps - step) / length)
        return (1 + math.cos(math.pi * (step - warmup) / length)) / 2

    return LambdaLR(optimizer, share)
