"""Gaussian mixtures by expectation–maximisation on weighted samples: seeding by k-means, then EM to convergence.

Everything here takes data as x [d, n], samples along the contiguous axis, and components [K, ...] before it.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.decoding import inverse_cdf
from collapse_jax.families.algebra import repeat
from collapse_jax.struct import struct

Array = jax.Array
COVARIANCES = ("full", "diag", "spherical", "tied")
SEEDINGS = ("kmeans", "kmeans++")
FEW = 6  # dimensions up to which products of coordinates are summed as a list, without the half that repeats
LISTED = 12  # dimensions up to which substitution is written out
GONE = 1e-30  # weight below which a component is empty
LLOYD = 300  # iterations of k-means, at most
HIGHEST = jax.lax.Precision.HIGHEST


@struct
class Components:
    """Σ w_k N(m_k, L_k L_kᵀ): weights [K], means [K, d], factors L [K, d, d] lower-triangular, or [K, d] where diagonal."""

    weights: Array
    means: Array
    factors: Array

    def covariances(self) -> Array:
        """[K, d, d]."""
        if self.factors.ndim == 2:
            return self.factors[:, :, None] ** 2 * jnp.eye(self.factors.shape[1])
        return jnp.matmul(self.factors, jnp.swapaxes(self.factors, 1, 2), precision=HIGHEST)


def log_joint(x: Array, c: Components) -> Array:
    """log w_k N(x; m_k, L_k L_kᵀ) of x [d, n]: [K, n]; -inf for a component without weight."""
    d = x.shape[0]
    y, square = x - c.means[:, :, None], jnp.zeros(())
    if c.factors.ndim == 2:
        scale = c.factors
        square = jnp.sum((y / scale[:, :, None]) ** 2, axis=1)
    else:
        scale = jnp.diagonal(c.factors, axis1=1, axis2=2)
        square = squares(c.factors, y) if d > LISTED else sum((z * z for z in substituted(c.factors, y)), square)
    log_scale = jnp.log(c.weights) - jnp.sum(jnp.log(scale), axis=1) - 0.5 * d * math.log(2 * math.pi)
    return log_scale[:, None] - 0.5 * square


def substituted(lower: Array, y: Array) -> list[Array]:
    """The rows [K, n] of z with L z = y, for L [K, d, d] and y [K, d, n]."""
    rows: list[Array] = []
    for i in range(y.shape[1]):
        rest = y[:, i]
        for j, z in enumerate(rows):
            rest = rest - lower[:, i, j, None] * z
        rows.append(rest / lower[:, i, i, None])
    return rows


def squares(lower: Array, y: Array) -> Array:
    """‖L⁻¹ y‖² for L [K, d, d] and y [K, d, n], by the inverse and one product: [K, n]."""
    d = lower.shape[-1]

    def step(i: Any, inverse: Array) -> Array:
        row = jnp.arange(d) == i
        done = jnp.einsum("kj,kjc->kc", jnp.where(row, 0.0, lower[:, i]), inverse, precision=HIGHEST)
        return jnp.where(row[:, None], ((row - done) / lower[:, i, i, None])[:, None], inverse)

    inverse = repeat(d, step, jnp.zeros_like(lower))
    return jnp.sum(jnp.matmul(inverse, y, precision=HIGHEST) ** 2, axis=1)


def expected(x: Array, c: Components) -> tuple[Array, Array]:
    """Each component's share of every sample, [K, n], and the samples' log densities, [n]."""
    joint = log_joint(x, c)
    top = jnp.max(joint, axis=0)
    # Component by component: XLA splits a larger kernel over all threads, which other chains are busy on (4 times slower).
    share = jax.lax.map(lambda row: jnp.exp(row - top), joint)
    total = jnp.sum(share, axis=0)
    return share / total, top + jnp.log(total)


def maximised(x: Array, shares: Array, c: Components, kind: str, reg_covar: Any) -> Components:
    """Components fitted on shares [K, n] of the samples (times their weights); `kind`: full, diag, spherical or tied.

    Moments are taken about the means so far, which are near the new ones: components far narrower than their distance keep
    their variance. One that is left without weight keeps its mean and factor, has weight 0, and never comes back.
    """
    y = x - c.means[:, :, None]
    mass, offset, second = sums(y, shares, c.factors.ndim == 2)
    alive = mass > GONE
    safe = jnp.where(alive, mass, 1.0)
    offset = offset / safe[:, None]
    if c.factors.ndim == 2:
        variance = second / safe[:, None] - offset**2
        if kind == "spherical":
            variance = jnp.broadcast_to(jnp.mean(variance, axis=1, keepdims=True), variance.shape)
        factors = jnp.sqrt(jnp.maximum(variance, 0.0) + reg_covar)
    else:
        scatter = second - mass[:, None, None] * offset[:, :, None] * offset[:, None, :]
        if kind == "tied":
            covariance = jnp.broadcast_to(jnp.sum(scatter, axis=0) / jnp.sum(mass), scatter.shape)
        else:
            covariance = scatter / safe[:, None, None]
        factors = factored(covariance, reg_covar)
    if kind != "tied":
        factors = jnp.where(alive.reshape(-1, *[1] * (factors.ndim - 1)), factors, c.factors)
    means = jnp.where(alive[:, None], c.means + offset, c.means)
    return Components(jnp.where(alive, mass, 0.0) / jnp.sum(mass), means, factors)


def sums(y: Array, shares: Array, diagonal: bool) -> tuple[Array, Array, Array]:
    """Σ r, Σ r y and Σ r y yᵀ (diagonal: Σ r y²) of y [K, d, n] with shares r [K, n]: [K], [K, d], [K, d, d] or [K, d]."""
    d = y.shape[1]
    if not diagonal and d > FEW:
        one = jnp.concatenate([jnp.ones_like(y[:, :1]), y], axis=1)
        gram = jnp.matmul(one * shares[:, None], jnp.swapaxes(one, 1, 2), precision=HIGHEST)
        return gram[:, 0, 0], gram[:, 1:, 0], gram[:, 1:, 1:]
    pairs = [(i, i) for i in range(d)] if diagonal else [(i, j) for i in range(d) for j in range(i + 1)]
    rows = [jnp.ones_like(y[:, 0]), *[y[:, i] for i in range(d)], *[y[:, i] * y[:, j] for i, j in pairs]]
    moments = jnp.einsum("kfn,kn->kf", jnp.stack(rows, axis=1), shares, precision=HIGHEST)
    second = moments[:, 1 + d :]
    if not diagonal:
        place = np.zeros((d, d), int)
        for p, (i, j) in enumerate(pairs):
            place[i, j] = place[j, i] = p
        second = second[:, place]
    return moments[:, 0], moments[:, 1 : 1 + d], second


def factored(covariance: Array, reg_covar: Any) -> Array:
    """Lower-triangular L with L Lᵀ = S + reg_covar I, for S [K, d, d] without negative directions but for rounding.

    No pivot of such a matrix is below reg_covar; rounding may put one there (a component on a line), and it is put back.
    """
    d = covariance.shape[-1]
    row = jnp.arange(d)

    def column(k: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, lower = state
        pivot = jnp.maximum(rest[:, k, k], reg_covar)
        line = jnp.where(row > k, rest[:, :, k], jnp.where(row == k, pivot[:, None], 0.0)) / jnp.sqrt(pivot)[:, None]
        return rest - line[:, :, None] * line[:, None, :], lower + jnp.where(row == k, line[:, :, None], 0.0)

    return repeat(d, column, (covariance + reg_covar * jnp.eye(d), jnp.zeros_like(covariance)))[1]


def iterated(
    x: Array, weight: Array, start: Components, kind: str, reg_covar: Any, tol: Any, most: int
) -> tuple[Components, Array]:
    """EM from `start` until the mean log-likelihood changes by less than `tol`, `most` iterations at the most; and their number.

    As scikit-learn counts it: the change is between the likelihoods before two consecutive M-steps.
    """
    share = weight / jnp.sum(weight)

    def step(state: tuple[Array, Components, Array, Array]) -> tuple[Array, Components, Array, Array]:
        i, c, level, _ = state
        shares, log_density = expected(x, c)
        # Summed from the last mean on: small numbers, whose sum has its digits.
        change = jnp.dot(share, log_density - level, precision=HIGHEST)
        c = maximised(x, shares * weight, c, kind, reg_covar)
        return i + 1, c, level + change, jnp.where(i == 0, jnp.inf, jnp.abs(change))

    def going(state: tuple[Array, Components, Array, Array]) -> Array:
        return (state[0] < most) & (state[3] >= tol)

    first = (jnp.int32(0), start, jnp.zeros((), x.dtype), jnp.full((), jnp.inf, x.dtype))
    i, c, _, _ = jax.lax.while_loop(going, step, first)
    return c, i


def seeded(key: Array, x: Array, weight: Array, k: int, kind: str, reg_covar: Any, seeding: str) -> Components:
    """Components of the samples nearest to each of k centres: of k-means++, or of k-means started there."""
    centres = plus_plus(key, x, weight, k)
    if seeding == "kmeans":
        centres = lloyd(x, weight, centres)
    d = x.shape[0]
    factors = jnp.ones((k, d)) if kind in ("diag", "spherical") else jnp.broadcast_to(jnp.eye(d), (k, d, d))
    start = Components(jnp.full(k, 1 / k), centres, jnp.sqrt(reg_covar) * factors)
    return maximised(x, nearest(x, centres) * weight, start, kind, reg_covar)


def nearest(x: Array, centres: Array) -> Array:
    """1 where a centre is the nearest to a sample (the first of equals), else 0: [K, n]."""

    def closer(state: tuple[Array, Array], item: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (least, best), (k, centre) = state, item
        square = jnp.sum((x - centre[:, None]) ** 2, axis=0)
        return (jnp.minimum(square, least), jnp.where(square < least, k, best)), None

    n, numbers = x.shape[1], jnp.arange(len(centres))
    (_, best), _ = jax.lax.scan(closer, (jnp.full(n, jnp.inf, x.dtype), jnp.zeros(n, numbers.dtype)), (numbers, centres))
    return (best == numbers[:, None]).astype(x.dtype)


def distances_sq(x: Array, centres: Array) -> Array:
    """Squared distances of x [d, n] to centres [K, d]: [K, n]."""
    return jnp.sum((x - centres[:, :, None]) ** 2, axis=1)


def plus_plus(key: Array, x: Array, weight: Array, k: int) -> Array:
    """k samples as centres [K, d], each drawn by weight times squared distance to those before (Arthur & Vassilvitskii 2007).

    The best of 2 + ⌊ln k⌋ draws each time, as scikit-learn has it. Where all samples are at a centre, it is repeated.
    """
    trials = 2 + int(math.log(k))
    uniform = jax.random.uniform(key, (k, trials))

    def drawn(mass: Array, u: Array) -> Array:
        return x[:, inverse_cdf(jnp.broadcast_to(jnp.log(mass)[:, None], (len(mass), len(u))), u)].T

    def add(i: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        centres, least = state
        candidates = drawn(weight * least, uniform[i])
        after = jnp.minimum(least, distances_sq(x, candidates))
        best = jnp.argmin(jnp.matmul(after, weight, precision=HIGHEST))
        return centres.at[i].set(candidates[best]), after[best]

    first = drawn(weight, uniform[0, :1])
    centres = jnp.zeros((k, x.shape[0]), x.dtype).at[0].set(first[0])
    return jax.lax.fori_loop(1, k, add, (centres, distances_sq(x, first)[0]))[0]


def lloyd(x: Array, weight: Array, centres: Array) -> Array:
    """Centres [K, d] of k-means: until they move by a 10,000th of the mean variance in all (squared), as scikit-learn has it.

    A centre that no sample is nearest to stays where it is.
    """
    share = weight / jnp.sum(weight)
    mean = jnp.matmul(x, share, precision=HIGHEST)
    tol = 1e-4 * jnp.mean(jnp.matmul((x - mean[:, None]) ** 2, share, precision=HIGHEST))
    one = jnp.concatenate([jnp.ones_like(x[:1]), x])

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, centres, _ = state
        total = jnp.matmul(nearest(x, centres) * weight, one.T, precision=HIGHEST)
        mass = total[:, :1]
        new = jnp.where(mass > 0, total[:, 1:] / jnp.where(mass > 0, mass, 1.0), centres)
        return i + 1, new, jnp.sum((new - centres) ** 2)

    going = lambda state: (state[0] < LLOYD) & (state[2] > tol)
    return jax.lax.while_loop(going, step, (jnp.int32(0), centres, jnp.full((), jnp.inf, x.dtype)))[1]
