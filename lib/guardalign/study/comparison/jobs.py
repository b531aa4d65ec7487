"""What the comparison trains: one job an arm, task, seed and protocol."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from guardalign.config.plan import Arm as PlannedArm
from guardalign.config.task_sections import Arm, Identical, Tasks
from guardalign.data.conversations import Row
from guardalign.losses import METHODS

Protocol = Literal["identical", "tuned", "control", "tuning"]
SFT, RLHF = "sft", "rlhf"


class Job(Row):
    """One arm to train from the SFT model of its task and seed (the arm ``sft`` itself: from the base model).

    ``pairs`` limits the train split (None: all of it); ``split`` is the one whose prompts are answered.
    """

    task: str
    seed: int
    protocol: Protocol
    arm: str
    method: str
    learning_rate: float
    beta: float
    epochs: int
    options: dict[str, Any] = Field(default_factory=dict)
    pairs: int | None = None
    split: Literal["validation", "test"] = "test"

    @property
    def name(self) -> str:
        return f"{self.task}/seed-{self.seed}/{self.protocol}/{self.arm}"

    @property
    def passes(self) -> dict[str, int]:
        """Replies a pair sends through the policy (forward and backward) and through the reference (once, cached)."""
        if self.method == RLHF:
            return {}
        method = METHODS[self.method]
        replies = (1 if method.replies == "chosen" else 2) + 2 * method.mismatched
        return {"policy": replies, "reference": replies if method.reference else 0}


def sft_job(tasks: Tasks, sft: PlannedArm, task: str, seed: int) -> Job:
    """SFT on the preferred replies; it has no β (written as 1)."""
    return Job(
        task=task, seed=seed, protocol="identical", arm=SFT, method="sft", learning_rate=sft.learning_rate, beta=1.0,
        epochs=tasks.sft_epochs,
    )  # fmt: skip


def arm_job(name: str, arm: Arm, shared: Identical, task: str, seed: int, protocol: Protocol) -> Job:
    return Job(
        task=task,
        seed=seed,
        protocol=protocol,
        arm=name,
        method=arm.method or name,
        learning_rate=arm.learning_rate or shared.learning_rate,
        beta=arm.beta or shared.beta,
        epochs=arm.epochs or shared.epochs,
        options=arm.options,
    )


def identical_jobs(tasks: Tasks, task: str, seed: int) -> list[Job]:
    """Every method at the shared setting and, with the first seed, the control arms."""
    found = [arm_job(n, arm, tasks.identical, task, seed, "identical") for n, arm in tasks.methods.items()]
    if seed == tasks.seeds[0]:
        found += [arm_job(n, arm, tasks.identical, task, seed, "control") for n, arm in tasks.controls.items()]
        found += [job for job in [rlhf_job(tasks, task)] if job]
    return found


def rlhf_job(tasks: Tasks, task: str) -> Job | None:
    """The online arm, with the first seed."""
    if tasks.rlhf is None:
        return None
    rlhf = tasks.rlhf
    return Job(
        task=task, seed=tasks.seeds[0], protocol="control", arm=RLHF, method=RLHF, learning_rate=rlhf.learning_rate,
        beta=rlhf.beta, epochs=rlhf.reward_epochs, options=rlhf.model_dump(),
    )  # fmt: skip


def tuning_jobs(tasks: Tasks, task: str) -> list[Job]:
    """Every method at every rate and β, on the first pairs of the train split, judged on the validation split."""
    tuning = tasks.tuning
    if tuning is None:
        return []
    found = []
    for name, arm in tasks.methods.items():
        for rate in tuning.rates:
            for beta in tuning.betas:
                job = arm_job(name, arm, tasks.identical, task, tasks.seeds[0], "tuning")
                told = {"arm": f"{name}_lr{rate:g}_beta{beta:g}", "learning_rate": rate, "pairs": tuning.pairs}
                found.append(with_beta(job.model_copy(update=told | {"split": "validation"}), beta))
    return found


def with_beta(job: Job, beta: float) -> Job:
    """The job at another β. Methods without one vary what stands in its place, by the same factor from its default.

    SLiC's margin δ is 10 β (1 at β = 0.1), offline PPO's KL weight is β itself.
    """
    own: dict[str, dict[str, Any]] = {"slic": {"slic_delta": 10 * beta}, "ppo_offline": {"ppo_kl_weight": beta}}
    return job.model_copy(update={"beta": beta, "options": job.options | own.get(job.method, {})})
