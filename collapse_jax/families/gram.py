"""Sufficient statistics of linear regression: inner products of inputs and residuals, or the least-squares fit alone."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax import draws
from collapse_jax.data import Slots
from collapse_jax.families.algebra import eliminate, solve
from collapse_jax.struct import static, struct

Array = jax.Array
HIGHEST = jax.lax.Precision.HIGHEST


@struct
class Gram:
    """Sum of weights, XᵀX [d, d], Xᵀr [d] and rᵀr of weighted samples, with the residuals r = y - X base.

    base [d] is any vector near the fit: against zero, residuals far smaller than the labels would cancel in float32.
    """

    weight: Array
    inputs: Array
    product: Array
    square: Array
    base: Array

    @property
    def count(self) -> Array:
        return self.weight

    @staticmethod
    def of(train: Slots) -> "Gram":
        """The statistics of slots [n, d + 1] with weights, the label in the last column."""
        x, y = train.samples[:, :-1], train.samples[:, -1]
        weighted = train.weight[:, None] * x
        inputs = jnp.matmul(weighted.T, x, precision=HIGHEST)
        # Fewer samples than dimensions have no single fit, but then too some vector near one of them.
        floor = 1e-6 * jnp.trace(inputs) / x.shape[1] * jnp.eye(x.shape[1])
        base = solve(inputs + floor, jnp.matmul(y, weighted, precision=HIGHEST))
        r = y - jnp.matmul(x, base, precision=HIGHEST)
        product = jnp.matmul(r, weighted, precision=HIGHEST)
        return Gram(jnp.sum(train.weight), inputs, product, jnp.sum(train.weight * r * r), base)

    def around(self, base: Array) -> "Gram":
        """The same statistics with residuals from another base."""
        away = self.base - base
        moved = jnp.matmul(self.inputs, away, precision=HIGHEST)
        square = self.square + jnp.dot(away, 2 * self.product + moved, precision=HIGHEST)
        return Gram(self.weight, self.inputs, self.product + moved, square, base)

    @staticmethod
    def join(parts: Sequence[Any], weights: Sequence[Any]) -> "Gram":
        """The statistics of the union, every part's samples weighted anew."""
        base = parts[-1].base
        moved = [*[part.around(base) for part in parts[:-1]], parts[-1]]
        weight, inputs, product, square = (
            sum(w * getattr(part, name) for part, w in zip(moved, weights, strict=True))
            for name in ("weight", "inputs", "product", "square")
        )
        return Gram(weight, inputs, product, square, base)

    def append(self, new: "Gram") -> "Gram":
        """The statistics of the union with `new`."""
        return Gram.join([self, new], [1.0, 1.0])

    def fitted(self, ridge: Array | float) -> Array:
        """(XᵀX/T + ridge I)⁻¹ Xᵀy/T, T the sum of weights: [d]; NaN where that matrix is singular."""
        a = self.inputs / self.weight + ridge * jnp.eye(self.base.shape[0])
        return self.base + solve(a, self.product / self.weight - ridge * self.base)

    def validated(self, ridges: Array) -> tuple[Array, Array]:
        """The fit [d] of least generalised cross-validation among `ridges` [k] > 0, and its ridge.

        GCV = mean squared residual / (1 - tr H / T)², H the matrix that takes labels to fitted values (Golub, Heath and
        Wahba, Technometrics 21:215, 1979).
        """
        d, t = self.base.shape[0], self.weight
        gram, product = self.inputs / t, self.product / t
        penalised = gram + ridges[:, None, None] * jnp.eye(d)
        right = product - ridges[:, None] * self.base
        known = jnp.concatenate([right[:, :, None], jnp.broadcast_to(jnp.eye(d), penalised.shape)], axis=2)
        solved = eliminate(penalised, known)
        change, trace = solved[:, :, 0], d - ridges * jnp.trace(solved[:, :, 1:], axis1=1, axis2=2)
        moved = jnp.matmul(change, gram, precision=HIGHEST)
        error = self.square / t + jnp.sum(change * (moved - 2 * product), axis=1)
        best = jnp.argmin(error / (1 - trace / t) ** 2)
        return self.base + change[best], ridges[best]


def drawn(key: Array, weights: Array, noise: Array | float, count: Array, factor: Array | None = None) -> Gram:
    """The statistics of `count` samples of y = x·weights + noise ε in exact law.

    Inputs are N(0, I), so XᵀX is Wishart; or fixed, with XᵀX = count · factor factorᵀ. Given X = Q Lᵀ, Xᵀε = L z with
    z = Qᵀε standard normal, and what ε has outside the columns of X is chi-square.
    """
    d, key, other = weights.shape[0], jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    if factor is None:
        # The mean that comes with the scatter of count + 1 normals is independent of it: their d normals are at hand.
        offset, lower = draws.standard_moments(key, d, count + 1.0)
        z = offset * jnp.sqrt(count + 1.0)
    else:
        lower, z = jnp.sqrt(count) * factor, jax.random.normal(key, (d,))
    z = jnp.where(jnp.arange(d) < count, z, 0.0)
    outside = draws.chi_square(other, jnp.maximum(count - d, 0.0))
    inputs = jnp.matmul(lower, lower.T, precision=HIGHEST)
    product = noise * jnp.matmul(lower, z, precision=HIGHEST)
    return Gram(count, inputs, product, noise**2 * (jnp.sum(z * z) + outside), weights)


LANES = 8  # XLA on CPUs makes normals five times as fast where their number, or that of a vmapped row of them, is a multiple


@struct
class LeastSquares:
    """The unpenalised fit of `count` samples, all that replace hands on: the last `dim` of `padded` [a multiple of LANES]."""

    count: Array
    padded: Array
    dim: int = static()

    @staticmethod
    def of(gram: Gram) -> "LeastSquares":
        """The fit of these statistics; NaN where they have none."""
        return LeastSquares(gram.weight, padding(gram.fitted(0.0)), gram.base.shape[0])

    @property
    def weights(self) -> Array:
        """[dim]."""
        return self.padded[-self.dim :]

    @staticmethod
    def join(parts: Sequence[Any], weights: Sequence[Any]) -> "LeastSquares":
        """Replace joins one part, whose weight changes nothing."""
        (part,) = parts
        return part


def refitted(key: Array, weights: Array, noise: Array | float, count: Array) -> LeastSquares:
    """The fit of `count` > d samples of y = x·weights + noise ε with fresh x ~ N(0, I), in exact law.

    (XᵀX)⁻¹Xᵀε is a normal of covariance (XᵀX)⁻¹, inverse-Wishart: a multivariate t, z / √χ² with count - d + 1 degrees of
    freedom (Anderson, Introduction to Multivariate Statistical Analysis, 3rd ed., section 5.2). d + 1 draws, not d (d + 5) / 2.
    """
    d, wide = weights.shape[0], padding(weights)
    u = draws.symmetric(key, (-(-(draws.PER_CHI_SQUARE + d) // LANES) * LANES,))
    scale = noise * jax.lax.rsqrt(draws.chi_square_of(u[: draws.PER_CHI_SQUARE], count - d + 1.0))
    return LeastSquares(count, wide + scale * draws.normal_of(u[-len(wide) :]), d)  # the last d share none with chi-square


def padding(weights: Array) -> Array:
    """Zeros before the weights, up to a multiple of LANES."""
    return jnp.pad(weights, (-weights.shape[0] % LANES, 0))
