"""Closed forms for Gaussian chains under replace, accumulate and accumulate-subsample; the other regimes are in `shares`.

Generation t counts n = t + 1 fits; `sizes` are the samples M_i of these fits. Everything is measured against the source N(0, I).
Nature is Shumailov et al., Nature 631:755, 2024. Where a docstring says "derived here" the tests named are the check, by simulation.
"""

import math
from typing import TypeAlias

import numpy as np
from scipy.special import digamma, gamma, gammaln, polygamma

Array: TypeAlias = np.ndarray


def harmonic(sizes: Array) -> Array:
    """S = Σ 1/M_i over the fits up to each generation (n/M for equal sizes): E μ² a dimension of unbiased fits under replace.

    It stays bounded for samples that grow faster than linearly, and so does the error.
    Range: M_i >= 1. Source: Nature, Thm 3.1.
    """
    return np.cumsum(1.0 / np.asarray(sizes, float))


def c4(m: Array) -> Array:
    """E of the sample standard deviation of m normals with variance 1: √(2/(m-1)) Γ(m/2) / Γ((m-1)/2).

    Range: exact for m >= 2. Source: mean of a χ distribution with m - 1 degrees of freedom.
    """
    m = np.asarray(m, float)
    return np.sqrt(2 / (m - 1)) * np.exp(gammaln(m / 2) - gammaln((m - 1) / 2))


def log_variance(sizes: Array, estimator: str, lam: float = 1.0) -> Array:
    """E log σ² in one dimension under replace: Σ ψ(ν/2) - ln(ν/2), ν = M - 1; mle adds ln((M-1)/M) a fit, and sampling bias λ
    adds ln λ a generation.

    Range: exact for M_i >= 2, λ > 0. Source: mean of log χ² (Nature, appendix); λ as in Alemohammad et al. 2307.01850; checked in
    test_replace_in_one_dimension and test_sampling_bias_shrinks_the_variance.
    """
    nu = np.asarray(sizes, float) - 1
    shift = np.log(nu / (nu + 1)) if estimator == "mle" else 0.0
    return np.cumsum(digamma(nu / 2) - np.log(nu / 2) + shift) + np.arange(len(nu)) * math.log(lam)


def median_variance(sizes: Array, estimator: str, lam: float = 1.0) -> Array:
    """Median of σ² in one dimension under replace; close to exp(E log σ²), so to exp(-n/(M-1)) for large M.

    Cornish–Fisher's expansion of Σ log χ² to third order; exp(E log σ²) alone is too small by 1/(3 (M-1)) of it.
    Range: asymptotic, M_i >= 3; at n = 1, its worst, off by less than 1 %. Source: derived here; checked in
    test_median_of_the_variance and test_median_of_one_fit_is_that_of_chi_square.
    """
    half = (np.asarray(sizes, float) - 1) / 2
    k2, k3, k4, k5 = (np.cumsum(polygamma(order, half)) for order in (1, 2, 3, 4))
    g1, g2, g3 = k3 / k2**1.5, k4 / k2**2, k5 / k2**2.5
    shift = -g1 / 6 + g3 / 40 - g1 * g2 / 12 + 17 * g1**3 / 324
    return np.exp(log_variance(sizes, estimator, lam) + np.sqrt(k2) * shift)


def half_life(m: float) -> float:
    """Fits after which the median of σ² is halved, in one dimension under replace with unbiased fits and equal sizes: (M-1) ln 2.

    Range: first order for large M; exp(E log σ²) is halved after ln 2/3 fits less, and O(1/M) (from ln x - ψ(x) = 1/2x + 1/12x²).
    Source: Nature, appendix; the next order is derived here, both are checked in test_half_life.
    """
    return (m - 1) * math.log(2)


def log_det(sizes: Array, dim: int, estimator: str, lam: float = 1.0) -> Array:
    """E log det Σ under replace: Σ over fits and i = 1 … d of ψ((M-i)/2) + ln(2/(M-1)); ln(2/M) with mle; λ adds d ln λ a generation.

    Range: exact for M_i > d; -inf else, as the covariance is singular. Source: mean of log det of a Wishart matrix (Bartlett's
    decomposition); checked in test_moments_and_log_determinant_in_three_dimensions.
    """
    m = np.asarray(sizes, float)
    if (m <= dim).any():
        return np.full(len(m), -np.inf)
    divisor = m if estimator == "mle" else m - 1
    steps = sum(digamma((m - i) / 2) + np.log(2 / divisor) for i in range(1, dim + 1))
    return np.cumsum(steps) + np.arange(len(m)) * dim * math.log(lam)


