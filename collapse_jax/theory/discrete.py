"""Closed forms of discrete (Wright–Fisher) chains: heterozygosity, tails, support and fixation.

p: the source's probabilities [K]; sizes: samples of every generation [generations + 1]; generation t is t + 1 fits.
"""

import numpy as np
from scipy.special import gammaln

TAIL = 0.1
LARGEST = 2000  # samples up to which the exact support is computed: the transition matrix has samples² entries


def heterozygosity(p: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """E[1 - Σ p²] under replace, (1 - Σ p0²) Π (1 - 1/M_i): [generations + 1], exact. Other regimes: `shares.carried`, mle."""
    return (1 - np.sum(np.square(p))) * np.cumprod(1 - 1 / np.asarray(sizes, float))


def tail(p: np.ndarray, share: float = TAIL) -> np.ndarray:
    """The source's tail as metrics.tails defines it: the rarest states, ties together, that hold at most `share`: bool [K]."""
    p = np.asarray(p, float)
    order = np.sort(p)
    held = np.cumsum(order)
    # A state tied with the first one outside is outside as well.
    outside = order[held > share + 1e-5]
    return p < (outside[0] * (1 - 1e-6) if len(outside) else np.inf)


def survival_once(p: np.ndarray, samples: int) -> np.ndarray:
    """P(state i is seen in one fit) = 1 - (1 - p_i)^M: [K], exact. Their sum is the expected support."""
    p = np.asarray(p, float)
    return -np.expm1(samples * np.log1p(-np.minimum(p, 1 - 1e-16)))


def survival(p: np.ndarray, samples: int, generations: int) -> np.ndarray:
    """P(state i still has p > 0) at every generation under replace with equal sizes M <= LARGEST: [generations + 1, K], exact.

    One state against all others is a binomial chain on 0 … M; its extinction probabilities are followed backwards.
    """
    p, m = np.asarray(p, float), int(samples)
    counts = np.arange(m + 1)
    lost = (1 - counts / m) ** m
    step, start = binomial(counts / m, m), binomial(p, m)
    rows = [survival_once(p, m)]
    for _ in range(generations):
        rows.append(1 - start @ lost)
        lost = step @ lost
    return np.stack(rows)


def binomial(p: np.ndarray, n: int) -> np.ndarray:
    """Binomial probabilities of 0 … n for every p: [len(p), n + 1]."""
    k = np.arange(n + 1)
    p = np.asarray(p, float)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, miss = np.where(k > 0, k * np.log(p), 0.0), np.where(k < n, (n - k) * np.log1p(-p), 0.0)
    return np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + hit + miss)


def support_bound(p: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Lower bound on the expected support under replace, close: Σ 1 - exp(-M p_i g_k), g_1 = 1, g_{k+1} = 1 - exp(-g_k).

    Suresh et al. 2412.17646; sizes that differ by the same argument: [generations + 1].
    """
    m = np.asarray(sizes, float)
    p = np.asarray(p, float)
    out = []
    for last in range(len(m)):
        g = 1.0
        for j in range(last, 0, -1):
            g = -np.expm1(-g * m[j] / m[j - 1])
        out.append(-np.expm1(-m[0] * p * g).sum())
    return np.array(out)


def fixation(p: np.ndarray) -> np.ndarray:
    """P(state i is the one left for ever) = p_i under replace: exact."""
    return np.asarray(p, float)


def fixation_time(p: float, samples: int) -> float:
    """Mean fits until one of two states is left, -2M [(1-p) ln(1-p) + p ln p]: diffusion limit, M ≫ 1; the exact mean is
    `absorption_time`."""
    return -2 * samples * ((1 - p) * np.log1p(-p) + p * np.log(p))


def absorption_time(p: float, samples: int) -> float:
    """Exact mean fits until one of two states is left, by the fundamental matrix of the binomial chain; M up to LARGEST."""
    inner = binomial(np.arange(1, samples) / samples, samples)[:, 1:-1]
    more = np.linalg.solve(np.eye(samples - 1) - inner, np.ones(samples - 1))
    return float(1 + binomial(np.array([p]), samples)[0, 1:-1] @ more)


def absorption_bounds(p: float, samples: int, fits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """4p(1-p)(1-1/M)^k <= P(two states both left after k fits) <= min(1, 2M p(1-p)(1-1/M)^k) (Seddik et al. 2404.05090)."""
    decay = p * (1 - p) * (1 - 1 / samples) ** np.asarray(fits, float)
    return 4 * decay, np.minimum(1.0, 2 * samples * decay)
