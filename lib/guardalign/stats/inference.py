"""One engine for every interval and test: training seeds crossed with conversations.

Every seed of a comparison answers the same test prompts, so a mean over prompts varies for three reasons: which seeds
were trained, which conversations were drawn, and what is left (a seed's luck with a conversation). This is the
two-way crossed random-effects design of Clark (1973, *J. Verbal Learning and Verbal Behavior* 12:335–359) and of
generalizability theory (Brennan 2001, *Generalizability Theory*, ch. 2), with one cell per seed and conversation.

With d[s, c] the sum of a measure over the prompts in a cell and n[s, c] their number, the estimate is the ratio
θ = Σd / Σn, and its linearisation (Woodruff 1971, *JASA* 66:411–414) turns cells into residuals of mean 0,

    e[s, c] = (d[s, c] − θ n[s, c]) · S C / Σn.

Their mean squares between seeds, between conversations and of the rest,

    MS_s = C Σ ē[s, ·]² / (S − 1),   MS_c = S Σ ē[·, c]² / (C − 1),
    MS_e = Σ (e[s, c] − ē[s, ·] − ē[·, c])² / ((S − 1)(C − 1)),

give Var θ = V / (S C) with V = max(MS_s + MS_c − MS_e, MS_s, MS_c): MS_s + MS_c − MS_e is unbiased (Searle, Casella &
McCulloch 1992, *Variance Components*, ch. 4; the same three terms as the two-way clustered variance of Cameron,
Gelbach & Miller 2011, *J. Business & Economic Statistics* 29:238–249), the maximum sets a negative component to 0 and
stays valid if there is no variation of one kind (MacKinnon, Nielsen & Webb 2021, *JBES* 39:505–519). The degrees of
freedom are Satterthwaite's (1946, *Biometrics Bulletin* 2:110–114, eq. 17), at least min(S, C) − 1:

    V² / (MS_s² / (S − 1) + MS_c² / (C − 1) + MS_e² / ((S − 1)(C − 1))).

With one seed, V = MS_c with C − 1 degrees: the interval is of that trained model, not of the method that made it.

A measure with bounds is put on the logit scale before t is applied, and back: the interval stays within the bounds and
holds its level near them (Korn & Graubard 1998, *Survey Methodology* 24:193–201). Interval and p value come from the
same t, so p < 1 − level exactly if the interval excludes the null value. If all conversations agree there is no
variance to estimate: the interval then reaches towards a bound as far as the exact binomial one does after C equal
outcomes (Clopper & Pearson 1934), and p follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, stdtr, stdtrit

Floats = NDArray[np.float64]
Bounds = tuple[float, float]
SHARE: Bounds = (0.0, 1.0)
DIFFERENCE: Bounds = (-1.0, 1.0)
UNBOUNDED: Bounds = (-np.inf, np.inf)
_FLAT = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts with its uncertainty; arrays of one shape, NaN if there are fewer than two conversations.

    ``error`` is the standard error, ``degrees`` those of t, ``p`` two-sided against the middle of the bounds (½ for a
    share, 0 for a difference and for a measure without bounds).
    """

    value: Floats
    low: Floats
    high: Floats
    p: Floats
    error: Floats
    degrees: Floats


