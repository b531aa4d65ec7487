"""Every method's loss as a pure function of tensors: log-probabilities in, one loss per term out; lower is better.

Notation, as in the papers: ``chosen`` and ``rejected`` are sums of the completion tokens' log-probabilities (nats, EOS
included, prompt excluded); a *ratio* is log pi(y|x) - log r(y|x) for the policy pi and the frozen reference r. B is the
number of pairs, M and N the numbers of chosen and rejected replies, T the number of completion tokens in the batch.
No function averages over the batch: each returns its terms, and a batch's loss is their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError
from torch import Tensor

Replies = Literal["chosen", "pair", "single"]


def sft(chosen: Tensor, lengths: Tensor) -> Tensor:
    """Mean negative log-likelihood of each reply, (B,), nats per token; ``lengths`` (B,) counts completion tokens."""
    return -chosen / lengths


def dpo(chosen_ratio: Tensor, rejected_ratio: Tensor, beta: float) -> Tensor:
    """Direct preference optimisation, (B,): -log sigmoid(beta * margin). Rafailov et al. 2023, eq. 7."""
    return -F.logsigmoid(beta * (chosen_ratio - rejected_ratio))


def ipo_sum(chosen_ratio: Tensor, rejected_ratio: Tensor, beta: float) -> Tensor:
    """Identity preference optimisation on summed log-ratios, (B,). Azar et al. 2023, eq. 17 with tau = beta."""
    return (chosen_ratio - rejected_ratio - 1 / (2 * beta)) ** 2


def ipo_mean(
    chosen_ratio: Tensor, rejected_ratio: Tensor, chosen_lengths: Tensor, rejected_lengths: Tensor, beta: float
) -> Tensor:
    """IPO on log-ratios averaged over each reply's tokens, (B,): the form in TRL since 0.7.11."""
    return ipo_sum(chosen_ratio / chosen_lengths, rejected_ratio / rejected_lengths, beta)


def slic(chosen: Tensor, rejected: Tensor, delta: float, weight: float) -> Tensor:
    """Sequence likelihood calibration, (B,): a margin on the policy's own log-probs plus a regulariser.

    The latter is ``weight`` times the chosen reply's negative log-likelihood; there is no reference model. Zhao et al.
    2023, rank calibration with cross-entropy regularisation.
    """
    return F.relu(delta - chosen + rejected) - weight * chosen


def hinge(chosen_ratio: Tensor, rejected_ratio: Tensor, beta: float) -> Tensor:
    """Hinge on the normalised margin, (B,): RSO's loss, Liu et al. 2023, and TRL's ``hinge``. Not SLiC."""
    return F.relu(1 - beta * (chosen_ratio - rejected_ratio))


def kto_baseline(mismatched_ratio: Tensor, beta: float) -> Tensor:
    """KTO's reference point z, a scalar without gradient: beta * max(0, mean log-ratio of mismatched replies).

    ``mismatched_ratio`` (n,): prompts with replies to other prompts, over the whole batch and all ranks. Empty (no two
    prompts differ): 0.
    """
    if mismatched_ratio.numel() == 0:
        return mismatched_ratio.new_zeros(())
    return beta * mismatched_ratio.detach().mean().clamp(min=0)


def kto(
    ratio: Tensor,
    desirable: Tensor,
    baseline: Tensor,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    squash: Callable[[Tensor], Tensor] = torch.sigmoid,
) -> Tensor:
    """Kahneman-Tversky optimisation, one term per reply, (M+N,). Ethayarajh et al. 2024, eq. 8.

    ``desirable`` (bool) is true for chosen replies; ``baseline`` is ``kto_baseline``. ``torch.tanh`` as
    ``squash`` is the variant of Koh's comparative study: as 1 - tanh(u) = 2 (1 - sigmoid(2u)), it is twice the loss at
    doubled beta (and so doubled baseline).
    """
    gain = beta * ratio - baseline
    weights = torch.where(desirable, desirable_weight, undesirable_weight)
    return weights * (1 - squash(torch.where(desirable, gain, -gain)))


