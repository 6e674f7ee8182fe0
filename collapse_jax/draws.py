"""Random draws that exact sufficient statistics are made of, written for one cheap call inside a compiled scan."""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def chi_square(key: Array, dof: Array) -> Array:
    """Chi-square variates of `dof` degrees of freedom (any number >= 0; 0 gives 0): same shape, exact in law, never 0 by rounding.

    Marsaglia and Tsang (ACM TOMS 26:363, 2000) on all entries at once, repeated for those not yet accepted.
    """
    half = dof / 2
    small = half < 1
    d = jnp.where(small, half + 1, half) - 1 / 3
    c = jax.lax.rsqrt(9 * d)

    def attempt(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        i, value, boost, waiting = state
        w = symmetric(jax.random.fold_in(key, i), (3, *dof.shape))
        x = np.float32(np.sqrt(2)) * jax.lax.erf_inv(w[0])
        v = (1 + c * x) ** 3
        good = (v > 0) & (jnp.log(jnp.abs(w[1])) < 0.5 * x * x + d * (1 - v + jnp.log(jnp.maximum(v, 1e-30))))
        now = waiting & good
        return i + 1, jnp.where(now, 2 * d * v, value), jnp.where(now, w[2], boost), waiting & ~good

    start = (jnp.uint32(0), jnp.zeros(dof.shape), jnp.zeros(dof.shape), dof > 0)
    _, value, boost, _ = jax.lax.while_loop(lambda state: jnp.any(state[3]), attempt, start)
    # Below 2 degrees: a variate of dof + 2 times U^(2/dof), U in (0, 1).
    power = jnp.log(0.5 + 0.5 * boost) / jnp.where(dof > 0, half, 1.0)
    return jnp.where(small, value * jnp.exp(power), value)


def symmetric(key: Array, shape: tuple[int, ...]) -> Array:
    """Uniform on the open interval (-1, 1)."""
    return jax.random.uniform(key, shape, minval=np.nextafter(np.float32(-1), np.float32(0)))


def bartlett(key: Array, d: int, dof: Array) -> Array:
    """Lower-triangular B [d, d] with B Bᵀ ~ Wishart(I, dof); below d degrees of freedom its last columns are zero.

    Bartlett (1933).
    """
    return standard_moments(key, d, dof + 1)[1]


def standard_moments(key: Array, d: int, count: Array) -> tuple[Array, Array]:
    """Mean [d] and a lower-triangular factor B [d, d] of the scatter of `count` standard normal samples, in exact law.

    mean ~ N(0, I / count) and B Bᵀ ~ Wishart(I, count - 1) are independent. `count` 0 gives zeros. Only the d (d - 1) / 2
    normals below the diagonal are drawn (for odd d, (d - 1) / 2 more).
    """
    column = jnp.arange(d)
    dof = jnp.maximum(count - 1.0, 0.0)
    diagonal = jnp.sqrt(chi_square(jax.random.fold_in(key, 1), jnp.maximum(dof - column, 0.0)))
    half = (d + 1) // 2
    z = jax.random.normal(jax.random.fold_in(key, 0), (d + half * (d - 1),))
    mean = jnp.where(count > 0, z[:d] * jax.lax.rsqrt(jnp.maximum(count, 1.0)), 0.0)
    if d == 1:
        return mean, diagonal[:, None]
    # Row i of the triangle and row d-1-i fill one line of d-1 numbers, from its two ends: no gather.
    lines = z[d:].reshape(half, d - 1)
    square = jnp.concatenate([lines[: d // 2, ::-1], lines[::-1]])
    square = jnp.pad(square, ((0, 0), (0, 1)))
    below = np.tril(np.ones((d, d), bool), -1)
    return mean, jnp.where(below & (column < dof), square, jnp.where(np.eye(d, dtype=bool), diagonal, 0.0))
