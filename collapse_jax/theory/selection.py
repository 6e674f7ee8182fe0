"""Curated self-consumption: generations that keep the best of K samples by a reward, or those nearest to a silo's reference."""

import math
from typing import TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincinv, gammaln, ndtr, ndtri

Array: TypeAlias = np.ndarray
STEP = 0.05  # in ln u
SPREAD = 1000.0  # of rewards


def selected(p0: Array, reward: Array, k: float, generations: int) -> Array:
    """Probabilities of states after 0 … `generations` generations with infinitely many samples: [generations + 1, states].

    In every generation one of k samples is kept, state i with odds e^(reward_i) (Bradley–Terry, of k Plackett–Luce):
    p'_i = k p_i E[w_i / (w_i + w(X_2) + … + w(X_k))], w = e^reward; by 1/s = ∫ e^(-su) du that is
    k p_i w_i ∫ e^(-w_i u) φ(u)^(k-1) du with φ(u) = Σ_j p_j e^(-w_j u). k = inf: p' ∝ p w. p0 [states] sums to 1; reward [states]
    finite, at most SPREAD apart; k >= 1 (1: nothing is selected). Raises ValueError else.
    Range: exact for infinitely many samples. Source: Ferbach et al. 2407.09499; the integral is derived here; checked in
    test_selection.py::test_a_simulation_agrees and test_selection.py::test_three_generations_of_known_selections.
    """
    p, reward = np.asarray(p0, float), np.asarray(reward, float)
    known = p.shape == reward.shape and np.isfinite(reward).all() and np.ptp(reward) <= SPREAD
    if not (known and k >= 1 and (p >= 0).all() and np.isclose(p.sum(), 1)):
        raise ValueError(f"p0 and reward of one shape, p0 summing to 1, finite rewards up to {SPREAD:g} apart, k at least 1")
    weight = np.exp(reward - reward.max())
    rows = [p]
    for _ in range(generations):
        rows.append(tilted(rows[-1], weight) if np.isinf(k) else best_of(rows[-1], reward, k))
    return np.stack(rows)


def tilted(p: Array, weight: Array) -> Array:
    """p w / Σ p w.

    Range: any weights > 0. Source: Ferbach et al. 2407.09499, K → ∞; checked in test_selection.py::test_the_limits.
    """
    return p * weight / np.sum(p * weight)


def best_of(p: Array, reward: Array, k: float) -> Array:
    """The integral of `selected` over s = ln u, where each factor rises or falls once, within a few units, by the trapezoidal rule: [states].

    Range: finite k >= 1, rewards up to SPREAD apart; the sum of all is 1 to 12 digits. Source: derived here; checked in
    test_selection.py::test_a_simulation_agrees and test_selection.py::test_two_states_by_all_their_samples.
    """
    away = reward - reward.max()
    s = np.arange(-40 - math.log(k), 6 - away.min(), STEP)
    rate = s + away[:, None]  # ln(w_j u)
    inside = (p @ np.exp(-np.exp(rate))) ** (k - 1)
    found = k * p * (np.exp(rate - np.exp(rate)) @ inside) * STEP
    return found / found.sum()


def contraction(keep: float, dim: int = 1) -> float:
    """What keeping the share `keep` of samples nearest to their mean makes of the variance in each of d dimensions, in units of it.

    c = P(χ²_(d+2) <= q)/keep with P(χ²_d <= q) = keep; in one dimension 1 - 2 z φ(z)/keep.
    Range: exact for N(μ, σ²I) and infinitely many samples, 0 < keep <= 1. Source: derived here, the second moment of a normal in a
    ball; checked in test_theory_selection.py::test_what_is_left_of_the_variance.
    """
    return float(gammainc(dim / 2 + 1, gammaincinv(dim / 2, keep)) / keep)


def narrowed(keep: float, generations: int, accumulate: bool, dim: int = 1) -> Array:
    """Variance, in units of the source's, where every generation keeps the share nearest to the source's mean: [generations + 1].

    Replace: c^t with c of `contraction`; accumulate: Π_(k=2…t+1) (1 - (1-c)/k) = Γ(t+1+c)/(Γ(1+c) (t+1)!), so t^-(1-c)/Γ(1+c): the
    decay by a power of t that Qiao et al. prove, where without selection the variance stays 1 in both.
    Range: infinitely many samples, as many kept in every generation, Gaussian models. Source: Qiao et al. 2606.13732, whose theorem
    was out of reach: derived here from its setting, and checked by simulation in
    test_theory_selection.py::test_selection_by_the_mean_narrows_by_a_power.
    """
    t, c = np.arange(generations + 1), contraction(keep, dim)
    return np.exp(gammaln(t + 1 + c) - gammaln(1 + c) - gammaln(t + 2)) if accumulate else c**t


def siloed(keep: float, reference: float, generations: int, accumulate: bool) -> tuple[Array, Array]:
    """Mean and variance of Gaussian models in one dimension, source N(0, 1), where every generation keeps the share `keep` of the
    samples nearest to a silo's `reference`: two of [generations + 1]. Reference 0 is `narrowed`.

    A training set is the kept samples of N(μ, σ²), those in a window about the reference, or (accumulate) the pool of as many of
    every generation and of the source's; the next model has its mean and variance.
    Range: infinitely many samples (a finite number M is off by order 1/M), Gaussian models, 0 < keep <= 1. Source: setting of Qiao
    et al. 2606.13732, whose own numbers (a mixture, n = 300, t = 200) have no closed form; derived here from moments of a
    truncated normal, and checked by simulation in test_theory_selection.py::test_a_silo_draws_chains_to_its_reference.
    """
    mean, variance = [0.0], [1.0]
    for t in range(generations):
        m, v = window(mean[-1], math.sqrt(variance[-1]), keep, reference)
        new = 1 / (t + 2) if accumulate else 1.0  # share of the training set
        variance.append((1 - new) * variance[-1] + new * v + new * (1 - new) * (m - mean[-1]) ** 2)
        mean.append((1 - new) * mean[-1] + new * m)
    return np.array(mean), np.array(variance)


def window(mean: float, deviation: float, keep: float, reference: float) -> tuple[float, float]:
    """Mean and variance of the share `keep` of N(mean, deviation²) nearest to the reference.

    Range: exact, 0 < keep <= 1. Source: moments of a truncated normal; checked in
    test_theory_selection.py::test_a_silo_draws_chains_to_its_reference.
    """
    if keep == 1 or deviation == 0:
        return mean, deviation**2
    away = abs(reference - mean) / deviation  # the window, in the model's units, goes from low to 2 away - low
    low = brentq(lambda a: ndtr(2 * away - a) - ndtr(a) - keep, ndtri((1 - keep) / 2) - 1, ndtri(1 - keep) + 1)
    high = 2 * away - low
    density = lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    shift = (density(low) - density(high)) / keep
    square = 1 + (low * density(low) - high * density(high)) / keep
    return mean + math.copysign(deviation * shift, reference - mean), deviation**2 * (square - shift**2)