def replace_variance(sizes: Array, estimator: str) -> Array:
    """E σ² under replace, and E tr Σ / d: 1 for ever with the unbiased fit (rare chains carry it), Π (1 - 1/M_i) with mle.

    Range: exact for any d and M_i >= 1 (mle) or 2; a simulated mean can be held against it only where `testable` says so.
    Source: Nature, Thm 3.1; the unbiased fit's by its martingale, derived here; checked in test_replace_in_one_dimension and
    test_moments_and_log_determinant_in_three_dimensions.
    """
    m = np.asarray(sizes, float)
    return np.cumprod(1 - 1 / m) if estimator == "mle" else np.ones(len(m))


def replace_error(sizes: Array, estimator: str) -> Array:
    """E μ² a dimension under replace: S with the unbiased fit, 1 - E σ² with mle; E ‖μ‖² is d times it.

    Range: exact for any d and M_i as in `replace_variance`. Source: Nature, Thm 3.1; mle's follows from E μ² + E σ² = 1,
    derived here; checked in test_replace_in_one_dimension and test_moments_and_log_determinant_in_three_dimensions.
    """
    return 1 - replace_variance(sizes, "mle") if estimator == "mle" else harmonic(sizes)


def replace_marginal(sizes: Array, estimator: str) -> Array:
    """Variance of a sample of a chain's model over chains, in one dimension under replace: E μ² + E σ².

    1 + S with the unbiased fit, 1 for ever with mle.
    Range: exact, M_i as in `replace_variance`. Source: Nature, appendix; checked in test_replace_in_one_dimension.
    """
    return replace_error(sizes, estimator) + replace_variance(sizes, estimator)


def replace_deviation(sizes: Array, estimator: str, lam: float = 1.0) -> Array:
    """E σ in one dimension under replace: Π c4(M_i) unbiased, Π c4(M_i) √(1-1/M_i) mle; √λ a generation.

    Range: exact for M_i >= 2, λ > 0. Source: the mean of χ; checked in test_replace_in_one_dimension.
    """
    m = np.asarray(sizes, float)
    step = c4(m) * (np.sqrt(1 - 1 / m) if estimator == "mle" else 1.0)
    return np.cumprod(step) * lam ** (np.arange(len(m)) / 2)


def replace_w2(sizes: Array, estimator: str) -> Array:
    """E W2²(fit, N(0, 1)) = E μ² + E σ² + 1 - 2 E σ in one dimension under replace: S + 2(1 - Π c4(M_i)) unbiased.

    Range: exact for M_i >= 2. Source: derived here from W2² of Gaussians; checked in test_replace_in_one_dimension.
    """
    return replace_error(sizes, estimator) + replace_variance(sizes, estimator) + 1 - 2 * replace_deviation(sizes, estimator)


def first_order_w2(sizes: Array) -> Array:
    """E W2²(fit, N(0, 1)) in one dimension under replace with unbiased fits, to first order: 1.5 S.

    Range: S = n/M ≪ 1 only; for equal sizes the next order is n/(2M²) - S²/16, and at S = 2 it is 7 % too large. Source: Nature,
    Thm 3.1; its next order is derived here and checked in test_first_order_of_the_distance_and_its_next.
    """
    return 1.5 * harmonic(sizes)