def estimate(sums: ArrayLike, counts: ArrayLike, bounds: Bounds = UNBOUNDED, level: float = 0.95) -> Estimate:
    """Mean per prompt with its interval and p value, from cells of seeds × conversations.

    ``sums`` and ``counts`` are (..., seeds, conversations): a measure summed over a cell's prompts, and their number.
    A cell without prompts (a seed that missed a conversation) has 0 in both: the mean is over the prompts that are
    there, and the missing cell's residual is 0. Conversations without any prompt must be left out. ``bounds`` are the
    least and the greatest value a prompt can have.

    Raises ValueError if a sum is outside the bounds times its count.
    """
    sums, counts = np.broadcast_arrays(np.asarray(sums, dtype=float), np.asarray(counts, dtype=float))
    floor, ceiling = bounds
    bounded = bool(np.isfinite(bounds).all())
    if bounded and ((sums < floor * counts - 1e-9) | (sums > ceiling * counts + 1e-9)).any():
        raise ValueError(f"every cell's sum must be within {floor:g} and {ceiling:g} times its count")
    value, residuals = linearised(sums, counts)
    error, degrees = standard_error(residuals)
    flat = error <= _FLAT
    t = stdtrit(degrees, 0.5 + level / 2)
    if not bounded:
        low, high = value - t * error, value + t * error
        with np.errstate(divide="ignore", invalid="ignore"):
            p = np.where(flat & (value == 0), 1.0, 2 * stdtr(degrees, -np.abs(value / error)))[()]
        return Estimate(value, low, high, p, error, degrees)
    width, conversations = ceiling - floor, residuals.shape[-1]
    share = (value - floor) / width
    inside = np.clip(share, 1e-9, 1 - 1e-9)
    spread = error / width / (inside * (1 - inside))  # the delta method on the logit scale
    reach = 1 - ((1 - level) / 2) ** (1 / conversations)
    low = np.where(flat, share * (1 - reach), expit(logit(inside) - t * spread))[()]
    high = np.where(flat, share + reach * (1 - share), expit(logit(inside) + t * spread))[()]
    needed = np.abs(share - 0.5) / np.maximum(share, 1 - share)  # the reach that touches the null value
    with np.errstate(divide="ignore", invalid="ignore"):
        by_t = 2 * stdtr(degrees, -np.abs(logit(inside) / spread))
    p = np.where(flat, np.minimum(1, 2 * (1 - needed) ** conversations), by_t)[()]
    return Estimate(value, floor + width * low, floor + width * high, p, error, degrees)


def linearised(sums: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """The ratio Σ sums / Σ counts, (...), and the cells' residuals, (..., seeds, conversations), of mean 0."""
    total = counts.sum((-2, -1), keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = sums.sum((-2, -1), keepdims=True) / total
        residuals = (sums - ratio * counts) * (np.prod(counts.shape[-2:]) / total)
    return ratio[..., 0, 0][()], residuals


def standard_error(residuals: Floats) -> tuple[Floats, Floats]:
    """Of the mean of (..., seeds, conversations) residuals, and its degrees of freedom; NaN for one conversation."""
    seeds, conversations = residuals.shape[-2:]
    if conversations < 2:
        unknown = np.full(residuals.shape[:-2], np.nan)
        return unknown, unknown
    variance, degrees = variance_of_mean(mean_squares(residuals), seeds, conversations)
    return np.sqrt(variance), degrees


def mean_squares(residuals: Floats) -> tuple[Floats, Floats, Floats]:
    """Between seeds, between conversations and of the rest, each (...), of (..., seeds, conversations) residuals.

    With one seed, those of the seeds and of the rest are 0: only conversations vary.
    """
    seeds, conversations = residuals.shape[-2:]
    by_seed, by_conversation = residuals.mean(-1, keepdims=True), residuals.mean(-2, keepdims=True)
    rest = residuals - by_seed - by_conversation
    return (
        conversations * (by_seed**2).sum((-2, -1)) / max(seeds - 1, 1),
        seeds * (by_conversation**2).sum((-2, -1)) / (conversations - 1),
        (rest**2).sum((-2, -1)) / (max(seeds - 1, 1) * (conversations - 1)),
    )


def variance_of_mean(
    squares: tuple[Floats, Floats, Floats], seeds: int, conversations: int | Floats
) -> tuple[Floats, Floats]:
    """Variance of a mean over seeds × conversations and its degrees of freedom, from the three mean squares."""
    of_seeds, of_conversations, of_rest = squares
    if seeds == 1:
        return of_conversations / conversations, np.full_like(of_conversations, conversations - 1)
    v = np.maximum(np.maximum(of_seeds, of_conversations), of_seeds + of_conversations - of_rest)
    last, others = seeds - 1, conversations - 1
    spread = of_seeds**2 / last + of_conversations**2 / others + of_rest**2 / (last * others)
    degrees = np.divide(v**2, spread, out=np.ones_like(v), where=spread > 0)
    return v / (seeds * conversations), np.maximum(degrees, np.minimum(last, others))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's (1979) step-down correction; NaN stays NaN and does not count as a test."""
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]
    corrected = np.full_like(values, np.nan)
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return corrected
