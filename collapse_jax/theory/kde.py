"""How mean and variance are carried through chains of models that add a kernel to their training set's variance.

A kernel density's variance is its points' (divisor: their number) plus the kernel's, and a Gaussian mixture's, after any M-step,
its training set's plus `reg_covar`. Both are linear in the variance before, whatever the source's shape, so that the expectations
are exact. Derived here; generation t counts n = t + 1 fits.
"""

from typing import Any, TypeAlias

import numpy as np

from collapse_jax import regimes

Array: TypeAlias = np.ndarray


def factor(rule: str, n: Array, dim: int) -> Array:
    """The bandwidth of Scott's or Silverman's rule in units of the root mean marginal deviation (divisor n - 1).

    Range: a definition, n >= 2, any d. Source: Scott, Multivariate Density Estimation, 1992; Silverman 1986.
    """
    n = np.asarray(n, float)
    return (n if rule == "scott" else n * (dim + 2) / 4) ** (-1 / (dim + 4))


def spread(kernel: str, dim: int) -> float:
    """A kernel's variance in each dimension in units of h²: 1 (Gaussian), 1 / (d + 2) (uniform in a ball).

    Range: exact for any d. Source: derived here, E r² = d/(d+2) in a ball; checked in test_our_chains_follow_whatever_the_sources_shape.
    """
    return 1.0 if kernel == "gaussian" else 1 / (dim + 2)


def by_rule(rule: str, kernel: str, n: Array, dim: int) -> Array:
    """What a rule multiplies the variance (divisor n) of n points by: 1 + c f² n/(n-1).

    Range: exact for n >= 2. Source: derived here; checked in test_recursions_hold_for_plain_chains.
    """
    n = np.asarray(n, float)
    return 1 + spread(kernel, dim) * factor(rule, n, dim) ** 2 * n / (n - 1)


def carried(regime: Any, sizes: Array, added: float = 0.0, growth: Any = np.ones_like) -> tuple[Array, Array] | None:
    """E of the model's variance and of its mean's squared error, a dimension in units of the source's variance: [generations + 1].

    The model of n points with variance v (divisor n) has variance growth(n) v + added; added: c h² of a fixed bandwidth (see
    `spread`), or reg_covar, in those units; growth: `by_rule`, or 1. A generation of m new samples under
    replace: v ← V (1 - 1/m), error += V/m;
    accumulate, N before: v ← (N v + V m (1 - 1/(N+m)))/(N+m), error += V m/(N+m)². None for any other regime.
    Range: exact for any shape of the source, d and sizes >= 2. Source: v ← (v+h²)(1-1/M) for replace and a fixed bandwidth; all is
    derived here; checked in test_recursions_hold_for_plain_chains.
    """
    if not isinstance(regime, regimes.Replace | regimes.Accumulate):
        return None
    kept = isinstance(regime, regimes.Accumulate)
    sizes = np.asarray(sizes, float)
    total, v, e = sizes[0], 1 - 1 / sizes[0], 1 / sizes[0]
    variance, error = [growth(total) * v + added], [e]
    for m in sizes[1:]:
        before = total if kept else 0.0
        total = before + m
        e += variance[-1] * m / total**2
        v = (before * v + variance[-1] * m * (1 - 1 / total)) / total
        variance.append(growth(total) * v + added)
        error.append(e)
    return np.array(variance), np.array(error)


def limit(m: int, added: float) -> float:
    """lim of the training set's variance v under replace with a fixed bandwidth, equal sizes: c h² (m - 1), in units of the source's.

    The chain spreads if that is more than the source's variance, else it shrinks to it.
    Range: exact, n ≫ m. Source: v ← (v+h²)(1-1/M), derived here; checked in test_numbers_as_printed and
    test_a_chain_spreads_or_shrinks_with_its_bandwidth.
    """
    return added * (m - 1)
