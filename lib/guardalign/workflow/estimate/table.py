"""An estimate in words and figures."""

from __future__ import annotations

from guardalign.workflow.estimate import Estimate
from guardalign.workflow.estimate.machine import GIB
from guardalign.workflow.estimate.memory import Memory


def table(found: Estimate) -> str:
    """A line a need, the parts it is made of behind it."""
    shape, place, judged = found.shape, found.placement, found.judging
    trained = f", {_count(shape.adapter)} of adapters trained" if shape.adapter else ", all trained"
    tokens = sum(each.tokens for each in found.work)
    sharded = f", sharded over {place.shards}" if place.shards > 1 else ""
    rows = [
        ("model", f"{_count(shape.parameters)} weights{trained}"),
        ("data", f"{found.data.origin}; a prompt {found.data.prompt:.0f} tokens, a reply {found.data.reply:.0f}"),
        ("processes", f"{place.processes} (launch.kind {place.kind}{sharded}), {found.device}"),
        ("memory, training", f"{_size(found.memory.total)} a process: {_parts(found.memory)}"),
        ("memory, writing", f"{_size(found.writing.total)}: {_parts(found.writing)}"),
        ("disk", _size(sum(found.disk.values())) + ": " + ", ".join(f"{k} {_size(v)}" for k, v in found.disk.items())),
        ("training", f"{_time(found.training_hours)}: {len(found.work)} arms, {_count(tokens)} tokens"),
        ("writing", f"{_time(found.writing_hours)} at most"),
        ("judge", _judge(judged.calls, judged.tokens, judged.dollars)),
    ]
    return "\n".join(f"{name:18}{text}" for name, text in rows)


def summary(found: Estimate) -> str:
    """The estimate in one line, for the beginning of a run."""
    hours, dollars = found.training_hours + found.writing_hours, found.judging.dollars
    price = f", {found.judging.calls} judge calls" if found.judging.calls else ""
    price += f" (about ${dollars:.0f})" if found.judging.calls and dollars else ""
    return (
        f"Estimate: {_size(found.process)} of memory a process, {_size(sum(found.disk.values()))} of disk, "
        f"{_time(hours)} of computing ({found.device}){price}."
    )


def _judge(calls: int, tokens: float, dollars: float | None) -> str:
    if not calls:
        return "no calls"
    return f"{calls} calls, {_count(tokens)} tokens, " + ("price not known" if dollars is None else f"${dollars:.0f}")


def _parts(memory: Memory) -> str:
    return ", ".join(f"{name} {_size(value)}" for name, value in vars(memory).items() if value >= 1e6)


def _size(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.0f} MiB"


def _count(number: float) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return f"{number:.0f}"


def _time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"
