"""Closed forms of Gaussian chains under replace, against the standard normal source (Shumailov et al., Nature 631:755, 2024).

sizes: samples of every generation [generations + 1]; generation t is t + 1 fits. Each function returns float64 [generations + 1].
"""

import numpy as np
from scipy.special import digamma, gammaln, polygamma


def total_inverse(sizes: np.ndarray) -> np.ndarray:
    """S_t = Σ_{i<=t} 1/M_i: the error of the mean, E μ² per dimension, of unbiased fits (exact, M >= 2; Nature Thm 3.1).

    It stays bounded where sizes grow faster than linearly. A sample's marginal variance is 1 + S.
    """
    return np.cumsum(1 / np.asarray(sizes, float))


def mle_variance(sizes: np.ndarray) -> np.ndarray:
    """E σ² of mle fits, Π (1 - 1/M_i), in any dimension; E μ² is 1 minus it (exact)."""
    return np.cumprod(1 - 1 / np.asarray(sizes, float))


def log_variance(sizes: np.ndarray, estimator: str = "unbiased", bias: float = 1.0) -> np.ndarray:
    """E log σ² in one dimension: Σ ψ(ν/2) - ln(ν/2), ν = M - 1 (mle: - ln(M/2)), exact for M >= 2; λ adds t ln λ."""
    return cumulants(sizes, estimator, bias)[0]


def median_variance(sizes: np.ndarray, estimator: str = "unbiased", bias: float = 1.0) -> np.ndarray:
    """Median of σ² in one dimension, by Cornish–Fisher's expansion of Σ log χ² to its third order; about exp(-n/(M-1)).

    For M >= 5 the error is below 0.2 % at n = 1 and falls as 1/n^2; exp(E log σ²) alone is off by about 1/(3 (M - 1)).
    """
    mean, k2, k3, k4, k5 = cumulants(sizes, estimator, bias)
    sd = np.sqrt(k2)
    g1, g2, g3 = k3 / sd**3, k4 / sd**4, k5 / sd**5
    return np.exp(mean + sd * (-g1 / 6 + g3 / 40 - g1 * g2 / 12 + 17 * g1**3 / 324))


def cumulants(sizes: np.ndarray, estimator: str, bias: float) -> list[np.ndarray]:
    """The first five cumulants of log σ² in one dimension."""
    m = np.asarray(sizes, float)
    half = (m - 1) / 2
    divisor = m / 2 if estimator == "mle" else half
    mean = np.cumsum(digamma(half) - np.log(divisor)) + np.arange(len(m)) * np.log(bias)
    return [mean, *[np.cumsum(polygamma(order, half)) for order in (1, 2, 3, 4)]]


def log_det(sizes: np.ndarray, dim: int, estimator: str = "unbiased", bias: float = 1.0) -> np.ndarray:
    """E log det Σ: Σ_n Σ_{i=1..d} ψ((M-i)/2) + ln(2/(M-1)) (mle: ln(2/M)), exact; -inf from the first M <= d on."""
    m = np.asarray(sizes, float)
    steps = np.where(m > dim, 0.0, -np.inf)
    full = np.where(m > dim, m, dim + 1.0)
    for i in range(1, dim + 1):
        steps = steps + digamma((full - i) / 2) + np.log(2 / (full if estimator == "mle" else full - 1))
    return np.cumsum(steps) + np.arange(len(m)) * dim * np.log(bias)


def mean_deviation(sizes: np.ndarray, estimator: str = "unbiased", bias: float = 1.0) -> np.ndarray:
    """E σ in one dimension: Π c4(M_i), c4(M) = sqrt(2/(M-1)) Γ(M/2)/Γ((M-1)/2) (mle: times sqrt(1 - 1/M)), exact."""
    m = np.asarray(sizes, float)
    divisor = m if estimator == "mle" else m - 1
    log_c4 = 0.5 * np.log(2 / divisor) + gammaln(m / 2) - gammaln((m - 1) / 2)
    return np.exp(np.cumsum(log_c4) + 0.5 * np.arange(len(m)) * np.log(bias))


def w2_squared(sizes: np.ndarray, estimator: str = "unbiased") -> np.ndarray:
    """E W2²(fit, N(0, 1)) in one dimension, exact: S + 2 (1 - Π c4) unbiased, 2 (1 - E σ) for mle."""
    shrunk = 2 * (1 - mean_deviation(sizes, estimator))
    return shrunk if estimator == "mle" else total_inverse(sizes) + shrunk


def w2_first_order(sizes: np.ndarray) -> np.ndarray:
    """The paper's 1.5·S for E W2², unbiased, one dimension; only while S ≪ 1 (its next term is -S²/16 at equal large M)."""
    return 1.5 * total_inverse(sizes)


def deviation_bound(samples: int, fits: np.ndarray, threshold: float) -> np.ndarray:
    """Upper bound on P(σ > threshold), σ the standard deviation: exp(-k/(4M))/threshold (Suresh et al. 2412.17646)."""
    return np.minimum(1.0, np.exp(-np.asarray(fits, float) / (4 * samples)) / threshold)


def testable(inverse: np.ndarray, chains: int) -> np.ndarray:
    """Whether a mean over `chains` can be tested: 2 S <= ln(chains)/4.

    σ² is then about log-normal with log variance 2 S: beyond that its mean is carried by chains too rare to be sampled,
    and z-scores of means exceed 4 in most batches however right the simulation is. Test log σ² and medians there.
    """
    return 2 * np.asarray(inverse, float) <= np.log(chains) / 4