def kto_pair(chosen_ratio: Tensor, rejected_ratio: Tensor, beta: float, kl_gradient: bool = True) -> Tensor:
    """KTO on pairs, (2B,): the chosen terms, then the rejected ones; each side's baseline is the other side's mean.

    TRL 0.7.5 to 0.9.4 (``loss_type="kto_pair"``), where gradients flowed through the baselines (``kl_gradient``).
    """
    chosen_kl, rejected_kl = chosen_ratio.mean().clamp(min=0), rejected_ratio.mean().clamp(min=0)
    if not kl_gradient:
        chosen_kl, rejected_kl = chosen_kl.detach(), rejected_kl.detach()
    chosen_terms = 1 - torch.sigmoid(beta * (chosen_ratio - rejected_kl))
    rejected_terms = 1 - torch.sigmoid(beta * (chosen_kl - rejected_ratio))
    return torch.cat([chosen_terms, rejected_terms])


def token_advantages(values: Tensor, sequence: Tensor, rewards: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantages A_t = sum_k (gamma lam)^k delta_(t+k) of a reply's tokens, (T,), without gradient.

    delta_t = r_t + gamma V_(t+1) - V_t; the value after the last token is 0. Arguments as :func:`ppo_offline`'s.
    Schulman et al. 2015, eq. 16.
    """
    count = rewards.shape[0]
    lengths = torch.bincount(sequence, minlength=count)
    position = torch.arange(len(sequence), device=sequence.device) - (lengths.cumsum(0) - lengths)[sequence]
    grid = values.new_zeros(count, int(lengths.max()))  # replies, padded on the right with zeros
    grid_values = grid.index_put((sequence, position), values.detach())
    grid_rewards = grid.index_put((torch.arange(count, device=sequence.device), lengths - 1), rewards.to(values.dtype))
    following = F.pad(grid_values[:, 1:], (0, 1))
    delta = grid_rewards + gamma * following - grid_values
    steps = torch.arange(grid.shape[1], device=values.device)
    ahead = steps[None, :] - steps[:, None]
    decay = torch.where(ahead >= 0, (gamma * lam) ** ahead.clamp(min=0).to(values.dtype), values.new_zeros(()))
    return (delta @ decay.T)[sequence, position]


def ppo_offline(
    policy: Tensor,
    reference: Tensor,
    values: Tensor,
    sequence: Tensor,
    rewards: Tensor,
    o: LossOptions,
    entropy: Tensor | None = None,
) -> Tensor:
    """Offline clipped PPO, one term per completion token, (T,), as in the HALOs repository and Koh's eq. 4.

    ``policy``, ``reference`` (log-probs), ``values`` and ``entropy`` are (T,), token by token, replies one after the
    other; ``sequence`` (T,) names each token's reply 0..S-1 in ascending order; ``rewards`` (S,) falls on its last
    token. The static reference plays the old policy. Advantages are whitened over the batch. Two published forms:
    ``2023`` clips the ratio to [1-clip, 1/(1-clip)] = [0.5, 2] with KL term log r - log pi; ``later`` to
    [1-clip, 1+clip] with its negative. Entropy is in the paper's equation and in neither code: weight 0 by default.
    """
    advantages = token_advantages(values, sequence, rewards, o.ppo_gamma, o.ppo_lambda)
    returns = advantages + values.detach()
    if len(advantages) > 1:
        advantages = (advantages - advantages.mean()) / (advantages.std(unbiased=False) + 1e-8)

    ratio, lower = torch.exp(policy - reference), 1 - o.ppo_clip
    upper = 1 / lower if o.ppo_form == "2023" else 1 + o.ppo_clip
    kl = reference - policy if o.ppo_form == "2023" else policy - reference
    loss = -torch.minimum(ratio * advantages, ratio.clamp(lower, upper) * advantages)
    loss = loss + o.ppo_value_weight * 0.5 * (values - returns) ** 2 + o.ppo_kl_weight * kl
    return loss if entropy is None or o.ppo_entropy_weight == 0 else loss - o.ppo_entropy_weight * entropy


def rpo_weights(chosen_embeddings: Tensor, rejected_embeddings: Tensor, temperature: float) -> Tensor:
    """Contrast weights, (M, N): each row a softmax of minus the prompts' cosine distances. Yin et al. 2024, eq. 8."""
    cosine = F.normalize(chosen_embeddings, dim=-1) @ F.normalize(rejected_embeddings, dim=-1).T
    return torch.softmax(-(1 - cosine) / temperature, dim=-1)


def rpo(chosen_ratio: Tensor, rejected_ratio: Tensor, weights: Tensor, beta: float) -> Tensor:
    """Relative preference optimisation, (M, N): every chosen reply against every rejected one. Yin et al. 2024, eq. 7.

    The weight is inside the logistic function and sums to 1 over a row: the effective beta is beta / N on average.
    """
    return -F.logsigmoid(beta * weights * (chosen_ratio[:, None] - rejected_ratio[None, :]))


class LossOptions(BaseModel):
    """Every method's constants. ``METHODS`` lists which of them a method uses. Defaults: the sources' own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beta: PositiveFloat = 0.1
    average: Literal["example", "token"] = "example"
    slic_delta: float = 1.0
    slic_weight: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    kl_gradient: bool = True
    ppo_form: Literal["2023", "later"] = "2023"
    ppo_gamma: float = 0.99
    ppo_lambda: float = 0.95
    ppo_clip: float = 0.5
    ppo_value_weight: float = 0.01
    ppo_kl_weight: float = 0.1
    ppo_entropy_weight: float = 0.0
    rpo_temperature: PositiveFloat = 0.5
    rpo_paired: bool = True


@dataclass(frozen=True)
class ScoredBatch:
    """The scores of a batch of S replies with T completion tokens in all, chosen first, then rejected.

    ``policy`` and ``reference`` are (T,) log-probs; ``sequence`` (T,) names each token's reply in ascending order;
    ``chosen`` (S,) is a bool. In batches of pairs the i-th chosen reply belongs to the i-th rejected one.
    ``mismatched_ratio`` holds log-ratios of other prompts' replies; ``embeddings`` (S, d) are of the prompts.
    """

    policy: Tensor
    reference: Tensor
    sequence: Tensor
    chosen: Tensor
    values: Tensor | None = None
    entropy: Tensor | None = None
    mismatched_ratio: Tensor | None = None
    embeddings: Tensor | None = None

    def _sums(self, token_values: Tensor) -> Tensor:
        return token_values.new_zeros(len(self.chosen)).index_add(0, self.sequence, token_values)

    @property
    def lengths(self) -> Tensor:
        return torch.bincount(self.sequence, minlength=len(self.chosen)).to(self.policy.dtype)

    @property
    def logps(self) -> Tensor:
        return self._sums(self.policy)

    @property
    def ratio(self) -> Tensor:
        return self._sums(self.policy - self.reference)

    def split(self, per_reply: Tensor) -> tuple[Tensor, Tensor]:
        """One value per reply, (S, …), as those of the chosen and those of the rejected replies."""
        return per_reply[self.chosen], per_reply[~self.chosen]


def _sft(batch: ScoredBatch, o: LossOptions) -> Tensor:
    """A term per token is averaged over the batch's tokens, as in TRL; a term per reply over its replies."""
    return -batch.policy if o.average == "token" else sft(batch.logps, batch.lengths)


def _kto(batch: ScoredBatch, o: LossOptions, squash: Callable[[Tensor], Tensor] = torch.sigmoid) -> Tensor:
    mismatched = batch.policy.new_zeros(0) if batch.mismatched_ratio is None else batch.mismatched_ratio
    baseline = kto_baseline(mismatched, o.beta)
    return kto(batch.ratio, batch.chosen, baseline, o.beta, o.desirable_weight, o.undesirable_weight, squash)


def _ppo_offline(batch: ScoredBatch, o: LossOptions) -> Tensor:
    assert batch.values is not None
    rewards = _ppo_rewards(batch)
    return ppo_offline(batch.policy, batch.reference, batch.values, batch.sequence, rewards, o, batch.entropy)


def _ppo_rewards(batch: ScoredBatch) -> Tensor:
    return torch.where(batch.chosen, 1.0, -1.0)


def critic_loss(batch: ScoredBatch, o: LossOptions) -> Tensor:
    """½ (V - G)², a mean over tokens: G - V is the advantage, before it is whitened."""
    assert batch.values is not None
    advantages = token_advantages(batch.values, batch.sequence, _ppo_rewards(batch), o.ppo_gamma, o.ppo_lambda)
    return 0.5 * (advantages**2).mean()


def _rpo(batch: ScoredBatch, o: LossOptions) -> Tensor:
    assert batch.embeddings is not None
    weights = rpo_weights(*batch.split(batch.embeddings), o.rpo_temperature)
    return rpo(*batch.split(batch.ratio), weights, o.beta)


@dataclass(frozen=True)
class Method:
    """A named loss and what it reads.

    ``replies``: whether a batch draws chosen replies alone, pairs, or single replies shuffled apart from each other.
    ``joint``: some statistic spans the batch, so a term's gradient depends on all replies of the batch. ``options``:
    the fields of ``LossOptions`` that the loss reads in addition to ``beta``.
    """

    terms: Callable[[ScoredBatch, LossOptions], Tensor]
    replies: Replies = "pair"
    reference: bool = True
    joint: bool = False
    mismatched: bool = False
    value_head: bool = False
    embeddings: bool = False
    options: tuple[str, ...] = ()


_KTO_OPTIONS = ("desirable_weight", "undesirable_weight")
_PPO_OPTIONS = tuple(name for name in LossOptions.model_fields if name.startswith("ppo_"))
METHODS: dict[str, Method] = {
    "sft": Method(_sft, replies="chosen", reference=False, options=("average",)),
    "dpo": Method(lambda batch, o: dpo(*batch.split(batch.ratio), o.beta)),
    "ipo_sum": Method(lambda batch, o: ipo_sum(*batch.split(batch.ratio), o.beta)),
    "ipo_mean": Method(lambda batch, o: ipo_mean(*batch.split(batch.ratio), *batch.split(batch.lengths), o.beta)),
    "slic": Method(
        lambda batch, o: slic(*batch.split(batch.logps), o.slic_delta, o.slic_weight),
        reference=False,
        options=("slic_delta", "slic_weight"),
    ),
    "hinge": Method(lambda batch, o: hinge(*batch.split(batch.ratio), o.beta)),
    "kto": Method(_kto, replies="single", joint=True, mismatched=True, options=_KTO_OPTIONS),
    "kto_tanh": Method(
        partial(_kto, squash=torch.tanh), replies="single", joint=True, mismatched=True, options=_KTO_OPTIONS
    ),
    "kto_pair": Method(
        lambda batch, o: kto_pair(*batch.split(batch.ratio), o.beta, o.kl_gradient),
        joint=True,
        options=("kl_gradient",),
    ),
    "ppo_offline": Method(_ppo_offline, replies="single", joint=True, value_head=True, options=_PPO_OPTIONS),
    "rpo": Method(_rpo, joint=True, embeddings=True, options=("rpo_temperature", "rpo_paired")),
}


def check_options(method: str, options: Mapping[str, object]) -> LossOptions:
    """The method's options, validated. Raises ValueError for one that the method does not have or that is ill-typed."""
    own = METHODS[method].options
    for name, value in options.items():
        if name not in own:
            raise ValueError(f"{method} has no option {name!r}; it has {', '.join(own) or 'none'}")
        if isinstance(value, bool) and LossOptions.model_fields[name].annotation is not bool:
            raise ValueError(f"option {name} should not be true or false")
    try:
        return LossOptions.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"option {first['loc'][0]}: {first['msg']}") from None
