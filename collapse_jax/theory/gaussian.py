"""Closed forms for Gaussian chains: replace, accumulate, accumulate-subsample, fresh and weighted data.

Generation t counts n = t + 1 fits; `sizes` are the samples M_i of these fits. Everything is measured against the source N(0, I).
"""

import math

import numpy as np
from scipy.special import digamma, gammaln

Array = np.ndarray


def harmonic(sizes: Array) -> Array:
    """S = Σ 1/M_i over the fits up to each generation (n/M for equal sizes)."""
    return np.cumsum(1.0 / np.asarray(sizes, float))


def c4(m: Array) -> Array:
    """E of the sample standard deviation of m normals with variance 1: √(2/(m-1)) Γ(m/2) / Γ((m-1)/2)."""
    m = np.asarray(m, float)
    return np.sqrt(2 / (m - 1)) * np.exp(gammaln(m / 2) - gammaln((m - 1) / 2))


def log_variance(sizes: Array, estimator: str) -> Array:
    """E log σ² in one dimension under replace: Σ ψ(ν/2) - ln(ν/2), ν = M - 1; mle adds ln((M-1)/M) a fit (Shumailov et al. 2024)."""
    nu = np.asarray(sizes, float) - 1
    shift = np.log(nu / (nu + 1)) if estimator == "mle" else 0.0
    return np.cumsum(digamma(nu / 2) - np.log(nu / 2) + shift)


def log_det(sizes: Array, dim: int, estimator: str) -> Array:
    """E log det Σ under replace: Σ over fits and i = 1 … d of ψ((M-i)/2) + ln(2/(M-1)); valid for M > d, else -inf."""
    m = np.asarray(sizes, float)
    if (m <= dim).any():
        return np.full(len(m), -np.inf)
    divisor = m if estimator == "mle" else m - 1
    return np.cumsum(sum(digamma((m - i) / 2) + np.log(2 / divisor) for i in range(1, dim + 1)))


def replace_variance(sizes: Array, estimator: str) -> Array:
    """E σ² under replace: 1 for ever with the unbiased fit (rare chains carry it), Π (1 - 1/M_i) with mle."""
    m = np.asarray(sizes, float)
    return np.cumprod(1 - 1 / m) if estimator == "mle" else np.ones(len(m))


def replace_error(sizes: Array, estimator: str) -> Array:
    """E μ² a dimension under replace: S with the unbiased fit, 1 - E σ² with mle."""
    return 1 - replace_variance(sizes, "mle") if estimator == "mle" else harmonic(sizes)


def replace_w2(sizes: Array, estimator: str) -> Array:
    """E W2²(fit, N(0, 1)) under replace, exact: S + 2(1 - Π c4(M_i)) unbiased; 2(1 - Π c4(M_i)√(1-1/M_i)) mle."""
    m = np.asarray(sizes, float)
    if estimator == "mle":
        return 2 * (1 - np.cumprod(c4(m) * np.sqrt(1 - 1 / m)))
    return harmonic(sizes) + 2 * (1 - np.cumprod(c4(m)))


def accumulate(sizes: Array, estimator: str) -> tuple[Array, Array]:
    """E σ² and E μ² a dimension under accumulate, exact for any sizes.

    Adding m samples to N: σ² × (1 - m/(N+m)²) with mle, × (1 - m/((N+m)(N+m-1))) unbiased; μ² + σ² m/(N+m)².
    Equal sizes and mle: (1-1/M) Π (1 - 1/(M k²)) → sin(π/√M)/(π/√M) (Kazdan et al. 2410.16713).
    """
    m = np.asarray(sizes, float)
    variance, error, total = [1 - 1 / m[0] if estimator == "mle" else 1.0], [1 / m[0]], m[0]
    for new in m[1:]:
        error.append(error[-1] + variance[-1] * new / (total + new) ** 2)
        total += new
        loss = new / total**2 if estimator == "mle" else new / (total * (total - 1))
        variance.append(variance[-1] * (1 - loss))
    return np.array(variance), np.array(error)


def accumulate_limit(m: int) -> float:
    """lim E σ² of accumulate, mle, equal sizes: sin(π/√M) / (π/√M)."""
    return math.sin(math.pi / math.sqrt(m)) / (math.pi / math.sqrt(m))


