"""Distances between generated and real samples of points: Wasserstein in one dimension and sliced, MMD, energy, KL by neighbours."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.neighbours import nearest_squares, radii
from collapse_jax.metrics.points import distances, energy_distance
from collapse_jax.metrics.registry import metric

Array = jax.Array
DIRECTIONS = 64  # of sliced distances
HIGHEST = jax.lax.Precision.HIGHEST


def w2_sq_1d(x: Array, y: Array, weight: Array | None = None) -> Array:
    """Squared 2-Wasserstein distance of samples x [n] (weights [n], 0: not there) and y [m]: ∫ (F⁻¹(u) - G⁻¹(u))² du, exact.

    Quantile functions are steps, so the integral is a sum over the n + m pieces between their jumps. >= 0, units of x². Biased
    upwards: of two samples of one law it is of order 1/n + 1/m. Without any weight: 0.
    """
    w = jnp.ones(len(x)) if weight is None else weight
    order = jnp.argsort(jnp.where(w > 0, x, jnp.inf))
    x, w = x[order], w[order]
    total = jnp.sum(w)
    below = jnp.cumsum(w) / jnp.where(total > 0, total, 1.0)
    y, m = jnp.sort(y), len(y)
    edges = jnp.sort(jnp.concatenate([below, jnp.arange(1, m + 1) / m]))
    lengths = jnp.diff(edges, prepend=0.0)
    middle = edges - lengths / 2
    last = jnp.maximum(jnp.sum(w > 0) - 1, 0)
    at_x = jnp.minimum(jnp.searchsorted(below, middle), last)
    at_y = jnp.clip(jnp.floor(middle * m).astype(jnp.int32), 0, m - 1)
    return jnp.where(total > 0, jnp.sum(lengths * (x[at_x] - y[at_y]) ** 2), 0.0)


@metric(
    "sliced_w2_sq",
    "points",
    formula="d times the mean over 64 random directions u of W2²(x·u, y·u)",
    unit="units of x²",
    span="≥ 0",
    direction="up",
    cost="64 (n + m) log(n + m)",
    source="Bonneel et al., J. Math. Imaging Vis. 51:22, 2015",
    least=64,
)
def sliced_w2_sq(x: Array, weight: Array, y: Array, key: Array) -> Array:
    """Sliced squared 2-Wasserstein distance of x [n, d] and y [m, d], times d, so that a shift by v gives ‖v‖² in mean."""
    d = x.shape[1]
    directions = jax.random.normal(key, (DIRECTIONS, d))
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    one = lambda u: w2_sq_1d(jnp.matmul(x, u, precision=HIGHEST), jnp.matmul(y, u, precision=HIGHEST), weight)
    return d * jnp.mean(jax.lax.map(one, directions))


@metric(
    "mmd_sq",
    "points",
    formula="E k(X,X') + E k(Y,Y') - 2 E k(X,Y), k(a,b) = exp(-‖a-b‖²/2h²), h the median distance within y; unbiased",
    unit="",
    span="about 0 … 2",
    direction="up",
    cost="n² + m² + n m",
    source="Gretton et al., JMLR 13:723, 2012, eq. 3",
    least=64,
)
def mmd_sq(x: Array, weight: Array, y: Array, key: Any = None) -> Array:
    """Maximum mean discrepancy of x [n, d] and y [m, d], squared and unbiased: 0 in mean where both are of one law.

    Weights count as repetition: pairs of one sample with itself are left out. One sample has no pairs: its own term is 1.
    """
    within = distances(y, y)
    pairs = within[jnp.triu_indices(len(y), 1)] if len(y) > 1 else jnp.ones(1)
    h = jnp.median(pairs)
    scale = 0.5 / jnp.where(h > 0, h, 1.0) ** 2
    kernel = lambda r: jnp.exp(-scale * r * r)
    w = weight / jnp.where(jnp.sum(weight) > 0, jnp.sum(weight), 1.0)
    outside = w[:, None] * w * (1 - jnp.eye(len(x)))
    own = jnp.sum(outside)
    xx = jnp.where(own > 0, jnp.sum(outside * kernel(distances(x, x))) / jnp.where(own > 0, own, 1.0), 1.0)
    m = len(y)
    yy = (jnp.sum(kernel(within)) - m) / (m * (m - 1)) if m > 1 else jnp.ones(())
    return xx + yy - 2 * jnp.sum(w[:, None] * kernel(distances(x, y))) / m


@metric(
    "knn_kl",
    "points",
    formula="KL(p_t ‖ p_0) ≈ d mean ln(ν(x)/ρ(x)) + ln(m/(n-1)), ρ and ν the distances to the 5th neighbour in x and in y",
    unit="nats",
    span="about 0 or above",
    direction="up",
    cost="n² + n m",
    source="Wang, Kulkarni & Verdú, IEEE Trans. Inf. Theory 55:2392, 2009, eq. 5",
    least=128,
)
def knn_kl(x: Array, weight: Array, y: Array, key: Any = None, k: int = 5) -> Array:
    """KL divergence of the law of x [n, d] from that of y [m, d], by k nearest neighbours; weights are 0 (not there) or more.

    Samples at one place are at distance 0; distances are held above 1e-6 of the median one, so that duplicates give a large
    finite number. With no more than k samples in x or y there is no estimate: 0.
    """
    there = weight > 0
    n, m, d = jnp.sum(there), len(y), x.shape[1]
    if min(len(x) - 1, m) < k:
        return jnp.zeros(())
    rho, nu = jnp.sqrt(jnp.maximum(radii(x, k, weight), 0.0)), jnp.sqrt(nearest_squares(y, x, k)[-1])
    floor = 1e-6 * jnp.median(nu) + 1e-30
    term = jnp.where(there, jnp.log(jnp.maximum(nu, floor)) - jnp.log(jnp.maximum(rho, floor)), 0.0)
    value = d * jnp.sum(jnp.where(jnp.isfinite(term), term, 0.0)) / jnp.maximum(n, 1) + jnp.log(m / jnp.maximum(n - 1, 1))
    return jnp.where(n > k, value, 0.0)


@metric(
    "energy_distance_all",
    "points",
    formula="2 E‖X-Y‖ - E‖X-X'‖ - E‖Y-Y'‖, all of x; unbiased",
    unit="units of x",
    span="about 0 or above",
    direction="up",
    cost="n² + m² + n m",
    source="Székely & Rizzo, J. Stat. Plan. Inference 143:1249, 2013",
    least=64,
)
def energy(x: Array, weight: Array, y: Array, key: Any = None) -> Array:
    """metrics.points.energy_distance; 0 without any weight."""
    total = jnp.sum(weight)
    return jnp.where(total > 0, energy_distance(x, y, jnp.where(total > 0, weight, 1.0)), 0.0)
