"""The learning rate's course against transformers' own."""

from __future__ import annotations

import pytest
import torch
from transformers import get_scheduler

from guardalign.training.schedule import scheduler

STEPS = 23


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 1, 5, STEPS])
def test_rates_are_those_of_transformers(schedule, warmup):
    def rates(make) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=3e-4)
        made = make(schedule, optimizer, warmup, STEPS)
        found = []
        for _ in range(STEPS + 2):
            found.append(made.get_last_lr()[0])
            optimizer.step()
            made.step()
        return found

    assert rates(scheduler) == pytest.approx(rates(get_scheduler), abs=1e-12)
