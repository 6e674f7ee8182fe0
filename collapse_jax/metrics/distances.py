"""Distances of generated samples to real ones: Wasserstein (sorted, sliced), MMD, energy and nearest-neighbour KL.

Those of samples take x [n, d], weights of them [n] (any scale; 0: not there) and equally weighted real samples y [m, d], float32.
They are never NaN: without a sample of x, or where one that counts (or one of y) is not finite, the distance is infinite.
Bias and standard deviation in their docstrings: 400 pairs of n = m = 512 samples of one 2-D standard normal
(tests/test_distances.py). The registered `least` is the power of two n = m from which a normal of half that variance moves the
metric by at least 3 standard deviations that it has at that size: its noise is a tenth of what it shows, in squares.
"""

import jax
import jax.numpy as jnp

from collapse_jax.metrics.neighbours import nearest_squares, radii
from collapse_jax.metrics.points import distances, energy_distance
from collapse_jax.metrics.registry import metric, some

Array = jax.Array
DIRECTIONS = 64  # of the sliced distance
NEIGHBOURS = 5  # of the divergence: at the null its standard deviation is 2.6 times as large with 1
HIGHEST = jax.lax.Precision.HIGHEST
TINY = 1e-30


def compared(x: Array, weight: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """x [n, d] and y [m, d] about the mean of y, the weights, and whether they can be compared; what is not there lies at 0."""
    some(x=x, y=y)
    there = weight > 0
    weight = jnp.where(there, weight, 0.0)
    x = jnp.where(there[:, None], x, 0.0)
    fine = jnp.any(there) & jnp.isfinite(jnp.sum(weight)) & jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(y))
    centre = jnp.mean(y, axis=0)
    x = jnp.where(there[:, None] & fine, x - centre, 0.0)
    return x, jnp.where(fine, weight, 1.0), jnp.where(fine, y - centre, 0.0), fine


def settled(value: Array, fine: Array) -> Array:
    """The value, but infinite where samples cannot be compared or lie so far apart that their squares overflow."""
    return jnp.where(fine & ~jnp.isnan(value), value, jnp.inf)


def w2_sq_sorted(x: Array, weight: Array, y: Array) -> Array:
    """W2² of samples x [n] with weights [n] and y [m] in one dimension, exact: ∫ (F⁻¹(u) - G⁻¹(u))² du over (0, 1), in length².

    Both quantile functions are steps; they are merged, so n and m may differ and weights may be any. Finite arguments of
    positive total weight are the caller's concern. Source: Peyré & Cuturi, Computational
    Optimal Transport, 2019, remark 2.30.
    """
    n, m = len(x), len(y)
    x, weight = jax.lax.sort((x, weight), num_keys=1)
    y = jnp.sort(y)
    reached = jnp.cumsum(weight)
    reached = jnp.minimum(reached * (m / reached[-1]), m).at[-1].set(m)  # the end of each sample's step, in steps of y
    before = jnp.clip(jnp.ceil(reached).astype(jnp.int32) - 1, 0, m - 1)  # steps of y that end sooner
    of_x = jnp.zeros(n + m, jnp.int32).at[jnp.arange(n) + before].set(1)
    i = jnp.cumsum(of_x) - of_x
    j = jnp.arange(n + m) - i
    i, j = jnp.minimum(i, n - 1), jnp.minimum(j, m - 1)
    ends = jnp.where(of_x == 1, reached[i], j + 1.0)
    lengths = jnp.maximum(jnp.diff(ends, prepend=0.0), 0.0)
    return jnp.sum(lengths * (x[i] - y[j]) ** 2) / m


@metric(
    "sliced_w2_sq",
    "points",
    formula="mean over directions θ of W2²(θ·x, θ·y)",
    unit="length²",
    span="[0, ∞)",
    direction="up",
    cost=f"{DIRECTIONS} sorts of n and of m",
    source="Bonneel, Rabin, Peyré & Pfister 2015",
    least=128,
)
def sliced_w2_sq(x: Array, weight: Array, y: Array, key: Array, directions: int = DIRECTIONS) -> Array:
    """Mean W2² of x [n, d] (weights [n]) and y [m, d] projected on random directions, in length², 0 or above.

    directions: how many, at least 1, drawn with `key`; d = 1 has only one, so there it is W2² itself and the key goes unused.
    Biased: at the null .0122 ± .0046 (mean and standard deviation), while half the variance gives .094 of which .086 is true.
    """
    x, weight, y, fine = compared(x, weight, y)
    d = x.shape[1]
    if d == 1:
        return settled(w2_sq_sorted(x[:, 0], weight, y[:, 0]), fine)
    towards = jax.random.normal(key, (directions, d))
    towards = towards / jnp.linalg.norm(towards, axis=1, keepdims=True)
    on_x, on_y = (jnp.matmul(towards, z.T, precision=HIGHEST) for z in (x, y))
    return settled(jnp.mean(jax.vmap(w2_sq_sorted, (0, None, 0))(on_x, weight, on_y)), fine)


