"""Random draws that exact sufficient statistics are made of, written for one cheap call inside a compiled scan."""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def chi_square(key: Array, dof: Array) -> Array:
    """Chi-square variates of `dof` degrees of freedom (any number >= 0; 0 gives 0), same shape, exact in law.

    Marsaglia and Tsang (2000) on all entries at once, repeated for those not yet accepted.
    """
    shape = dof.shape
    half = dof / 2
    small = half < 1
    d = jnp.where(small, half + 1, half) - 1 / 3
    c = jax.lax.rsqrt(9 * d)

    def attempt(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, value, open_ = state
        now = jax.random.fold_in(key, i)
        x = jax.random.normal(jax.random.fold_in(now, 0), shape)
        u = jax.random.uniform(jax.random.fold_in(now, 1), shape, minval=jnp.finfo(jnp.float32).tiny)
        v = (1 + c * x) ** 3
        good = (v > 0) & (jnp.log(u) < 0.5 * x * x + d * (1 - v + jnp.log(jnp.maximum(v, 1e-30))))
        return i + 1, jnp.where(open_ & good, 2 * d * v, value), open_ & ~good

    first = attempt((jnp.uint32(1), jnp.zeros(shape), jnp.ones(shape, bool)))
    value = jax.lax.while_loop(lambda state: jnp.any(state[2]), attempt, first)[1]
    u = jax.random.uniform(jax.random.fold_in(key, 0), shape, minval=jnp.finfo(jnp.float32).tiny)
    value = jnp.where(small, value * jnp.exp(jnp.log(u) / jnp.maximum(half, 1e-9)), value)
    return jnp.where(dof > 0, value, 0.0)


def bartlett(key: Array, d: int, dof: Array) -> Array:
    """Lower-triangular B [d, d] with B Bᵀ ~ Wishart(I, dof); below d degrees of freedom its last columns are zero.

    Bartlett (1933). Only the d(d-1)/2 normals that stand below the diagonal are drawn.
    """
    column = jnp.arange(d)
    diagonal = jnp.sqrt(chi_square(jax.random.fold_in(key, 0), jnp.maximum(dof - column, 0.0)))
    if d == 1:
        return diagonal[:, None]
    packed = jax.random.normal(jax.random.fold_in(key, 1), (d * (d - 1) // 2,))
    rows, columns = np.tril_indices(d, -1)
    place = np.full((d, d), len(rows))
    place[rows, columns] = np.arange(len(rows))
    lower = jnp.concatenate([packed, jnp.zeros(1)])[place]
    return jnp.where(column < dof, lower, 0.0) + jnp.diag(diagonal)
