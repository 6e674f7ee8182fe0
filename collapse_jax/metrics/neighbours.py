"""Distances to the nearest points, exact and in blocks: what fidelity and memorisation are measured with."""

import math

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import some

Array = jax.Array
BLOCK = 64  # queries at a time: of 10,000 points a block's distances stay in a core's own memory
FEW = 8  # dimensions up to which differences are summed one by one
NOWHERE = 2**30


def squares(points: Array, queries: Array) -> Array:
    """Squared distances of points [n, dim] and queries [q, dim]: [n, q].

    Beyond 8 dimensions from a matrix product, whose rounding grows with the points' lengths: 1e-6 of their squares is taken off,
    so that equal points are at distance 0. `centred` data first.
    """
    if points.shape[1] <= FEW:
        return sum(((points[:, None, i] - queries[None, :, i]) ** 2 for i in range(points.shape[1])), jnp.zeros(()))
    cross = jnp.matmul(points, queries.T, precision=jax.lax.Precision.HIGHEST)
    shrunk = 1 - 8 * jnp.finfo(cross.dtype).eps
    lengths = shrunk * jnp.sum(points**2, axis=1)[:, None] + shrunk * jnp.sum(queries**2, axis=1)
    return jnp.maximum(lengths - 2 * cross, 0.0)


def centred(points: Array, queries: Array) -> tuple[Array, Array]:
    """Both less the mean of points [n, dim], where `squares` needs it."""
    if points.shape[1] <= FEW:
        return points, queries
    # Rounded, lest XLA divide by n inside of each subtraction, where it would round equal points apart.
    centre = jax.lax.reduce_precision(jnp.mean(points, axis=0), 8, 15)
    return points - centre, queries - centre


def present(x: Array, weight: Array) -> Array:
    """Which samples of x [n, dim] are there: weight [n] > 0, and every number finite: bool [n]."""
    return (weight > 0) & jnp.all(jnp.isfinite(x), axis=1)


def absent(weight: Array) -> Array:
    """0 where a sample is there (weight > 0), infinity where it is not: [n], to be added to its squared distances."""
    return jnp.where(weight > 0, 0.0, jnp.inf)


def blocks(x: Array, fill: float = 0.0) -> Array:
    """x [n, ...] as [blocks, BLOCK, ...], filled up with `fill`."""
    padded = jnp.pad(x, ((0, -len(x) % BLOCK),) + ((0, 0),) * (x.ndim - 1), constant_values=fill)
    return padded.reshape(-1, BLOCK, *x.shape[1:])


def nearest_squares(points: Array, queries: Array, k: int, weight: Array | None = None) -> Array:
    """Squared distances of every query [q, dim] to its k >= 1 nearest points [n, dim] with weight [n] > 0: [k, q], ascending.

    Infinite where there are fewer than k, or the query is not finite; points that are not finite are none. A query that is itself a
    point finds itself first, at distance 0. Holds n·64 distances at a time. Raises ValueError where there is no point or no query.
    """
    some(points=points, queries=queries)
    known = jnp.all(jnp.isfinite(queries), axis=1)
    if weight is not None:
        there = present(points, weight)
        points, away = jnp.where(there[:, None], points, 0.0), absent(there)
        away = away[:, None]
    else:
        away = jnp.zeros(())
    points, queries = centred(points, jnp.where(known[:, None], queries, 0.0))
    found = jax.lax.map(lambda block: smallest(squares(points, block) + away, k), blocks(queries))
    return jnp.where(known, jnp.moveaxis(found, 0, 1).reshape(k, -1)[:, : len(queries)], jnp.inf)


def smallest(values: Array, k: int) -> Array:
    """The k smallest of every column of values [n, q]: [k, q], ascending; infinite beyond n.

    They lie in the k of about √n groups of rows whose least values are least, so all but one pass look at those groups alone:
    a sort or `top_k` takes 20 times as long on CPUs.
    """
    n, q = values.shape
    size = math.isqrt(n)
    if k > 1 and n // size > 2 * k:
        grouped = jnp.pad(values, ((0, -n % size), (0, 0)), constant_values=jnp.inf).reshape(size, -1, q)
        groups = taken(jnp.min(grouped, axis=0), k)[1]
        values = jnp.take_along_axis(grouped, groups[None], axis=1).reshape(-1, q)
    return taken(values, k)[0]


def taken(values: Array, k: int) -> tuple[Array, Array]:
    """The k smallest of every column of values [n, q] and their rows, taken out one by one: each [k, q]; beyond n, inf.

    A loop, so that its values lie in memory: XLA would compute them anew for the minimum and for the search of its row, and
    round them differently.
    """
    if k == 1:
        return jnp.min(values, axis=0)[None], jnp.argmin(values, axis=0)[None]
    n, q = values.shape
    row = jnp.arange(n, dtype=jnp.int32)[:, None]

    def take(i: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        values, least, rows = state
        smallest = jnp.min(values, axis=0)
        found = jnp.min(jnp.where(values == smallest, row, NOWHERE), axis=0)
        return jnp.where(row == found, jnp.inf, values), least.at[i].set(smallest), rows.at[i].set(found)

    none = (values, jnp.zeros((k, q), values.dtype), jnp.zeros((k, q), jnp.int32))
    _, least, rows = jax.lax.fori_loop(0, k, take, none)
    return least, jnp.minimum(rows, n - 1)


def radii(x: Array, k: int, weight: Array | None = None) -> Array:
    """Squared distance of every sample of x [n, dim] to its k-th nearest other one with weight [n] > 0: [n].

    With fewer than k others, to the farthest of them; 0 where there is no other, -1 for a sample that is not there or not finite.
    """
    near = nearest_squares(x, x, k + 1, weight)
    radius = jnp.max(jnp.where(jnp.isfinite(near), near, 0.0), axis=0)
    return radius if weight is None else jnp.where(present(x, weight), radius, -1.0)
