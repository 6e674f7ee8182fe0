"""Closed forms for discrete chains under replace and accumulate (Wright–Fisher sampling). p0: probabilities of the source."""

import numpy as np

Array = np.ndarray


def heterozygosity(p0: Array, sizes: Array) -> Array:
    """E[1 - Σ p²] under replace: (1 - Σ p0²) Π (1 - 1/M_i)."""
    return (1 - np.sum(np.asarray(p0, float) ** 2)) * np.cumprod(1 - 1 / np.asarray(sizes, float))


def accumulated_heterozygosity(p0: Array, sizes: Array) -> Array:
    """E[1 - Σ p²] under accumulate: adding m samples to N takes the share m/(N+m)²; derived here."""
    m = np.asarray(sizes, float)
    total = np.cumsum(m)
    return (1 - np.sum(np.asarray(p0, float) ** 2)) * np.cumprod(1 - m / total**2)


def support_after_one(p0: Array, m: int) -> float:
    """Expected number of states seen in m samples: Σ 1 - (1-p_i)^m."""
    return float(np.sum(-np.expm1(m * np.log1p(-np.minimum(np.asarray(p0, float), 1 - 1e-16)))))


def support_bound(p0: Array, m: int, fits: int) -> Array:
    """Lower bound, tight, on the expected support after 1 … `fits` fits: Σ 1 - exp(-m p_i g_k) (Suresh et al. 2412.17646).

    g_1 = 1, g_{k+1} = 1 - exp(-g_k).
    """
    g, bound = 1.0, []
    for _ in range(fits):
        bound.append(float(np.sum(-np.expm1(-m * np.asarray(p0, float) * g))))
        g = -np.expm1(-g)
    return np.array(bound)


def fixation(p0: Array) -> Array:
    """The probability that each state is the one left at the end: p0 itself."""
    return np.asarray(p0, float)


def fixation_time(p: float, m: int) -> float:
    """Mean fits to fixation of two states in the diffusion limit: -2M[(1-p) ln(1-p) + p ln p] (Kimura and Ohta 1969)."""
    return -2 * m * ((1 - p) * np.log1p(-p) + p * np.log(p))


def not_absorbed(p: float, m: int, fits: Array) -> tuple[Array, Array]:
    """Bounds on the probability that two states are both left after k fits (Seddik et al. 2404.05090).

    4p(1-p)(1-1/M)^k <= P <= min(1, 2M p(1-p)(1-1/M)^k).
    """
    decay = p * (1 - p) * (1 - 1 / m) ** np.asarray(fits, float)
    return 4 * decay, np.minimum(1.0, 2 * m * decay)
