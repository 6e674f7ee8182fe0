"""Sufficient statistics of Gaussian samples: weight, mean and a factor of the scatter, in log scale column by column."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

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
        alive = norm > 0
        unit = jnp.where(alive, columns / jnp.where(alive, norm, 1.0), 0.0)
        return Factor(unit, jnp.where(alive, jnp.log(jnp.where(alive, norm, 1.0)) + log_scale, -jnp.inf))

    def times(self, lower: Array) -> "Factor":
        """F times a lower-triangular matrix: column j gathers the columns k >= j, in units of column j's own scale."""
        d = lower.shape[0]
        s = self.log_scale
        alive = jnp.isfinite(s)[None, :] & (jnp.arange(d)[:, None] >= jnp.arange(d))
        ratio = jnp.where(alive, jnp.exp(jnp.minimum(s[:, None] - s[None, :], 60.0)), 0.0)
        columns = jnp.matmul(self.unit, ratio * lower, precision=HIGHEST)
        return Factor.of(columns, s)

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
    """Lower-triangular L [d, d] with L Lᵀ = rowsᵀ rows, rows [n, d]; columns from `rank` on, and rounding noise, are zero."""
    n, d = rows.shape
    if d == 1:
        return jnp.sqrt(jnp.sum(rows**2)).reshape(1, 1)
    upper = jnp.linalg.qr(rows, mode="r")
    upper = jnp.concatenate([upper, jnp.zeros((d - upper.shape[0], d), rows.dtype)]) if n < d else upper
    norm = jnp.sqrt(jnp.sum(upper**2, axis=1))
    noise = 8 * jnp.finfo(rows.dtype).eps * jnp.sqrt(jnp.float32(max(n, d))) * jnp.max(norm)
    return jnp.where((jnp.arange(d) < rank) & (norm > noise), upper.T, 0.0)


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
        w, x = train.weight, train.samples
        total = jnp.sum(w)
        mean = jnp.sum(w[:, None] * x, axis=0) / total
        rows = jnp.sqrt(w)[:, None] * (x - mean)
        log_scale = 0.0 if train.frame is None else train.frame.log_scale
        factor = Factor.of(triangle(rows, jnp.sum(w > 0) - 1), log_scale)
        if train.frame is not None:
            mean = train.frame.shift + jnp.exp(train.frame.log_scale) * mean
        return Moments(total, jnp.sum(w * w), mean, factor)

    def moments(self) -> "Moments":
        return self

    @staticmethod
    def join(parts: Sequence[Any], weights: Sequence[Any]) -> "Moments":
        """The statistics of the union, every part's samples weighted anew; a part of weight 0 counts for nothing."""
        plain = [part.moments() for part in parts]
        total = sum(w * part.weight for part, w in zip(plain, weights, strict=True))
        square = sum(w * w * part.square for part, w in zip(plain, weights, strict=True))
        mean = sum(w * part.weight * part.mean for part, w in zip(plain, weights, strict=True)) / total
        top = jnp.max(jnp.stack([part.factor.top for part in plain]))
        rows = []
        for part, w in zip(plain, weights, strict=True):
            used = part.weight * w > 0
            scaled = (part.factor.unit * jnp.exp(part.factor.log_scale - top)).T * jnp.sqrt(w)
            between = (part.mean - mean) * jnp.sqrt(part.weight * w) * jnp.exp(-top)
            rows += [jnp.where(used, scaled, 0.0), jnp.where(used, between, 0.0)[None]]
        stacked = jnp.concatenate(rows)
        return Moments(jnp.asarray(total), jnp.asarray(square), mean, Factor.of(triangle(stacked, mean.shape[0]), top))

    def append(self, new: "Drawn") -> "Moments":
        """The union with `new`, drawn from the model fitted on exactly these statistics: one well-conditioned Cholesky.

        In that model's coordinates the old scatter is a multiple of the identity, so no factor is ever made from a
        covariance that could be singular.
        """
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
    unbiased: bool = static(True)

    def moments(self) -> Moments:
        """The same statistics in the source's coordinates."""
        return Moments(self.count, self.count, self.mean + self.base.apply(self.offset), self.base.times(self.inner))

    @staticmethod
    def join(parts: Sequence[Any], weights: Sequence[Any]) -> Moments:
        """See Moments.join; one part alone needs no factorisation."""
        if len(parts) == 1:
            return parts[0].moments()
        return Moments.join(parts, weights)
