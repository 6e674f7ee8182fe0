"""How mean and variance are carried through every regime, exactly, and what a share of real data comes to in the limit.

The recursions are linear in E σ² and E μ², so they hold a dimension, for any d and M (also M <= d); and as only first and second
moments enter, one-hot vectors make the mle's E σ² the law of a discrete chain's heterozygosity.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from collapse_jax import regimes, schedules
from collapse_jax.theory import gaussian

Array: TypeAlias = np.ndarray


def carried(regime: Any, sizes: Array, estimator: str = "unbiased", lam: float = 1.0) -> tuple[Array, Array] | None:
    """E σ² and E μ² a dimension at every generation, exact, models being sampled with variance λ σ².

    sizes: samples of every generation [generations + 1]. None for a regime not known here, or for a fixed real subset whose
    size changes. Under replace E Σ = λ^t Σ_0 with unbiased fits.
    Range: exact for any d, λ > 0 and sizes >= 1 (mle) or 2. Source: derived here, but λ^t of Alemohammad et al. (MAD, 2307.01850);
    checked in test_recursions_are_what_plain_sampling_gives.
    """
    sizes = np.asarray(sizes, float)
    if isinstance(regime, regimes.Accumulate):
        return gaussian.accumulate(sizes, estimator, lam)
    if isinstance(regime, regimes.AccumulateSubsample):
        return gaussian.subsample(sizes, estimator, regime.replacement, lam)
    plan = composition(regime, sizes)
    return None if plan is None else compose(sizes, plan, estimator, lam)


@dataclass(frozen=True)
class Composition:
    """counts, shares of the weight: [generations + 1, 3] for real, previous and new samples; kept: which real data."""

    counts: Array
    shares: Array
    kept: str


def composition(regime: Any, sizes: Array) -> Composition | None:
    """What training sets are put together from, as `regimes` counts it; None where no recursion is known.

    Range: the regimes named, any sizes. Source: a definition, that of collapse_jax.regimes; checked in
    test_recursions_are_what_plain_sampling_gives.
    """
    zero, kept, shares = np.zeros(len(sizes)), "fresh", None
    match regime:
        case regimes.Replace():
            counts = [zero, zero, sizes]
        case regimes.Fresh():
            counts = [zero + regime.real_samples, zero, sizes]
        case regimes.Mix():
            kept, share = regime.kept, schedules.share_table(regime.real, len(sizes))
            real = np.rint(np.float32(share) * np.float32(sizes)).astype(float)
            previous = np.minimum(np.rint(np.float32(regime.previous) * np.float32(sizes)), sizes - real)
            counts = [real, previous, sizes - real - previous]
        case regimes.Weighted():
            kept, w = regime.kept, float(regime.real_weight)
            counts, shares = [sizes, zero, sizes], np.stack([zero + w, zero, zero + 1 - w], axis=1)
        case _:
            return None
    table = np.stack(counts, axis=1)
    if kept == "fixed" and (table[1:, 0] != table[-1, 0]).any():
        return None
    return Composition(table, table / table.sum(axis=1, keepdims=True) if shares is None else shares, kept)


def compose(sizes: Array, plan: Composition, estimator: str, lam: float) -> tuple[Array, Array]:
    """E σ² and E μ² where each training set is put together from real, previous and new samples.

    c: covariance of μ with the mean of the real data that is kept (the whole first set, or the fixed subset); spread: E of the
    unbiased variance of the training set before, which the previous samples are drawn from without replacement.
    Range: exact for any sizes. Source: derived here; checked in test_recursions_are_what_plain_sampling_gives.
    """
    first = last = sizes[0]
    v, e, spread = 1.0 if estimator == "unbiased" else 1 - 1 / first, 1 / first, 1.0
    c = 0.0 if plan.kept == "fresh" else 1 / first
    variance, error = [v], [e]
    for n, u in zip(plan.counts[1:], plan.shares[1:], strict=True):
        inverse = np.divide(1.0, n, out=np.zeros(3), where=n > 0)
        within = np.array([1.0, spread, lam * v])
        square = np.array([inverse[0], e + spread * (inverse[1] - 1 / last), e + lam * v * inverse[2]])  # of the parts' means
        products = np.array([[square[0], c, c], [c, square[1], e], [c, e, square[2]]])
        second = u @ (square + (1 - inverse) * within)
        kept = {"fresh": 0.0, "redrawn": 1 / first, "fixed": inverse[0]}[plan.kept]
        e, c, last = u @ products @ u, u @ np.array([kept, c, c]), n.sum()
        spread = (second - e) / (1 - u**2 @ inverse)
        v = spread if estimator == "unbiased" else second - e
        variance.append(v)
        error.append(e)
    return np.array(variance), np.array(error)


# A share a of real data has three meanings with three limits of N · Var(μ), first order in 1/N (σ² held at 1): against exact
# recursions, of N = 2,000, in test_three_meanings_of_a_real_share, and against the engine's chains in test_laws.py.


def fresh(a: float) -> float:
    """New real samples every generation: 1/(1-(1-a)²).

    Range: first order in 1/N, many generations, 0 < a <= 1; 4.3/N larger at a = .1. Source: derived here
    from μ' = a real + (1-a) synthetic; checked in test_three_meanings_of_a_real_share.
    """
    return 1 / (1 - (1 - a) ** 2)


def redrawn(a: float) -> float:
    """Drawn anew each generation from one finite real set of N samples: 1 + (1-a²)/(a(2-a)).

    Range: first order in 1/N, many generations, 0 < a <= 1; 2.9/N larger at a = .1. Source: derived here:
    1 for the set, (a(1-a) + 1-a)/(1-(1-a)²) about it; checked in test_three_meanings_of_a_real_share.
    """
    return 1 + (1 - a * a) / (a * (2 - a))


def fixed(a: float) -> float:
    """A fixed subset of a N real samples kept for ever: 1/a + (1-a)/(1-(1-a)²).

    Range: first order in 1/N, many generations, 0 < a <= 1; 1.5/N smaller at a = .1. Source: derived here:
    1/a for the subset, (1-a)/(1-(1-a)²) about it; checked in test_three_meanings_of_a_real_share.
    """
    return 1 / a + (1 - a) / (1 - (1 - a) ** 2)


def weighted(w: float, k: float = 1.0) -> float:
    """Weight w on k n fresh real samples beside n synthetic ones: lim n · Var(μ) = (w²/k+(1-w)²)/(1-(1-w)²), least at `best_weight`.

    Range: first order in 1/n, many generations, 0 < w <= 1, k > 0. Source: 2502.18049 for k = 1; for any k derived here from
    μ' = w real + (1-w) synthetic; checked in test_golden_ratio_weight and test_the_best_weight_of_fresh_real_data.
    """
    return (w * w / k + (1 - w) ** 2) / (1 - (1 - w) ** 2)


def best_weight(k: float = 1.0) -> float:
    """The best weight for k = n_real / n_synthetic, real data being fresh: (√(k²+4k) - k)/2; the golden ratio's inverse at k = 1.

    Where the derivative of `weighted` vanishes, w² + k w - k = 0; `weighted` is w/k there.
    Range: first order in 1/n, k > 0. Source: 2502.18049; derived here; checked in test_the_best_weight_of_fresh_real_data.
    """
    return (math.sqrt(k * k + 4 * k) - k) / 2


def weighted_fixed(w: float, k: float = 1.0) -> float:
    """As `weighted`, with one real set kept for ever: lim n · Var(μ) = 1/k + (1-w)²/(1-(1-w)²), which falls until w = 1, the best.

    Range: first order in 1/n, many generations, 0 < w <= 1, k > 0. Source: 2502.18049 for the best weight; derived here: 1/k for the
    set, the rest about it; checked in test_the_best_weight_of_one_real_set_is_one.
    """
    return 1 / k + (1 - w) ** 2 / (1 - (1 - w) ** 2)


def fresh_loop(real: int, synthetic: int, lam: float = 1.0) -> tuple[float, float]:
    """lim (E σ², E μ²) a dimension of `real` new real beside `synthetic` samples, with unbiased fits.

    V = [a + a b m N/(N-1)]/(1-bλ), m = (a + λ b V)/(N(1-b²)), N = real + synthetic, a = real/N, b = 1 - a.
    Range: exact after many generations, 0 < a, b λ < 1. Source: the fresh loop of Alemohammad et al. (MAD, 2307.01850); derived here;
    checked in test_fresh_loop_as_printed against the recursion that test_recursions_are_what_plain_sampling_gives checks.
    """
    n = real + synthetic
    a, b = real / n, synthetic / n
    rows = np.array([[1 - b * lam, -a * b * n / (n - 1)], [-lam * b, n * (1 - b * b)]])
    variance, error = np.linalg.solve(rows, np.array([a, a]))
    return float(variance), float(error)


LIMITS = {"fresh": fresh, "redrawn": redrawn, "fixed": fixed}
