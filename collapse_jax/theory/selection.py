"""Curated self-consumption: generations that keep the best of K samples by a reward (Ferbach et al., arXiv 2407.09499)."""

from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
NODES = 400


def selected(p0: Array, reward: Array, k: float, generations: int) -> Array:
    """Probabilities of states after 0 … `generations` generations with infinitely many samples: [generations + 1, states].

    In every generation one of k samples is kept, state i with odds e^(reward_i) (Bradley–Terry, of k Plackett–Luce):
    p'_i = k p_i E[w_i / (w_i + w(X_2) + … + w(X_k))], w = e^reward; by 1/s = ∫ e^(-su) du that is
    k p_i w_i ∫ e^(-w_i u) φ(u)^(k-1) du with φ(u) = Σ_j p_j e^(-w_j u). k = inf: p' ∝ p w. p0 [states] sums to 1; reward [states]
    finite; k >= 1 (1: nothing is selected). Raises ValueError else. Checked by simulation (tests/test_selection.py).
    """
    p, reward = np.asarray(p0, float), np.asarray(reward, float)
    if not (p.shape == reward.shape and np.isfinite(reward).all() and k >= 1 and np.isclose(p.sum(), 1)):
        raise ValueError("p0 and reward of one shape, p0 summing to 1, finite rewards, k at least 1")
    weight = np.exp(reward - reward.max())
    rows = [p]
    for _ in range(generations):
        rows.append(tilted(rows[-1], weight) if np.isinf(k) else best_of(rows[-1], weight, k))
    return np.stack(rows)


def tilted(p: Array, weight: Array) -> Array:
    """p w / Σ p w."""
    return p * weight / np.sum(p * weight)


def best_of(p: Array, weight: Array, k: float) -> Array:
    """The integral, by Gauss–Legendre in x = e^(-cu) with c the least weight: [states]."""
    x, share = np.polynomial.legendre.leggauss(NODES)
    x, share = (x + 1) / 2, share / 2
    least = weight.min()
    powers = x[None] ** (weight[:, None] / least)  # e^(-w_j u)
    inside = (p @ powers) ** (k - 1)
    found = k * p * weight / least * ((powers / x * inside) @ share)
    return found / found.sum()
