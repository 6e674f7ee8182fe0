"""How the spread of a model's mean and its variance are carried through every regime, exactly, and the published limits.

Both are in units of the source's variance, per dimension: `error` = E‖μ‖², `variance` = E σ². The recursions are linear in
them, so they hold for any distribution that is fitted by its mean and covariance, in any dimension, also where samples <= dim;
one-hot vectors make them the law of a discrete chain's heterozygosity (theory.discrete).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse_jax import regimes


@dataclass(frozen=True)
class Carried:
    """error: E‖μ - μ of the source‖² and variance: E σ², each float64 [generations + 1], per dimension, source variance 1."""

    error: np.ndarray
    variance: np.ndarray


def carried(regime: Any, sizes: np.ndarray, estimator: str = "unbiased", bias: float = 1.0) -> Carried | None:
    """The exact recursion of `regime`, or None where none is known (a fixed real subset whose size changes).

    sizes: samples of every generation [generations + 1]; estimator: "unbiased" or "mle"; bias: sampling bias λ
    (models are sampled with λ times their variance).
    """
    sizes, unbiased = np.asarray(sizes, float), estimator == "unbiased"
    if isinstance(regime, regimes.Accumulate):
        return accumulate(sizes, unbiased, bias)
    if isinstance(regime, regimes.AccumulateSubsample):
        return accumulate_subsample(sizes, unbiased, bias, regime.replacement)
    plan = composition(regime, sizes)
    return None if plan is None else compose(sizes, plan, unbiased, bias)


@dataclass(frozen=True)
class Composition:
    """Samples [T + 1, 3] and weight shares [T + 1, 3] of real, previous and new samples in each training set; which real data."""

    counts: np.ndarray
    shares: np.ndarray
    kept: str


def composition(regime: Any, sizes: np.ndarray) -> Composition | None:
    """What `regime` composes training sets of; None for a regime not known here."""
    zero, counts, shares, kept = np.zeros(len(sizes)), None, None, "fresh"
    if isinstance(regime, regimes.Replace):
        counts = [zero, zero, sizes]
    elif isinstance(regime, regimes.Fresh):
        counts = [zero + regime.real_samples, zero, sizes]
    elif isinstance(regime, regimes.Mix):
        kept, share = regime.kept, regimes.share_table(regime.real, len(sizes))
        real = np.rint(np.float32(share) * np.float32(sizes)).astype(float)
        previous = np.minimum(np.rint(np.float32(regime.previous) * np.float32(sizes)), sizes - real)
        counts = [real, previous, sizes - real - previous]
    elif isinstance(regime, regimes.Weighted):
        kept, w = regime.kept, float(regime.real_weight)
        counts, shares = [sizes, zero, sizes], [zero + w, zero, zero + 1 - w]
    if counts is None:
        return None
    table = np.stack(counts, axis=1)
    if kept == "fixed" and len(np.unique(table[1:, 0])) > 1:
        return None
    weights = table / table.sum(axis=1, keepdims=True) if shares is None else np.stack(shares, axis=1)
    return Composition(table, weights, kept)


def compose(sizes: np.ndarray, plan: Composition, unbiased: bool, bias: float) -> Carried:
    """Training sets put together from real, previous and new samples.

    c is the covariance of the model's mean with the mean of the real data that is kept (the whole first set, or the fixed
    subset); `spread` is the unbiased variance of the training set before, from which the previous samples are drawn.
    """
    first, last = sizes[0], sizes[0]
    error, spread = 1 / first, 1.0
    variance = 1.0 if unbiased else 1 - 1 / first
    c = 0.0 if plan.kept == "fresh" else 1 / first
    out = [(error, variance)]
    for n, u in zip(plan.counts[1:], plan.shares[1:], strict=True):
        one_by = np.divide(1.0, n, out=np.zeros(3), where=n > 0)
        real = {"fresh": 0.0, "redrawn": 1 / first, "fixed": one_by[0]}[plan.kept]
        within = np.array([1.0, spread, bias * variance])
        square = np.array([one_by[0], error + spread * (one_by[1] - 1 / last), error + bias * variance * one_by[2]])
        means = np.array([[square[0], c, c], [c, square[1], error], [c, error, square[2]]])
        new_error = u @ means @ u
        second = u @ (square + (1 - one_by) * within)
        spread = (second - new_error) / (1 - u**2 @ one_by)
        variance = spread if unbiased else second - new_error
        c = u @ np.array([real, c, c])
        error, last = new_error, n.sum()
        out.append((error, variance))
    return Carried(*np.array(out).T)


def accumulate(sizes: np.ndarray, unbiased: bool = False, bias: float = 1.0) -> Carried:
    """Everything kept. For mle and equal sizes E σ² = Π_{k<=n} (1 - 1/(M k²)) and E μ² = 1 - E σ²; unbiased: factors
    1 - 1/(k (k M - 1)) (Kazdan et al. 2410.16713 and its fits; schedules by the same argument)."""
    total = sizes[0]
    error, variance = 1 / total, 1.0 if unbiased else 1 - 1 / total
    out = [(error, variance)]
    for m in sizes[1:]:
        new = bias * variance
        scatter = variance * (total - unbiased) + new * (m - 1 + total / (total + m))
        total += m
        error, variance = error + m * new / total**2, scatter / (total - unbiased)
        out.append((error, variance))
    return Carried(*np.array(out).T)


def accumulate_subsample(sizes: np.ndarray, unbiased: bool = True, bias: float = 1.0, replacement: bool = False) -> Carried:
    """Everything kept, each fit on as many samples of the pool as one generation has, drawn uniformly.

    `pool` is E of the squared mean of the pool. With the unbiased fit E σ² grows like n^(1/M) for ever, because the spread
    of the pool's mean is counted as variance; with mle it settles at 1 - 3 (π²/6 - 1)/M to first order.
    """
    total = sizes[0]
    pool, scatter = 1 / total, total - 1.0
    error, variance = pool, 1.0 if unbiased else 1 - 1 / total
    out = [(error, variance)]
    for m in sizes[1:]:
        new = bias * variance
        scatter += (m - 1) * new + total * m / (total + m) * (error - pool + new / m)
        pool = (total**2 * pool + 2 * total * m * pool + m**2 * (error + new / m)) / (total + m) ** 2
        total += m
        spread = scatter / total if replacement else scatter / (total - 1)
        error = pool + spread * (1 / m if replacement else 1 / m - 1 / total)
        variance = spread if unbiased else spread * (1 - 1 / m)
        out.append((error, variance))
    return Carried(*np.array(out).T)


def fresh_limit(real: int, synthetic: int, bias: float = 1.0) -> tuple[float, float]:
    """(E μ², E σ²) for ever of `real` new real beside `synthetic` samples, unbiased fit, any size (MAD, 2307.01850)."""
    total = real + synthetic
    a, b = real / total, synthetic / total
    matrix = [[total * (1 - b * b), -bias * b], [-a * b * total / (total - 1), 1 - b * bias]]
    error, variance = np.linalg.solve(np.array(matrix), np.array([a, a]))
    return float(error), float(variance)


def fresh_share(a: float) -> float:
    """N·Var(μ) for ever when a share a in (0, 1] of N samples is drawn anew from the source; first order in 1/N."""
    return 1 / (1 - (1 - a) ** 2)


def redrawn_share(a: float) -> float:
    """N·Var(μ) for ever when a share a is drawn anew each generation from one real set of N; first order in 1/N."""
    return 1 + (1 - a * a) / (a * (2 - a))


def fixed_share(a: float) -> float:
    """N·Var(μ) for ever when one subset, a share a of the N, is kept for good; first order in 1/N."""
    return 1 / a + (1 - a) / (1 - (1 - a) ** 2)


def weighted(w: float) -> float:
    """n·Var(μ) for ever, weight w in (0, 1] on n new real samples and 1 - w on n synthetic ones; first order (2502.18049)."""
    return (w * w + (1 - w) ** 2) / (1 - (1 - w) ** 2)


def best_weight(k: float = 1.0) -> float:
    """The weight on new real data that makes Var(μ) least, k = real / synthetic samples; .618… for k = 1 (2502.18049)."""
    return (np.sqrt(k * k + 4 * k) - k) / 2


def accumulate_limit(samples: int, estimator: str = "mle") -> float:
    """E σ² of accumulate for ever, exact for any M >= 2 (M > 2 if unbiased): sin(π/√M)/(π/√M) for mle (2410.16713).

    unbiased: the infinite product of 1 - 1/(k (k M - 1)), k >= 2, in gamma functions; 1 - (π²/6 - 1)/M to first order.
    """
    from scipy.special import gamma

    x = 1 / np.sqrt(samples)
    if estimator == "mle":
        return float(np.sinc(x))
    half, root = 0.5 / samples, np.sqrt(0.25 / samples**2 + 1 / samples)
    whole = gamma(1 - 1 / samples) / (gamma(1 - half - root) * gamma(1 - half + root))
    return float(whole / (1 - 1 / (samples - 1)))


def subsample_limit(samples: int, replacement: bool = False) -> float:
    """E μ² of accumulate-subsample for many generations n with ln n ≪ M: (π²/2 - 2)/M, or (π²/3)/M with replacement.

    First order in 1/M (2410.16713); the exact values are `accumulate_subsample`.
    """
    return (np.pi**2 / 3 if replacement else np.pi**2 / 2 - 2) / samples
