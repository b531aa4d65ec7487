from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from guardalign import losses
from guardalign.losses import METHODS, LossOptions, ScoredBatch

BETA = 0.1


def logistic(u: float) -> float:
    return 1 / (1 + math.exp(-u))


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


W, L = vector(2.0, -1.0), vector(0.5, 1.0)  # log-ratios of two pairs: margins 1.5 and -2


def test_dpo_by_hand():
    expected = vector(-math.log(logistic(0.15)), -math.log(logistic(-0.2)))
    torch.testing.assert_close(losses.dpo(W, L, BETA), expected)


def test_the_two_ipos_by_hand():
    torch.testing.assert_close(losses.ipo_sum(W, L, BETA), vector((1.5 - 5) ** 2, (-2 - 5) ** 2))
    lengths = vector(4.0, 2.0), vector(5.0, 4.0)
    expected = vector((0.5 - 0.1 - 5) ** 2, (-0.5 - 0.25 - 5) ** 2)
    torch.testing.assert_close(losses.ipo_mean(W, L, *lengths, BETA), expected)


def test_slic_reads_the_policy_alone_and_regularises_towards_the_chosen_reply():
    terms = losses.slic(vector(-3.0, -10.0), vector(-5.0, -4.0), delta=1.0, weight=0.1)
    torch.testing.assert_close(terms, vector(0 + 0.3, 7 + 1.0))


def test_hinge_by_hand():
    torch.testing.assert_close(losses.hinge(W, L, 0.5), vector(0.25, 2.0))


def test_sft_averages_each_reply_over_its_own_tokens():
    torch.testing.assert_close(losses.sft(vector(-6.0, -2.0), vector(3.0, 1.0)), vector(2.0, 2.0))


def test_kto_by_hand():
    ratio, desirable = vector(2.0, -1.0), torch.tensor([True, False])
    z = losses.kto_baseline(vector(3.0, 1.0), BETA)
    assert float(z) == pytest.approx(0.2)
    terms = losses.kto(ratio, desirable, z, BETA, desirable_weight=1.0, undesirable_weight=2.0)
    torch.testing.assert_close(terms, vector(1 - logistic(0.0), 2 * (1 - logistic(0.3))))


def test_kto_baseline_is_never_negative_and_passes_no_gradient():
    assert float(losses.kto_baseline(vector(-3.0, 1.0), BETA)) == 0
    assert float(losses.kto_baseline(vector(), BETA)) == 0
    mismatched = vector(3.0, 1.0).requires_grad_()
    assert not losses.kto_baseline(mismatched, BETA).requires_grad


def test_kto_tanh_is_twice_kto_at_doubled_beta_and_baseline():
    ratio, desirable = vector(2.0, -1.0, 0.3), torch.tensor([True, False, False])
    z = vector(0.15)[0]
    twice = 2 * losses.kto(ratio, desirable, 2 * z, 2 * BETA, 1.0, 1.5)
    torch.testing.assert_close(losses.kto(ratio, desirable, z, BETA, 1.0, 1.5, torch.tanh), twice)


def test_kto_pair_takes_each_sides_baseline_from_the_other():
    terms = losses.kto_pair(W, L, BETA)  # K_w = 0.5, K_l = 0.75
    expected = vector(
        1 - logistic(BETA * (2 - 0.75)),
        1 - logistic(BETA * (-1 - 0.75)),
        1 - logistic(BETA * (0.5 - 0.5)),
        1 - logistic(BETA * (0.5 - 1)),
    )
    torch.testing.assert_close(terms, expected)


def test_kto_pair_gradient_through_the_baselines_is_an_option():
    def gradient(through: bool) -> torch.Tensor:
        w = W.clone().requires_grad_()
        losses.kto_pair(w, L, BETA, kl_gradient=through).mean().backward()
        assert w.grad is not None
        return w.grad

    s = [logistic(BETA * (x - 0.75)) for x in (2.0, -1.0)]
    expected = vector(*(-BETA * p * (1 - p) / 4 for p in s))
    torch.testing.assert_close(gradient(False), expected)
    t = [logistic(BETA * (0.5 - x)) for x in (0.5, 1.0)]
    through = sum(-BETA * p * (1 - p) / 4 / 2 for p in t)  # every w_i moves K_w by 1/2
    torch.testing.assert_close(gradient(True), expected + through)


def test_advantages_equal_the_recursion():
    replies, rewards = [[0.2, -0.1, 0.4], [0.3, 0.5]], [1.0, -1.0]
    gamma, lam = 0.9, 0.8
    expected: list[float] = []
    for values, reward in zip(replies, rewards, strict=True):
        ahead, found = 0.0, list[float]()
        for t in reversed(range(len(values))):
            following, gained = (0.0, reward) if t + 1 == len(values) else (values[t + 1], 0.0)
            ahead = gained + gamma * following - values[t] + gamma * lam * ahead
            found.insert(0, ahead)
        expected += found
    owner = torch.tensor([0, 0, 0, 1, 1])
    advantages = losses.token_advantages(vector(*replies[0], *replies[1]), owner, vector(*rewards), gamma, lam)
    torch.testing.assert_close(advantages, vector(*expected))


