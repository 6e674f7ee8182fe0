"""Closed forms for Gaussian chains under replace, accumulate and accumulate-subsample; the other regimes are in `shares`.

Generation t counts n = t + 1 fits; `sizes` are the samples M_i of these fits. Everything is measured against the source N(0, I).
"""

import math
from typing import TypeAlias

import numpy as np
from scipy.special import digamma, gamma, gammaln, polygamma

Array: TypeAlias = np.ndarray


def harmonic(sizes: Array) -> Array:
    """S = Σ 1/M_i over the fits up to each generation (n/M for equal sizes)."""
    return np.cumsum(1.0 / np.asarray(sizes, float))


def c4(m: Array) -> Array:
    """E of the sample standard deviation of m normals with variance 1: √(2/(m-1)) Γ(m/2) / Γ((m-1)/2)."""
    m = np.asarray(m, float)
    return np.sqrt(2 / (m - 1)) * np.exp(gammaln(m / 2) - gammaln((m - 1) / 2))


def log_variance(sizes: Array, estimator: str, lam: float = 1.0) -> Array:
    """E log σ² in one dimension under replace: Σ ψ(ν/2) - ln(ν/2), ν = M - 1, M >= 2; mle adds ln((M-1)/M) a fit, and
    sampling bias λ adds ln λ a generation (Shumailov et al. 2024; Alemohammad et al. 2307.01850)."""
    nu = np.asarray(sizes, float) - 1
    shift = np.log(nu / (nu + 1)) if estimator == "mle" else 0.0
    return np.cumsum(digamma(nu / 2) - np.log(nu / 2) + shift) + np.arange(len(nu)) * math.log(lam)


def median_variance(sizes: Array, estimator: str, lam: float = 1.0) -> Array:
    """Median of σ² in one dimension under replace; close to exp(E log σ²), so to exp(-n/(M-1)) for large M.

    Cornish–Fisher's expansion of Σ log χ² to third order; exp(E log σ²) alone is too small by 1/(3 (M-1)) of it. At n = 1, its
    worst, off by less than 1 % for M >= 3.
    """
    half = (np.asarray(sizes, float) - 1) / 2
    k2, k3, k4, k5 = (np.cumsum(polygamma(order, half)) for order in (1, 2, 3, 4))
    g1, g2, g3 = k3 / k2**1.5, k4 / k2**2, k5 / k2**2.5
    shift = -g1 / 6 + g3 / 40 - g1 * g2 / 12 + 17 * g1**3 / 324
    return np.exp(log_variance(sizes, estimator, lam) + np.sqrt(k2) * shift)


def log_det(sizes: Array, dim: int, estimator: str, lam: float = 1.0) -> Array:
    """E log det Σ under replace: Σ over fits and i = 1 … d of ψ((M-i)/2) + ln(2/(M-1)); valid for M > d, else -inf."""
    m = np.asarray(sizes, float)
    if (m <= dim).any():
        return np.full(len(m), -np.inf)
    divisor = m if estimator == "mle" else m - 1
    steps = sum(digamma((m - i) / 2) + np.log(2 / divisor) for i in range(1, dim + 1))
    return np.cumsum(steps) + np.arange(len(m)) * dim * math.log(lam)


def replace_variance(sizes: Array, estimator: str) -> Array:
    """E σ² under replace: 1 for ever with the unbiased fit (rare chains carry it), Π (1 - 1/M_i) with mle."""
    m = np.asarray(sizes, float)
    return np.cumprod(1 - 1 / m) if estimator == "mle" else np.ones(len(m))


def replace_error(sizes: Array, estimator: str) -> Array:
    """E μ² a dimension under replace: S with the unbiased fit, 1 - E σ² with mle."""
    return 1 - replace_variance(sizes, "mle") if estimator == "mle" else harmonic(sizes)


def replace_marginal(sizes: Array, estimator: str) -> Array:
    """Variance of a sample of a chain's model over chains, in one dimension under replace: E μ² + E σ².

    1 + S with the unbiased fit, 1 for ever with mle (Shumailov et al. 2024, appendix).
    """
    return replace_error(sizes, estimator) + replace_variance(sizes, estimator)


def replace_deviation(sizes: Array, estimator: str, lam: float = 1.0) -> Array:
    """E σ in one dimension under replace, exact: Π c4(M_i) unbiased, Π c4(M_i) √(1-1/M_i) mle; √λ a generation."""
    m = np.asarray(sizes, float)
    step = c4(m) * (np.sqrt(1 - 1 / m) if estimator == "mle" else 1.0)
    return np.cumprod(step) * lam ** (np.arange(len(m)) / 2)


