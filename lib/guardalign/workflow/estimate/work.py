"""What a run does: its arms, their tokens and floating-point operations, replies, judge calls, and files."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from guardalign.config.params import Params
from guardalign.config.sections import JudgeSection
from guardalign.llm.budget import PriceTable
from guardalign.llm.endpoint import Endpoint
from guardalign.llm.request import Usage
from guardalign.losses import METHODS
from guardalign.study.plan import Plan
from guardalign.workflow.estimate.data import Data
from guardalign.workflow.estimate.memory import STATE_BYTES, Row
from guardalign.workflow.estimate.shape import Shape

JUDGE_PROMPT, JUDGE_REPLY = 900, 460
"""Tokens a judge call holds beside conversation and replies, and of its answer (measured: benchmarks/results)."""
CANARIES_AN_ITEM = 3


@dataclass(frozen=True)
class Work:
    """One arm's training: ``tokens`` through the policy (distinct ones), ``steps``, and replies a pair."""

    arm: str
    method: str
    pairs: int
    steps: int
    tokens: float


def works(settings: Params, data: Data) -> list[Work]:
    """Every arm of the plan, once a seed; Flow 2 is counted as if every answer were kept."""
    plan = settings.study
    once = [_work(settings, data, name) for name in plan.order()]
    return once * max(1, len(plan.seeds))


def _work(settings: Params, data: Data, name: str) -> Work:
    arm, size = settings.study.arms[name], settings.training.batch_size
    pairs, steps = _pairs(settings.study, data, name), _steps(settings, data, name)
    tokens = batch_tokens(settings, data, min(size, pairs), replies(arm.method))
    return Work(name, arm.method, pairs, steps, steps * tokens)


def _pairs(plan: Plan, data: Data, name: str) -> int:
    wanted = plan.arms[name].pairs
    return min(data.count(*wanted.splits), wanted.count or sys.maxsize)


