"""Closed forms for discrete chains (Wright–Fisher sampling). p0: probabilities of the source [K]; `fits` = generation + 1."""

from typing import TypeAlias

import numpy as np
from scipy.special import gammaln

Array: TypeAlias = np.ndarray
LARGEST = 2000  # samples up to which exact extinction is followed: the transition matrix has samples² entries


def heterozygosity(p0: Array, sizes: Array) -> Array:
    """E[1 - Σ p²] under replace: (1 - Σ p0²) Π (1 - 1/M_i).

    Range: exact for any K and M_i >= 1. Source: Wright–Fisher's classical law (Wright 1931): two samples agree by having one
    ancestor, or by theirs agreeing; checked in test_heterozygosity.
    """
    return (1 - np.sum(np.asarray(p0, float) ** 2)) * np.cumprod(1 - 1 / np.asarray(sizes, float))


def tail(p0: Array, share: float = 0.1) -> Array:
    """The source's tail, as in `metrics.tails`: the rarest states that together hold at most `share`, ties together: bool [K].

    Range: 0 < share < 1. Source: a definition, that of metrics.tails; checked in test_the_tail_is_the_one_that_is_measured.
    """
    p0 = np.asarray(p0, float)
    ascending = np.sort(p0)
    threshold = ascending[np.argmax(np.cumsum(ascending) > share + 1e-5)]
    return (p0 > 0) & (p0 < threshold * (1 - 1e-6))


def survival_once(p0: Array, m: int) -> Array:
    """P(state i is seen in m samples) = 1 - (1-p_i)^m: [K].

    Range: exact for m >= 1. Source: the binomial distribution; checked in
    test_survival_of_every_state_is_exact.
    """
    p0 = np.asarray(p0, float)
    return np.where(p0 < 1, -np.expm1(m * np.log1p(-np.minimum(p0, 1 - 1e-16))), 1.0)


def support_after_one(p0: Array, m: int) -> float:
    """Expected number of states seen in m samples: Σ 1 - (1-p_i)^m.

    Range: exact for m >= 1. Source: the binomial distribution; checked in
    test_the_support_after_one_fit.
    """
    return float(np.sum(survival_once(p0, m)))


def survival(p0: Array, m: int, fits: int) -> Array:
    """P(state i is still there) after 1 … `fits` fits under replace with equal sizes m: [fits, K].

    One state against all others is a binomial chain on 0 … m, whose extinction is followed backwards. Its sum over states is the
    expected support.
    Range: exact, m <= LARGEST. Source: derived here; checked in test_survival_of_every_state_is_exact.
    """
    p0, counts = np.asarray(p0, float), np.arange(m + 1)
    extinct, step, start = (1 - counts / m) ** m, binomial(counts / m, m), binomial(p0, m)
    rows = [survival_once(p0, m)]
    for _ in range(1, fits):
        rows.append(1 - start @ extinct)
        extinct = step @ extinct
    return np.stack(rows)


def binomial(p: Array, n: int) -> Array:
    """Probabilities of 0 … n successes for every p: [len(p), n + 1].

    Range: exact, 0 <= p <= 1. Source: the binomial distribution, through log Γ.
    """
    k, p = np.arange(n + 1), np.asarray(p, float)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        hits, misses = np.where(k > 0, k * np.log(p), 0.0), np.where(k < n, (n - k) * np.log1p(-p), 0.0)
    return np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + hits + misses)


def support_bound(p0: Array, sizes: Array) -> Array:
    """Lower bound, tight, on the expected support at every generation under replace: Σ 1 - exp(-M p_i g_k), k fits.

    g_1 = 1, g_{k+1} = 1 - exp(-g_k); sizes that differ by the same argument.
    Range: a bound, any M_i >= 1; within 5 % at K = 50 Zipf, M = 100, 20 fits. Source: Suresh et al. 2412.17646; that it holds for
    other sizes is derived here; checked in test_support_is_above_its_bound_and_near_it and
    test_bound_on_the_support_holds_for_growing_samples.
    """
    m, p0, bound = np.asarray(sizes, float), np.asarray(p0, float), []
    for last in range(len(m)):
        g = 1.0
        for j in range(last, 0, -1):
            g = -np.expm1(-g * m[j] / m[j - 1])
        bound.append(float(np.sum(-np.expm1(-m[0] * p0 * g))))
    return np.array(bound)


