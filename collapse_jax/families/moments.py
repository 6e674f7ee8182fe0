"""Sufficient statistics of Gaussian samples: weight, mean and a factor of the scatter, in log scale column by column."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.data import Slots
from collapse_jax.struct import static, struct

Array = jax.Array
HIGHEST = jax.lax.Precision.HIGHEST


@struct
class Factor:
    """A matrix F [d, d] as unit columns times exp(log_scale [d]); a column that is zero has log_scale -inf.

    Products of many triangular factors lose scale at a rate of its own in every column, so each keeps its logarithm:
    ten thousand generations neither underflow nor round their determinant away.
    """

    unit: Array
    log_scale: Array

    @staticmethod
    def of(columns: Array, log_scale: Array | float = 0.0) -> "Factor":
        """The factor columns [d, d] * exp(log_scale [d] or a number)."""
        norm = jnp.sqrt(jnp.sum(columns**2, axis=0))
        alive = norm != 0  # NaN stays visible
        unit = jnp.where(alive, columns / jnp.where(alive, norm, 1.0), 0.0)
        return Factor(unit, jnp.where(alive, jnp.log(jnp.where(alive, norm, 1.0)) + log_scale, -jnp.inf))

    def times(self, lower: Array) -> "Factor":
        """F times a lower-triangular matrix [d, d]: column j gathers the columns k >= j, in units of the widest of them."""
        s = self.log_scale
        widest = jax.lax.cummax(s, reverse=True)
        unit = jnp.where(jnp.isfinite(widest), widest, 0.0)
        below = np.tril(np.ones(lower.shape, bool))
        columns = jnp.where(below, jnp.exp(jnp.where(below, s[:, None] - unit, 0.0)) * lower, 0.0)
        return Factor.of(jnp.matmul(self.unit, columns, precision=HIGHEST), unit)

    def scaled(self, log_factor: Array | float) -> "Factor":
        """exp(log_factor) F."""
        return Factor(self.unit, self.log_scale + log_factor)

    def apply(self, z: Array, log_unit: Array | float = 0.0) -> Array:
        """F z for z [..., d], divided by exp(log_unit)."""
        return jnp.matmul(z * jnp.exp(self.log_scale - log_unit), self.unit.T, precision=HIGHEST)

    @property
    def log_trace(self) -> Array:
        """log tr F Fᵀ."""
        return jax.scipy.special.logsumexp(2 * self.log_scale)

    @property
    def top(self) -> Array:
        """The largest log scale; 0 for a zero matrix."""
        top = jnp.max(self.log_scale)
        return jnp.where(jnp.isfinite(top), top, 0.0)


def triangle(rows: Array, rank: Array | int) -> Array:
    """Lower-triangular L [d, d] with L Lᵀ = rowsᵀ rows, rows [n, d], of at most this rank: its last columns are exactly zero."""
    n, d = rows.shape
    if d == 1:
        return jnp.where(rank > 0, jnp.sqrt(jnp.sum(rows**2)), 0.0).reshape(1, 1)
    upper = jnp.linalg.qr(rows, mode="r")
    upper = jnp.concatenate([upper, jnp.zeros((d - n, d), rows.dtype)]) if n < d else upper
    # A direction without spread leaves one small diagonal entry at least; but not pivoted, QR spreads its rounding over others.
    length = jnp.sqrt(jnp.sum(upper**2, axis=0))
    doubtful = (rank < d) | jnp.any(jnp.abs(jnp.diagonal(upper)) <= 1e-2 * length)
    return jax.lax.cond(doubtful, lambda: without_noise(upper, rank), lambda: upper).T


def without_noise(upper: Array, rank: Array | int) -> Array:
    """Upper-triangular R [d, d] with the same RᵀR, but for what is rounding noise or beyond the rank: those rows are zero.

    Gram–Schmidt, the longest column first (all arithmetic: pivoted QR exists on CPUs only), then QR in the old order.
    """
    d = upper.shape[0]
    # What rounding leaves of a direction without spread stays below 9 sqrt(d) steps of the longest (d <= 316, n <= 100,000).
    noise = 16 * np.sqrt(d) * jnp.finfo(upper.dtype).eps * jnp.sqrt(jnp.max(jnp.sum(upper**2, axis=0)))

    def take(i: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rest, kept, found = state
        length = jnp.sqrt(jnp.sum(rest**2, axis=0))
        j = jnp.argmax(length)
        alive = (i < rank) & ~(length[j] <= noise)
        unit = rest[:, j] / jnp.where(alive, length[j], 1.0)
        row = jnp.where(alive, jnp.matmul(unit, rest, precision=HIGHEST), 0.0)
        rest = (rest - jnp.outer(unit, row)).at[:, j].set(0.0)
        return rest, kept.at[i].set(row), found + alive

    _, kept, found = jax.lax.fori_loop(0, d, take, (upper, jnp.zeros_like(upper), jnp.int32(0)))
    return jnp.where(jnp.arange(d)[:, None] < found, jnp.linalg.qr(kept, mode="r"), 0.0)


@struct
class Moments:
    """Statistics of weighted samples in d dimensions: sum of weights, sum of their squares, mean [d], factor of the scatter."""

    weight: Array
    square: Array
    mean: Array
    factor: Factor

    @property
    def count(self) -> Array:
        return self.weight

    @staticmethod
    def of(train: Slots) -> "Moments":
        """The statistics of slots [n, d] with weights; of rank at most (filled slots - 1)."""
        w = train.weight
        total = jnp.sum(w)
        safe = jnp.where(total > 0, total, 1.0)
        pivot = train.samples[jnp.argmax(w > 0)]  # differences to it are exact for near data and 0 for constant data
        x = jnp.where(w[:, None] > 0, train.samples - pivot, 0.0)
        offset = jnp.sum(w[:, None] * x, axis=0) / safe
        rows = jnp.sqrt(w)[:, None] * (x - offset)
        log_scale = 0.0 if train.frame is None else train.frame.log_scale
        factor = Factor.of(triangle(rows, jnp.sum(w > 0) - 1), log_scale)
        mean = pivot + offset
        if train.frame is not None:
            mean = train.frame.shift + jnp.exp(train.frame.log_scale) * mean
        return Moments(total, jnp.sum(w * w), mean, factor)

    def moments(self) -> "Moments":
        return self

    @staticmethod
    def join(parts: Sequence[Any], weights: Sequence[Any]) -> "Moments":
        """The statistics of the union, every part's samples weighted anew; a part of weight 0 counts for nothing."""
        plain = [part.moments() for part in parts]
        if len(plain) == 1:
            (m,), (w,) = plain, weights
            return Moments(w * m.weight, w * w * m.square, m.mean, m.factor.scaled(0.5 * jnp.log(w)))
        share = jnp.stack([jnp.asarray(w * part.weight) for part, w in zip(plain, weights, strict=True)])
        square = jnp.stack([jnp.asarray(w * w * part.square) for part, w in zip(plain, weights, strict=True)])
        total, used = jnp.sum(share), share > 0
        means, scales, units = (
            jnp.stack(leaves)
            for leaves in zip(*[(part.mean, part.factor.log_scale, part.factor.unit) for part in plain], strict=True)
        )
        # From the heaviest part's mean on: where it is the only one, nothing is rounded, however narrow it is.
        pivot = means[jnp.argmax(share)]
        away = jnp.where(used[:, None], means - pivot, 0.0)
        offset = jnp.sum(share[:, None] * away, axis=0) / jnp.where(total > 0, total, 1.0)
        scales = scales + 0.5 * jnp.log(jnp.where(used, jnp.stack([jnp.asarray(w, float) for w in weights]), 0.0))[:, None]
        apart = jnp.where(used[:, None], away - offset, 0.0) * jnp.sqrt(share)[:, None]
        log_apart = jnp.log(jnp.abs(apart))
        top = jnp.maximum(jnp.max(scales), jnp.max(log_apart))
        top = jnp.where(jnp.isfinite(top), top, 0.0)
        between = jnp.sign(apart) * jnp.exp(log_apart - top)
        within = jnp.swapaxes(units * jnp.exp(scales - top)[:, None, :], 1, 2).reshape(-1, means.shape[1])
        lower = triangle(jnp.concatenate([within, between]), means.shape[1])
        return Moments(total, jnp.sum(square), pivot + offset, Factor.of(lower, top))

    def append(self, new: "Drawn | Moments") -> "Moments":
        """The union with `new`; where that is drawn from the model fitted on exactly these statistics, by one Cholesky.

        In that model's coordinates the old scatter is a multiple of the identity, so no factor is ever made from a
        covariance that could be singular.
        """
        if isinstance(new, Moments):
            return Moments.join([self, new], [1.0, 1.0])
        kappa = self.weight - self.square / self.weight if new.unbiased else self.weight
        total = self.weight + new.count
        v, d = new.offset, self.mean.shape[0]
        inner = kappa * jnp.eye(d) + jnp.matmul(new.inner, new.inner.T, precision=HIGHEST)
        inner += self.weight * new.count / total * jnp.outer(v, v)
        lower = jnp.sqrt(inner) if d == 1 else jax.lax.linalg.cholesky(inner, symmetrize_input=False)
        mean = self.mean + new.count / total * new.base.apply(v)
        return Moments(total, self.square + new.count, mean, new.base.times(lower))


@struct
class Drawn:
    """Statistics of `count` samples from N(mean, F Fᵀ), F = base: their mean is mean + F offset, their scatter F B Bᵀ Fᵀ."""

    count: Array
    mean: Array
    base: Factor
    inner: Array
    offset: Array
    unbiased: bool = static(default=True)

    def moments(self) -> Moments:
        """The same statistics in the source's coordinates."""
        return Moments(self.count, self.count, self.mean + self.base.apply(self.offset), self.base.times(self.inner))

    @staticmethod
    def join(parts: Sequence[Any], weights: Sequence[Any]) -> Moments:
        """See Moments.join."""
        return Moments.join(parts, weights)