def test_ppo_by_hand_on_two_one_token_replies():
    policy, reference = vector(math.log(0.9), math.log(0.1)), vector(math.log(0.3), math.log(0.4))
    values = vector(0.5, 0.0)
    arguments = (policy, reference, values, torch.tensor([0, 1]), vector(1.0, -1.0))
    # Advantages 0.5 and -1 whiten to 1 and -1; ratios 3 and 0.25.
    value_terms = [0.01 * 0.5 * (0.5 - 1) ** 2, 0.01 * 0.5 * 1]
    older = losses.ppo_offline(*arguments, LossOptions())
    torch.testing.assert_close(
        older, vector(-2 + value_terms[0] - 0.1 * math.log(3), 0.5 + value_terms[1] - 0.1 * math.log(0.25))
    )
    later = losses.ppo_offline(*arguments, LossOptions(ppo_form="later"))
    torch.testing.assert_close(
        later, vector(-1.5 + value_terms[0] + 0.1 * math.log(3), 0.5 + value_terms[1] + 0.1 * math.log(0.25))
    )
    spread = losses.ppo_offline(*arguments, LossOptions(ppo_entropy_weight=0.5), vector(2.0, 1.0))
    torch.testing.assert_close(spread, older - vector(1.0, 0.5))


def test_ppo_advantages_and_returns_pass_no_gradient_to_the_values_but_for_their_own_error():
    values = vector(0.5, 0.25, -0.5).requires_grad_()
    zeros = torch.zeros(3).double()
    owner, rewards = torch.tensor([0, 0, 1]), vector(1.0, -1.0)
    losses.ppo_offline(zeros, zeros, values, owner, rewards, LossOptions(ppo_value_weight=1.0)).sum().backward()
    returns = [0.5 + (0.99 * 0.25 - 0.5) + 0.99 * 0.95 * 0.75, 1.0, -1.0]
    torch.testing.assert_close(values.grad, values.detach() - vector(*returns))


def test_rpo_by_hand():
    weights = losses.rpo_weights(vector(1, 0).reshape(1, 2), torch.tensor([[2.0, 0.0], [0.0, 3.0]]).double(), 0.5)
    far = math.exp(-2)
    torch.testing.assert_close(weights, vector(1 / (1 + far), far / (1 + far)).reshape(1, 2))
    terms = losses.rpo(vector(2.0), vector(0.5, 1.0), weights, BETA)
    expected = [-math.log(logistic(BETA * float(w) * m)) for w, m in zip(weights[0], (1.5, 1.0), strict=True)]
    torch.testing.assert_close(terms, vector(*expected).reshape(1, 2))


def scored_batch(generator: torch.Generator, ratio: float = 1.0) -> ScoredBatch:
    """Three chosen and three rejected replies of 1 to 4 tokens."""
    lengths = torch.tensor([3, 1, 4, 2, 2, 3])
    total = int(lengths.sum())

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    reference = -draw(total).abs() - 1
    return ScoredBatch(
        policy=reference + 0.3 * ratio * draw(total),
        reference=reference,
        sequence=torch.repeat_interleave(torch.arange(6), lengths),
        chosen=torch.arange(6) < 3,
        values=draw(total),
        entropy=draw(total).abs(),
        mismatched_ratio=0.5 + draw(6).abs(),
        embeddings=draw(6, 5),
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{}, {"average": "token", "ppo_form": "later"}])
def test_gradients_agree_with_finite_differences(method, options):
    batch = scored_batch(torch.Generator().manual_seed(3))
    o = LossOptions(beta=0.3, slic_delta=1.2345, ppo_entropy_weight=0.1, **options)

    def loss(policy: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        fields = {**batch.__dict__, "policy": policy, "values": values}
        return METHODS[method].terms(ScoredBatch(**fields), o).mean()

    if METHODS[method].value_head:  # returns hold the values themselves and are constants of the loss

        def loss_of_policy(policy: torch.Tensor) -> torch.Tensor:
            return loss(policy, batch.values)

        assert torch.autograd.gradcheck(loss_of_policy, batch.policy.clone().requires_grad_())
    else:
        inputs = (batch.policy.clone().requires_grad_(), batch.values)
        assert torch.autograd.gradcheck(loss, inputs)


AT_THE_START = {
    "dpo": math.log(2), "ipo_sum": 25.0, "ipo_mean": 25.0, "hinge": 1.0, "kto": 0.5, "kto_pair": 0.5, "kto_tanh": 1.0,
    "rpo": math.log(2),
}  # fmt: skip


@pytest.mark.parametrize("method", AT_THE_START)
def test_value_where_policy_and_reference_are_one(method):
    batch = scored_batch(torch.Generator().manual_seed(1), ratio=0.0)
    batch = ScoredBatch(**{**batch.__dict__, "mismatched_ratio": torch.zeros(6).double()})
    terms = METHODS[method].terms(batch, LossOptions())
    assert float(terms.mean()) == pytest.approx(AT_THE_START[method])


def test_rpo_effective_beta_falls_with_the_batch():
    for n in (2, 8):
        weights = losses.rpo_weights(torch.randn(n, 4), torch.randn(n, 4), 0.5)
        assert BETA * float(weights.mean()) == pytest.approx(BETA / n)


def test_unknown_or_ill_typed_options_are_refused():
    with pytest.raises(ValidationError, match="slick_delta"):
        LossOptions(slick_delta=1.0)
    with pytest.raises(ValidationError, match="beta"):
        LossOptions(beta=-0.1)