def replace_w2(sizes: Array, estimator: str) -> Array:
    """E W2²(fit, N(0, 1)) = E μ² + E σ² + 1 - 2 E σ in one dimension under replace, exact: S + 2(1 - Π c4(M_i)) unbiased.

    The paper's 1.5·S (Shumailov et al. 2024) is its first order for S ≪ 1; the next is n/(2M²) - S²/16.
    """
    return replace_error(sizes, estimator) + replace_variance(sizes, estimator) + 1 - 2 * replace_deviation(sizes, estimator)


def accumulate(sizes: Array, estimator: str, lam: float = 1.0) -> tuple[Array, Array]:
    """E σ² and E μ² a dimension under accumulate, exact for any sizes; new samples have variance λ σ².

    Adding m samples to N: σ² × (1 - m/(N+m)²) with mle, × (1 - m/((N+m)(N+m-1))) unbiased; μ² + σ² m/(N+m)².
    Equal sizes and mle: (1-1/M) Π (1 - 1/(M k²)) → sin(π/√M)/(π/√M) (Kazdan et al. 2410.16713).
    """
    m = np.asarray(sizes, float)
    variance, error, total = [1 - 1 / m[0] if estimator == "mle" else 1.0], [1 / m[0]], m[0]
    ddof = 0 if estimator == "mle" else 1
    for new in m[1:]:
        error.append(error[-1] + lam * variance[-1] * new / (total + new) ** 2)
        scatter = total - ddof + lam * (new - 1 + total / (total + new))
        total += new
        variance.append(variance[-1] * scatter / (total - ddof))
    return np.array(variance), np.array(error)


def accumulate_limit(m: int, estimator: str = "mle") -> float:
    """lim E σ² of accumulate, equal sizes, exact: mle sin(π/√M)/(π/√M), M >= 2; unbiased, M >= 3, the product over k >= 2 of
    1 - 1/(k(kM-1)) in gamma functions, 1 - (π²/6-1)/M to first order (Kazdan et al. 2410.16713)."""
    if estimator == "mle":
        return math.sin(math.pi / math.sqrt(m)) / (math.pi / math.sqrt(m))
    half, root = 0.5 / m, math.sqrt(0.25 / m**2 + 1 / m)
    return float(gamma(1 - 1 / m) / (gamma(1 - half - root) * gamma(1 - half + root)) / (1 - 1 / (m - 1)))


def subsample(sizes: Array, estimator: str, replacement: bool, lam: float = 1.0) -> tuple[Array, Array]:
    """E σ² and E μ² a dimension under accumulate-subsample, exact for any sizes (generation 0 sees all its real data).

    Recursion on the pool's mean and scatter, in which a subsample's mean and variance are linear. Derived here; for equal
    sizes M · E μ² tends to π²/2 - 2 without replacement, and with it to π²/3 - 1/4: theory's π²/3 is for chains whose
    generation 0 is a bootstrap of its real data too. Unbiased fits count the spread of the pool's mean as variance, so E σ²
    grows like n^(1/M) for ever and these limits hold for ln n ≪ M; with mle σ² settles at 1 - 3(π²/6-1)/M to first order.
    """
    m = np.asarray(sizes, float)
    factor = lambda k: 1 - 1 / k if estimator == "mle" else 1.0
    variance, error = [factor(m[0])], [1 / m[0]]
    total, spread, place, sub = m[0], 1.0, 1 / m[0], 0.0  # pool size, scatter/(N-1), E mean², E (subsample mean - pool mean)²
    for new in m[1:]:
        within = lam * variance[-1]
        apart = sub + within / new
        scatter = (total - 1) * spread + (new - 1) * within + total * new / (total + new) * apart
        place += (new / (total + new)) ** 2 * apart
        total += new
        spread = scatter / (total - 1)
        sub = spread * (total - 1) / total / new if replacement else spread / new * (1 - new / total)
        variance.append(factor(new) * spread * ((total - 1) / total if replacement else 1.0))
        error.append(place + sub)
    return np.array(variance), np.array(error)


def subsample_limit(m: int, replacement: bool = False) -> float:
    """E μ² a dimension of accumulate-subsample after many fits, first order in 1/M: see `subsample`."""
    return (math.pi**2 / 3 - 0.25 if replacement else math.pi**2 / 2 - 2) / m


def testable(inverse: Array, chains: int) -> Array:
    """Whether means over `chains` chains can be tested: 2S <= ln(chains)/4, S = Σ 1/M_i under replace, else E μ²: bool.

    log σ² has variance of about 2S: beyond, the rare chains that carry the mean of σ² are not sampled and its standard error is
    an illusion. Test log σ² and medians there.
    """
    return 2 * np.asarray(inverse, float) <= math.log(max(chains, 2)) / 4


def deviation_bound(epsilon: float, k: Array, m: int) -> Array:
    """P(σ_k > ε) <= exp(-k/4M)/ε for the standard deviation σ after k fits (Suresh et al. 2412.17646)."""
    return np.minimum(1.0, np.exp(-np.asarray(k, float) / (4 * m)) / epsilon)