def accumulate(sizes: Array, estimator: str, lam: float = 1.0) -> tuple[Array, Array]:
    """E σ² and E μ² a dimension under accumulate; new samples have variance λ σ².

    Adding m samples to N: σ² × (1 - m/(N+m)²) with mle, × (1 - m/((N+m)(N+m-1))) unbiased; μ² + σ² m/(N+m)².
    Equal sizes and mle: (1-1/M) Π (1 - 1/(M k²)) → sin(π/√M)/(π/√M).
    Range: exact for any sizes, M_0 >= 2 unbiased. Source: Kazdan et al. 2410.16713 for equal sizes and mle; the rest is derived
    here; checked in test_shares.py::test_recursions_are_what_plain_sampling_gives and test_accumulate_as_printed.
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
    """lim E σ² of accumulate, equal sizes: mle sin(π/√M)/(π/√M); unbiased the product over k >= 2 of 1 - 1/(k(kM-1)) in gamma
    functions, 1 - (π²/6-1)/M to first order. E μ² tends to 1 less the mle's.

    Range: exact, M >= 2 with mle, M >= 3 unbiased. Source: Kazdan et al. 2410.16713; the unbiased product is derived here; checked
    in test_accumulate_as_printed.
    """
    if estimator == "mle":
        return math.sin(math.pi / math.sqrt(m)) / (math.pi / math.sqrt(m))
    half, root = 0.5 / m, math.sqrt(0.25 / m**2 + 1 / m)
    return float(gamma(1 - 1 / m) / (gamma(1 - half - root) * gamma(1 - half + root)) / (1 - 1 / (m - 1)))


def subsample(sizes: Array, estimator: str, replacement: bool, lam: float = 1.0, bootstrap: bool = False) -> tuple[Array, Array]:
    """E σ² and E μ² a dimension under accumulate-subsample; generation 0 sees all its real data, or a `bootstrap` of them.

    Recursion on the pool's mean and scatter, in which a subsample's mean and variance are linear; see `subsample_limit`. Unbiased
    fits count the spread of the pool's mean as variance, so E σ² grows like n^(1/M) for ever; with mle σ² settles at
    1 - 3(π²/6-1)/M to first order.
    Range: exact for any sizes, M_i >= 2. Source: derived here; checked in
    test_shares.py::test_recursions_are_what_plain_sampling_gives and test_a_bootstrap_of_generation_0_makes_the_quarter.
    """
    m = np.asarray(sizes, float)
    factor = lambda k: 1 - 1 / k if estimator == "mle" else 1.0
    again = (m[0] - 1) / m[0] if bootstrap else 1.0
    total, spread, place = m[0], 1.0, 1 / m[0]  # pool size, scatter/(N-1), E mean²
    sub = again / m[0] if bootstrap else 0.0  # E (subsample mean - pool mean)²
    variance, error = [factor(m[0]) * again], [place + sub]
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


def subsample_limit(m: int, replacement: bool = False, bootstrap: bool = False) -> float:
    """E μ² a dimension of accumulate-subsample after many fits: (π²/2 - 2)/M, or (π²/3 - 1/4)/M drawing with replacement.

    The quarter is the subsample generation 0 does not make, whose variance 1/M enters the pool's mean with weight 1/2²: where it
    is a `bootstrap` of its real data too, the limit with replacement is π²/3 (and π²/2 - 7/4 without).
    Range: first order in 1/M, equal sizes, 1 ≪ n and, for unbiased fits, ln n ≪ M; 2/n of the sum is missing after n fits.
    Source: Kazdan et al. 2410.16713; the quarter is derived here; checked in test_accumulate_subsample_as_printed and
    test_a_bootstrap_of_generation_0_makes_the_quarter.
    """
    return ((math.pi**2 / 3 - 0.25 if replacement else math.pi**2 / 2 - 2) + 0.25 * bootstrap) / m


def testable(inverse: Array, chains: int) -> Array:
    """Whether means over `chains` chains can be tested: 2S <= ln(chains)/4, S = Σ 1/M_i under replace, else E μ²: bool.

    log σ² has variance of about 2S: beyond, the rare chains that carry the mean of σ² are not sampled and its standard error is
    an illusion. Test log σ² and medians there. Of 400 batches of 1,024 chains (M = 10), |z| of the mean exceeds 4 in 0.8 % at this bound,
    in 2 % at twice it and in 12 % at 2S = ln(chains), where it is 1.4 too low in mean.
    Range: a rule of thumb for any M and at least 2 chains, four times stricter than 2S ≳ ln(chains). Source: derived here,
    log σ² being near normal; checked in test_which_means_can_be_tested.
    """
    return 2 * np.asarray(inverse, float) <= math.log(max(chains, 2)) / 4


def deviation_bound(epsilon: float, k: Array, m: int, sigma0: float = 1.0) -> Array:
    """P(σ_k > ε) <= (σ0/ε) exp(-k/4M) for the standard deviation σ after k unbiased fits to chains that start at σ0.

    Markov's inequality with E σ_k = σ0 c4(M)^k. It does not hold for the variance, whose mean stays: P(σ² > ε) exceeds the same
    expression for large k and ε (test_a_variance_exceeds_the_bound_on_deviations).
    Range: a bound, any M >= 2, k >= 1, ε > 0. Source: Suresh et al. 2412.17646; checked in test_bound_on_the_deviation_holds.
    """
    return np.minimum(1.0, sigma0 * np.exp(-np.asarray(k, float) / (4 * m)) / epsilon)