def middle(distance: Array) -> Array:
    """The lower median of the distances of different samples, from their symmetric matrix [m, m]; 0 for a single sample.

    Found by bisection on the bits of floats, which order as integers do: sixteen times as fast as sorting them on a CPU.
    """
    m = len(distance)
    if m < 2:
        return jnp.zeros(())
    bits = jax.lax.bitcast_convert_type(jnp.where(jnp.eye(m, dtype=bool), 0.0, distance).astype(jnp.float32), jnp.int32)
    rank = m + 2 * ((m * (m - 1) // 2 + 1) // 2)

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        half = low + (high - low) // 2
        enough = jnp.sum(bits <= half) >= rank
        return jnp.where(enough, low, half + 1), jnp.where(enough, half, high)

    low, _ = jax.lax.fori_loop(0, 32, halve, (jnp.int32(0), jnp.int32(0x7F800000)))
    return jax.lax.bitcast_convert_type(low, jnp.float32)


@metric(
    "mmd_sq",
    "points",
    formula="E k(X, X') + E k(Y, Y') - 2 E k(X, Y), k = exp(-‖·‖² / 2h²), h: median distance of real samples",
    unit="1",
    span="about [0, 2]",
    direction="up",
    cost="n² + m² + n m",
    source="Gretton et al., JMLR 13:723, 2012, eq. 3",
    least=128,
)
def mmd_sq(x: Array, weight: Array, y: Array, key: Array | None = None) -> Array:
    """Squared maximum mean discrepancy of x [n, d] (weights [n]) and y [m, d], unbiased: 0 in mean within one law, often below.

    Gaussian kernel of width h, the median distance between samples of y. A weight is how much of the law a sample stands for, of
    any scale: E k(X, Y) is that of repeated samples, but E k(X, X') is Σ w w' k / Σ w w' over pairs of different samples, without
    the pairs that a sample would make with its own repetition: a weight of 0 is deletion, one of 2 no second draw. A lone
    sample is like itself (E k = 1); where all of y are equal, h → 0: only equal samples are alike. At the null .0001 ± .0011, at
    half the variance .018.
    """
    x, weight, y, fine = compared(x, weight, y)
    among_y = distances(y, y)
    scale = jnp.maximum(2 * middle(among_y) ** 2, TINY)
    alike = lambda distance: jnp.exp(-(distance**2) / scale)
    n, m = len(x), len(y)
    share, even = weight / jnp.sum(weight), jnp.ones(m) / m
    total, even_total = 1 - jnp.sum(share**2), 1 - 1 / m
    among_x = form(share, alike(distances(x, x)) * (1 - jnp.eye(n)), share) / jnp.where(total > 0, total, 1.0)
    among_x = jnp.where(jnp.sum(share > 0) > 1, among_x, 1.0)
    own = form(even, alike(among_y) * (1 - jnp.eye(m)), even) / even_total if m > 1 else 1.0
    return settled(among_x + own - 2 * form(share, alike(distances(x, y)), even), fine)


def form(left: Array, matrix: Array, right: Array) -> Array:
    """leftᵀ matrix right: as products, for a plain float32 sum of n² terms rounds by 1e-5 of itself."""
    return jnp.dot(left, jnp.dot(matrix, right, precision=HIGHEST), precision=HIGHEST)


@metric(
    "energy_distance_all",
    "points",
    formula="2 E‖X - Y‖ - E‖X - X'‖ - E‖Y - Y'‖",
    unit="length",
    span="about [0, ∞)",
    direction="up",
    cost="n² + m² + n m",
    source="Székely & Rizzo, J. Stat. Planning and Inference 143:1249, 2013",
    least=256,
)
def energy(x: Array, weight: Array, y: Array, key: Array | None = None) -> Array:
    """`points.energy_distance` of x [n, d] (weights [n]) and y [m, d], in length, unbiased: mean 0 within one law, often below.

    Of all samples, where the families' own column `energy_distance` looks at some. Weights as for `mmd_sq`:
    E‖X - Y‖ is that of repeated samples, E‖X - X'‖ is over pairs of different samples, so that a weight of 0 is deletion and one of
    2 no second draw. At the null .0002 ± .0038, at half the variance .044.
    """
    x, weight, y, fine = compared(x, weight, y)
    return settled(energy_distance(x, y, weight), fine)


@metric(
    "knn_kl",
    "points",
    formula=f"d/n Σ ln(ν(x) / ρ(x)) + ln(m / (n - 1)), distances to the {NEIGHBOURS}th nearest of y and of the other x",
    unit="nats",
    span="about [0, ∞)",
    direction="up",
    cost="n² + n m",
    source="Wang, Kulkarni & Verdú, IEEE Trans. Inf. Theory 55:2392, 2009; Pérez-Cruz, ISIT 2008",
    least=128,
)
def knn_kl(x: Array, weight: Array, y: Array, key: Array | None = None, k: int = NEIGHBOURS) -> Array:
    """KL(law of x ‖ law of y) in nats from samples x [n, d] and y [m, d], by distances to k-th nearest neighbours, k at least 1.

    Weights [n] are a mask: 0 not there, else there, however large, for a sample repeated would be its own nearest neighbour, at no
    distance. Infinite with at most k samples of x or fewer than k of y:
    it cannot be told. Distances below 1e-6 of y's root total variance (1e-3 for d > 8, where they are rounded so) count as
    that, so that duplicates, which have no density, give a large and finite divergence. At the null .000 ± .033; at half the
    variance .226 where .193 is true.
    """
    x, weight, y, fine = compared(x, weight, y)
    there = weight > 0
    n, m, d = jnp.sum(there), len(y), x.shape[1]
    to_x, to_y = (jnp.sqrt(jnp.maximum(far, 0.0)) for far in (radii(x, k, weight), nearest_squares(y, x, k)[-1]))
    floor = jnp.maximum(jnp.sqrt(jnp.sum(jnp.var(y, axis=0))) * (1e-6 if d <= 8 else 1e-3), TINY)
    ratio = jnp.log(jnp.maximum(to_y, floor)) - jnp.log(jnp.maximum(to_x, floor))
    mean = jnp.sum(jnp.where(there, ratio, 0.0)) / jnp.maximum(n, 1)
    return settled(d * mean + jnp.log(m / jnp.maximum(n - 1, 1)), fine & (n > k) & (m >= k))
