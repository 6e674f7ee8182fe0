"""Closed forms for linear regression: E ‖ŵ_t - w‖² over chains, for inputs N(0, I) in d dimensions and linear labels.

Generation t counts t + 1 fits; `sizes` are the samples T_i of these fits, `noise` the standard deviation of the source's labels and
`passed` that of the labels models pass on. E of the excess risk is the same number. An average over T samples of d features has
a finite mean only for T > d + 1, and a finite variance only for T > d + 3.
"""

from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


def variances(sizes: Array, noise: float, passed: float) -> Array:
    """σ² of the new labels in every generation's training set: the source's, then those of models.

    Range: any noise >= 0. Source: a definition (Dohmatob et al. 2402.07712 have one σ for both).
    """
    return np.where(np.arange(len(sizes)) == 0, noise**2, passed**2)


def one_fit(samples: Array, dim: int) -> Array:
    """E tr (XᵀX)⁻¹ = d/(T-d-1), the excess of one least-squares fit in units of σ².

    Range: exact for T > d + 1, infinite else. Source: mean of an inverse Wishart matrix; checked in
    test_ridge_moments_are_those_of_drawn_matrices and test_mean_excess_is_what_theory_says.
    """
    free = np.asarray(samples, float) - dim - 1
    return np.where(free > 0, dim / np.where(free > 0, free, 1.0), np.inf)


def replace(sizes: Array, dim: int, noise: float, passed: float) -> Array:
    """Replace: Σ σ_i² d/(T_i-d-1), so n σ² d/(T-d-1) more than the clean fit's after n synthetic generations.

    ŵ_t = ŵ_(t-1) + (XᵀX)⁻¹Xᵀε, whether X is fresh or that of generation 0.
    Range: exact for T_i > d + 1 and no ridge. Source: Dohmatob et al. 2402.07712, the isotropic ridgeless case; checked in
    test_mean_excess_is_what_theory_says and test_published_numbers.
    """
    return np.cumsum(variances(sizes, noise, passed) * one_fit(sizes, dim))


def accumulate(sizes: Array, dim: int, noise: float, passed: float) -> Array:
    """Accumulate with fresh X: Σ σ_i² (T_i/N_i) d/(N_i-d-1), N_i samples in all after generation i.

    ŵ_t = ŵ_(t-1) + S⁻¹X_tᵀε with S the XᵀX of all N_t samples; as these are exchangeable, E tr S⁻¹ X_tᵀX_t S⁻¹ is the share
    T_t/N_t of E tr S⁻¹. Below the bound of `accumulate_reused` (Gerstgrasser et al. 2404.01413), less so the larger T.
    Range: exact for T_0 > d + 1 and no ridge. Source: derived here; checked in test_mean_excess_is_what_theory_says.
    """
    total = np.cumsum(np.asarray(sizes, float))
    return np.cumsum(variances(sizes, noise, passed) * np.asarray(sizes, float) / total * one_fit(total, dim))


def accumulate_reused(sizes: Array, dim: int, noise: float, passed: float) -> Array:
    """Accumulate where every generation has the X of generation 0: σ² d/(T-d-1) Σ 1/i² over the fits, below σ² d/(T-d-1) π²/6 for
    ever, as ŵ_t = ŵ_(t-1) + (XᵀX)⁻¹Xᵀε/(t+1).

    Range: exact for equal sizes T > d + 1 and no ridge. Source: Gerstgrasser et al. 2404.01413; checked in
    test_mean_excess_is_what_theory_says and test_published_numbers.
    """
    fits = np.arange(1, len(sizes) + 1)
    return np.cumsum(variances(sizes, noise, passed) * one_fit(sizes, dim) / fits**2)


def static_mix(share: float, shift: float) -> float:
    """Excess risk where a share p of the samples has labels of another rule w': p² c², c² = ‖w' - w‖².

    Range: the limit T → ∞, linear labels, inputs N(0, I), 0 <= p <= 1. Source: Strong Model Collapse, 2410.04840; checked in
    test_a_static_mix_never_recovers.
    """
    return share**2 * shift


def ridge_moments(samples: float, dim: int, ridge: float) -> tuple[float, float, float]:
    """(E tr R / d, E tr R² / d, E tr (S+λ)⁻²S / T) with S = XᵀX/T, R = (S+λ)⁻¹S, λ = ridge > 0.

    All follow from m(λ) = E tr (S+λ)⁻¹ / d. Integration by parts of the Gaussian entries of X gives, with γ = d/T,
    γλm² + (1-γ-1/T+λ)m - 1 - λm'/T = 0 but for the variance of the trace, which is of order 1/T²: Marchenko and Pastur's
    equation with its next order. Relative error of order 1/T²: below 0.1 % at T = 50, d = 10 and 0.3 % at T = 20, d = 10
    against 20,000 drawn matrices, exact as λ → 0 for T > d + 1; some per cent where T is near d, more with a small λ there.
    Range: asymptotic, λ > 0, T >= 2d. Source: derived here; checked in test_ridge_moments_are_those_of_drawn_matrices.
    """
    gamma = dim / samples

    def root(lam: complex) -> complex:
        b = 1 - gamma - 1 / samples + lam
        positive = lambda c: 2 * c / (b + np.sqrt(b * b + 4 * gamma * lam * c))
        m = positive(1.0)
        slope = -(gamma * m * m + m) / (2 * gamma * lam * m + b)
        return positive(1 + lam * slope / samples)

    m, step = root(ridge).real, 1e-20
    square = -root(ridge + 1j * step).imag / step  # E tr (S+λ)⁻² / d, by a complex step: no rounding
    return 1 - ridge * m, 1 - 2 * ridge * m + ridge**2 * square, gamma * (m - ridge * square)


def ridge(sizes: Array, dim: int, ridge: float, norm: float, noise: float, passed: float) -> Array:
    """Replace with a ridge λ > 0 and fresh X, for finite T; see `ridge_moments` for its error.

    ŵ_t = R ŵ_(t-1) + (S+λ)⁻¹Xᵀε/T and R is independent of ŵ_(t-1) and rotation invariant, so E ŵ_t = w Π E tr R/d and
    E‖ŵ_t‖² = E‖ŵ_(t-1)‖² E tr R²/d + σ² E tr (S+λ)⁻²S/T.
    Range: asymptotic, T_i >= 2d. Source: the isotropic case of Dohmatob et al. 2402.07712; for finite T derived here; checked in
    test_mean_excess_is_what_theory_says and test_ridge_goes_over_into_the_unpenalised_law.
    """
    kept, second, errors = 1.0, norm**2, []
    for samples, variance in zip(np.asarray(sizes, float), variances(sizes, noise, passed), strict=True):
        first, squared, spread = ridge_moments(samples, dim, ridge)
        kept, second = kept * first, second * squared + variance * spread
        errors.append(second + (1 - 2 * kept) * norm**2)
    return np.array(errors)