def subsample(sizes: Array, estimator: str, replacement: bool) -> tuple[Array, Array]:
    """E σ² and E μ² a dimension under accumulate-subsample, exact for any sizes (generation 0 sees all its real data).

    Recursion on the pool's mean and scatter, in which a subsample's mean and variance are linear. Derived here; for equal
    sizes M · E μ² tends to π²/2 - 2 without replacement, and with it to π²/3 - 1/4: theory's π²/3 is for chains whose
    generation 0 is a bootstrap of its real data too.
    """
    m = np.asarray(sizes, float)
    factor = lambda k: 1 - 1 / k if estimator == "mle" else 1.0
    variance, error = [factor(m[0])], [1 / m[0]]
    total, spread, place, sub = m[0], 1.0, 1 / m[0], 0.0  # pool size, scatter/(N-1), E mean², E (subsample mean - pool mean)²
    for new in m[1:]:
        apart = sub + variance[-1] / new
        scatter = (total - 1) * spread + (new - 1) * variance[-1] + total * new / (total + new) * apart
        place += (new / (total + new)) ** 2 * apart
        total += new
        spread = scatter / (total - 1)
        sub = spread * (total - 1) / total / new if replacement else spread / new * (1 - new / total)
        variance.append(factor(new) * spread * ((total - 1) / total if replacement else 1.0))
        error.append(place + sub)
    return np.array(variance), np.array(error)


def fresh(real: Array, synthetic: Array, estimator: str, lam: float = 1.0) -> tuple[Array, Array]:
    """E σ² and E μ² a dimension where `real[t]` new real samples stand beside `synthetic[t]` from N(μ, λ σ²), exact.

    Alemohammad et al. 2307.01850; synthetic[0] is 0. Its limit: V = [a + a b m N/(N-1)]/(1-bλ), m = (a+λbV)/(N(1-b²)).
    """
    v, e = 1.0, 0.0
    variance, error = [], []
    for r, s in zip(np.asarray(real, float), np.asarray(synthetic, float), strict=True):
        n = r + s
        within = max(r - 1, 0) + (max(s - 1, 0) * lam * v if s else 0.0)
        between = r * s / n * (1 / r + lam * v / s + e) if r and s else 0.0
        e = (r + s * lam * v + s * s * e) / n**2
        v = (within + between) / (n if estimator == "mle" else n - 1)
        variance.append(v)
        error.append(e)
    return np.array(variance), np.array(error)


def weighted(m: int, weight: float, generations: int, estimator: str) -> tuple[Array, Array]:
    """E σ² and E μ² a dimension with weight w on m fresh real samples and 1 - w on m synthetic ones, exact.

    He et al. 2502.18049; the limit of m · E μ² at σ² = 1 is (w² + (1-w)²)/(1 - (1-w)²), least at the golden ratio's 0.618.
    """
    v, e = replace_variance(np.array([m]), estimator)[0], 1 / m
    variance, error = [v], [e]
    squares = weight**2 + (1 - weight) ** 2
    for _ in range(generations):
        scatter = (m - 1) * (weight + (1 - weight) * v) + weight * (1 - weight) * m * (1 / m + v / m + e)
        e = weight**2 / m + (1 - weight) ** 2 * (e + v / m)
        v = scatter / (m if estimator == "mle" else m - squares)
        variance.append(v)
        error.append(e)
    return np.array(variance), np.array(error)


def testable(sizes: Array, chains: int) -> Array:
    """At which generations the mean of σ² over `chains` chains can be tested at all under replace: 2S <= ln(chains)/4.

    Beyond, the rare chains that carry the mean are not sampled and its standard error is an illusion: bool [generations].
    """
    return 2 * harmonic(sizes) <= math.log(max(chains, 2)) / 4


def deviation_bound(epsilon: float, k: Array, m: int) -> Array:
    """P(σ_k > ε) <= exp(-k/4M)/ε for the standard deviation σ after k fits (Suresh et al. 2412.17646)."""
    return np.minimum(1.0, np.exp(-np.asarray(k, float) / (4 * m)) / epsilon)