def _steps(settings: Params, data: Data, name: str) -> int:
    arm = settings.study.arms[name]
    if isinstance(arm.steps, tuple):
        return sum(_steps(settings, data, other) for other in arm.steps)
    return arm.steps or arm.epochs * -(-_pairs(settings.study, data, name) // settings.training.batch_size)


def replies(method: str) -> int:
    """Replies a pair sends through the model."""
    loss = METHODS[method]
    return (1 if loss.replies == "chosen" else 2) + 2 * loss.mismatched


def batch_tokens(settings: Params, data: Data, pairs: int, each: int, prompt: float | None = None) -> float:
    """Tokens that are computed for a batch of ``pairs`` with ``each`` replies a pair.

    The tree engine computes a conversation's prompt once in a batch, and of its chosen replies those that later prompts
    hold. Where batches follow conversations, a batch of n pairs meets 1 + (n - 1) / (points a conversation) of them,
    some in part. TRL computes every row by itself.
    """
    if settings.training.engine == "trl":
        return pairs * each * ((prompt or data.prompt) + data.reply)
    if settings.training.batching == "pair":
        return pairs * ((prompt or data.prompt) + each * data.reply)
    met = 1 + (pairs - 1) / data.per_conversation
    whole = min(1.0, pairs / data.per_conversation / met)
    trunk = prompt or whole * data.last + (1 - whole) * data.prompt
    return met * (trunk + data.reply) + pairs * (each - 1) * data.reply


def largest_row(settings: Params, data: Data, method: str, processes: int) -> Row:
    """The largest forward pass of a process: its share of a batch of the longest conversations, within row_tokens."""
    pairs, each = -(-settings.training.batch_size // processes), replies(method)
    tokens = batch_tokens(settings, data, pairs, each, data.longest)
    if settings.training.engine == "trl":
        return Row(tokens, tokens, data.longest + data.reply)
    most = min(tokens, float(settings.training.row_tokens))
    return Row(most, pairs * each * data.reply * most / tokens, data.longest + data.reply, tokens > most)


def flops_a_token(settings: Params, shape: Shape) -> int:
    """Operations for a weight and a token that trains: 6, of them 2 forward (Kaplan et al. 2020, section 2.1).

    Adapters need no gradients of the frozen weights (4); checkpointing computes the forward pass twice (2 more).
    """
    return (4 if shape.adapter else 6) + (2 if settings.training.gradient_checkpointing else 0)


def training_flops(settings: Params, shape: Shape, work: list[Work]) -> float:
    """Operations of all arms: their training, and the reference, once for each model that arms start from (2).

    Attention itself, some 5 %, is left out.
    """
    trained = sum(each.tokens for each in work) * flops_a_token(settings, shape)
    firsts = {start: each.tokens for each in work if (start := reference_of(settings.study, each))}
    return shape.parameters * (trained + 2 * sum(firsts.values()))


def reference_of(plan: Plan, work: Work) -> str | None:
    """The arm whose log-probs a training needs, or None."""
    arm = plan.arms[work.arm]
    return (arm.reference or arm.start) if METHODS[work.method].reference else None


def prompts_answered(settings: Params, data: Data) -> int:
    """Replies written by all seeds: every arm and the base answer the test prompts, arms whose mistakes are learnt from
    those prompts too."""
    plan = settings.study
    mistakes = {(arm.pairs.judged, arm.pairs.splits) for arm in plan.arms.values() if arm.pairs.judged}
    asked = sum(data.count(*splits) for _, splits in mistakes)
    return max(1, len(plan.seeds)) * ((len(plan.arms) + 1) * data.count("test", "transfer") + asked)


@dataclass(frozen=True)
class Judging:
    """Calls, tokens of prompts and answers, and dollars (None where a price is not known)."""

    calls: int = 0
    tokens: float = 0.0
    dollars: float | None = 0.0


def judging(settings: Params, data: Data) -> Judging:
    """What the judge is asked, in each order: the contrasts, the compared methods and their start against the chosen
    replies, the data's own pairs, canaries, and Flow 2's filter."""
    judge, plan = settings.judge, settings.study
    asked = [each for each in (judge.judges or (judge,)) if each.kind == "llm"]
    tests = data.count("test")
    orders = 2 if judge.orders == "both" else 1
    methods = plan.part("methods")
    against = len(methods) + len({plan.arms[name].start for name in methods})
    items = len(settings.contrasts()) * (tests + data.count("transfer")) + against * tests
    items += sum(data.count(*splits) for splits in {a.pairs.splits for a in plan.arms.values() if a.pairs.judged})
    calls = (items * max(1, len(plan.seeds)) + tests + CANARIES_AN_ITEM * judge.canaries) * orders
    prompt = JUDGE_PROMPT + data.prompt + 2 * data.reply
    costs = [_cost(each, calls, prompt) for each in asked]
    known = [cost for cost in costs if cost is not None]
    return Judging(
        calls * len(asked),
        calls * len(asked) * (prompt + JUDGE_REPLY),
        sum(known) if len(known) == len(costs) else None,
    )


def _cost(judge: JudgeSection, calls: int, prompt: float) -> float | None:
    price = PriceTable.load(judge.prices).price(Endpoint.of(judge))
    if price is None:
        return None
    return price.of(Usage(prompt=round(calls * prompt), cached=0, completion=calls * JUDGE_REPLY))


def disk_bytes(settings: Params, shape: Shape, data: Data, work: list[Work], download: bool) -> dict[str, float]:
    """Bytes by what they are for: arms are kept in float32 (adapters as adapters), checkpoints only while an arm trains
    (two, and the one being written), reference log-probs as float32 for each reply token and start."""
    starts = {start for each in work if (start := reference_of(settings.study, each))}
    checkpoint = (4.0 + STATE_BYTES[settings.training.optimizer]) * shape.trained
    return {
        "models": 4.0 * shape.trained * len(work),
        "checkpoints": 3 * checkpoint,
        "reference": 4.0 * 4 * data.reply * data.count("train", "feedback") * len(starts),
        "download": 2.0 * shape.parameters if download else 0.0,
    }
