"""Sufficient statistics of discrete samples: how often each state occurred, and their draw in exact law."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.struct import struct

Array = jax.Array
FEW = 10.0  # expected successes below which a binomial is drawn by inversion (the rejection needs more)


@struct
class Counts:
    """Weighted counts of every state: [states]."""

    counts: Array

    @property
    def count(self) -> Array:
        return jnp.sum(self.counts)

    @staticmethod
    def join(parts: Sequence[Any], weights: Sequence[Any]) -> "Counts":
        """The counts of the union, every part's samples weighted anew."""
        return Counts(sum(w * part.counts for part, w in zip(parts, weights, strict=True)))

    def append(self, new: "Counts") -> "Counts":
        """The counts of the union with `new`."""
        return Counts(self.counts + new.counts)


def multinomial(key: Array, count: Array, p: Array) -> Array:
    """How `count` (< 2^24) samples fall on states with probabilities p [K] (sum to 1): float32 [K], exact in law.

    The states stand in √K rows; the samples are dealt to the rows, then in all rows at once to the columns, one binomial
    after the other: the cost does not depend on `count`. A state of probability 0 gets none.
    """
    states = p.shape[0]
    columns = math.isqrt(states - 1) + 1
    rows = -(-states // columns)
    table = jnp.pad(p, (0, rows * columns - states)).reshape(rows, columns)
    totals = deal(jax.random.fold_in(key, 0), jnp.asarray(count, jnp.float32).reshape(1), jnp.sum(table, axis=1)[None])
    return deal(jax.random.fold_in(key, 1), totals[0], table).reshape(-1)[:states]


def deal(key: Array, held: Array, mass: Array) -> Array:
    """Each row's `held` [rows] samples dealt to its columns in proportion to mass [rows, columns]."""
    rest = jnp.flip(jnp.cumsum(jnp.flip(mass, axis=1), axis=1), axis=1)
    rest = jnp.concatenate([rest[:, 1:], jnp.zeros((mass.shape[0], 1))], axis=1)

    def column(held: Array, now: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        i, here, later = now
        taken = split(jax.random.fold_in(key, i), held, here, later)
        return held - taken, taken

    index = jnp.arange(mass.shape[1], dtype=jnp.uint32)
    return jax.lax.scan(column, held, (index, mass.T, rest.T))[1].T


def split(key: Array, n: Array, left: Array, right: Array) -> Array:
    """Binomial: how many of n samples fall left when left and right have these masses; whole float32, all of one shape.

    Both masses are asked for, so that neither probability is rounded away. Inversion for few expected successes, else
    Hörmann's transformed rejection (BTRS, J. Stat. Comput. Simul. 46:101, 1993), its logarithms taken as differences from
    the mode, where float32 is enough up to n = 2^24.
    """
    both = left + right
    p = jnp.where(both > 0, jnp.minimum(left, right) / jnp.where(both > 0, both, 1.0), 0.0)
    few = n * p < FEW
    rare = inverted(jax.random.fold_in(key, 0), jnp.where(few, n, 0.0), p)
    many = rejected(jax.random.fold_in(key, 1), jnp.where(few, 4 * FEW, n), jnp.where(few, 0.5, p), few)
    successes = jnp.where(few, rare, many)
    return jnp.where(left <= right, successes, n - successes)


def inverted(key: Array, n: Array, p: Array) -> Array:
    """Binomial(n, p), p <= 1/2 and n p < FEW, by adding up its probabilities until one uniform is reached."""
    odds = p / (1 - p)
    most = jnp.minimum(n, 8 * FEW)  # beyond: probability below 1e-40, and rounding must not leave a uniform unreached

    def go(state: tuple[Array, Array, Array]) -> Array:
        k, left, chance = state
        return jnp.any((left >= chance) & (k < most))

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        k, left, chance = state
        on = (left >= chance) & (k < most)
        following = chance * odds * (n - k) / (k + 1)
        return jnp.where(on, k + 1, k), jnp.where(on, left - chance, left), jnp.where(on, following, chance)

    start = (jnp.zeros_like(p), jax.random.uniform(key, p.shape), jnp.exp(n * jnp.log1p(-p)))
    k = jax.lax.while_loop(go, step, start)[0]
    return jnp.where(p > 0, k, 0.0)


def rejected(key: Array, n: Array, p: Array, done: Array) -> Array:
    """Binomial(n, p), p <= 1/2 and n p >= FEW, by BTRS; entries that are `done` are not waited for."""
    sd = jnp.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * sd
    a = -0.0873 + 0.0248 * b + 0.01 * p
    alpha = (2.83 + 5.1 / b) * sd
    squeeze = 0.92 - 4.2 / b
    mode = jnp.floor((n + 1) * p)
    tilt = jnp.log(p / (1 - p) * (n - mode + 1) / (mode + 1))
    at_mode = stirling(mode) + stirling(n - mode)

    def attempt(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, value, open_ = state
        u, v = jax.random.uniform(jax.random.fold_in(key, i), (2, *n.shape), minval=jnp.finfo(jnp.float32).tiny)
        u = u - 0.5
        edge = 0.5 - jnp.abs(u)
        k = jnp.floor((2 * a / edge + b) * u + n * p + 0.5)
        inside = (k >= 0) & (k <= n)
        k = jnp.clip(k, 0, n)
        delta = k - mode
        ratio = at_mode - stirling(k) - stirling(n - k) + delta * tilt
        ratio -= (n - k + 0.5) * jnp.log1p(-delta / (n - mode + 1)) + (k + 0.5) * jnp.log1p(delta / (mode + 1))
        good = ((edge >= 0.07) & (v <= squeeze)) | (jnp.log(v * alpha / (a / edge**2 + b)) <= ratio)
        good &= inside & open_
        return i + 1, jnp.where(good, k, value), open_ & ~good

    return jax.lax.while_loop(lambda state: jnp.any(state[2]), attempt, (jnp.uint32(0), jnp.zeros_like(n), ~done))[1]


def stirling(k: Array) -> Array:
    """What Stirling's formula leaves of log k!, to 3e-4 at 0, 3e-6 at 1 and float32 beyond 2."""
    x = 1 / (k + 1)
    return x * (1 / 12 - x * x * (1 / 360 - x * x / 1260))