def fixation(p0: Array) -> Array:
    """The probability that each state is the one left at the end: p0 itself.

    Range: exact for any number of states and any sizes with Σ 1/M_i = ∞. Source: derived here: p is a bounded martingale, and its
    limit is 0 or 1; checked in test_two_states_until_one_is_left and test_many_states_until_one_is_left.
    """
    return np.asarray(p0, float)


def fixation_time(p: float | Array, m: int) -> float:
    """Mean fits until one state is left, in the diffusion limit: -2M Σ (1-p_i) ln(1-p_i), with p_i of all states, or of one of two.

    The states of j ancestors of a generation are drawn from p, so all agree with probability Σ p_i^j, and there are j ≥ 2 of them
    for 2M/(j(j-1)) fits in mean (Kingman's coalescent): 2M Σ_j (1 - Σ p_i^j)/(j(j-1)) is this sum. For two states it is
    Kimura and Ohta's (1969); for many equal ones it tends to 2M.
    Range: equal sizes M; asymptotic, short of the exact mean by a share below 2/M. Source: Kimura and Ohta, Genetics 61:763, 1969;
    for many states derived here; checked in test_two_states_until_one_is_left and test_many_states_until_one_is_left.
    """
    p = np.asarray(p, float)
    p = np.stack([p, 1 - p]) if p.ndim == 0 else p
    rest = np.where(p < 1, 1 - p, 1.0)
    return float(-2 * m * np.sum(rest * np.log(rest)))


def absorption_time(p: float | Array, m: int) -> float:
    """Mean fits until one state is left; p as in fixation_time.

    1 + Σ_j v_j (1 - Σ_i p_i^j) over j = 2 … m: the m samples of a generation have a number of ancestors in the one before that
    is the number of full boxes after so many throws into m boxes; v_j is how many generations back there are j of them.
    Range: exact, equal sizes 1 <= m <= LARGEST. Source: derived here; checked in test_many_states_until_one_is_left and
    test_the_way_back_and_the_way_forward_take_as_long.
    """
    p = np.asarray(p, float)
    p = np.stack([p, 1 - p]) if p.ndim == 0 else p
    boxes = np.arange(m + 1)
    ancestors = np.zeros((m + 1, m + 1))  # [throws, full boxes]
    ancestors[0, 0] = 1.0
    for throws in range(m):
        ancestors[throws + 1] = ancestors[throws] * boxes / m
        ancestors[throws + 1, 1:] += ancestors[throws, :-1] * (m - boxes[:-1]) / m
    fits, come = 1.0, np.zeros(m + 1)  # come: how often j ancestors follow upon more
    come[m] = 1.0
    for j in range(m, 1, -1):
        stay = come[j] / (1 - ancestors[j, j])
        fits += stay * (1 - np.sum(p**j))
        come += stay * ancestors[j]
    return float(fits)


def not_absorbed(p: float, m: int, fits: Array) -> tuple[Array, Array]:
    """Bounds on the probability that two states are both left after k fits.

    4p(1-p)(1-1/M)^k <= P <= min(1, 2M p(1-p)(1-1/M)^k).
    Range: bounds, two states, equal sizes M >= 2, k >= 1. Source: Seddik et al. 2404.05090; checked in
    test_two_states_until_one_is_left.
    """
    decay = p * (1 - p) * (1 - 1 / m) ** np.asarray(fits, float)
    return 4 * decay, np.minimum(1.0, 2 * m * decay)
