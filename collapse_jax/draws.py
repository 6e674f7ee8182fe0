"""Random draws that exact sufficient statistics are made of, written for one cheap call inside a compiled scan."""

import math

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

# Marsaglia and Tsang refuse at most 5 % of proposals: all six with probability below 2e-8, under the step of a float32 uniform.
PROPOSALS = 6
PER_CHI_SQUARE = 2 * PROPOSALS + 1


def symmetric(key: Array, shape: tuple[int, ...]) -> Array:
    """Uniform on the open interval (-1, 1)."""
    dtype = jnp.result_type(float)
    return jax.random.uniform(key, shape, minval=np.nextafter(np.asarray(-1, dtype), np.asarray(0, dtype)))


def normal_of(u: Array) -> Array:
    """The standard normals that symmetric uniforms stand for."""
    return math.sqrt(2) * jax.lax.erf_inv(u)


def chi_square(key: Array, dof: Array) -> Array:
    """Chi-square variates of `dof` degrees of freedom (any number >= 0; 0 gives 0), of the shape of `dof`."""
    return chi_square_of(symmetric(key, (PER_CHI_SQUARE, *dof.shape)), dof)


def chi_square_of(u: Array, dof: Array) -> Array:
    """Chi-square variates made of symmetric uniforms u [PER_CHI_SQUARE, *dof.shape] (Marsaglia and Tsang, ACM TOMS 26:363, 2000).

    The first proposal that is accepted, of a fixed number: a loop would run until the slowest of all chains has its own.
    """
    half = dof / 2
    small = half < 1
    d = jnp.where(small, half + 1, half) - 1 / 3
    x = normal_of(u[:PROPOSALS])
    v = jnp.maximum((1 + jax.lax.rsqrt(9 * d) * x) ** 3, 1e-30)
    accepted = jnp.log(jnp.abs(u[PROPOSALS:-1])) < 0.5 * x * x + d * (1 - v + jnp.log(v))
    value = v[-1]
    for i in reversed(range(PROPOSALS - 1)):
        value = jnp.where(accepted[i], v[i], value)
    # Below 2 degrees: a variate of dof + 2 times U^(2/dof).
    power = jnp.log(0.5 + 0.5 * u[-1]) / jnp.where(dof > 0, half, 1.0)
    return jnp.where(dof > 0, 2 * d * value * jnp.where(small, jnp.exp(power), 1.0), 0.0)


def bartlett(key: Array, d: int, dof: Array) -> Array:
    """Lower-triangular B [d, d] with B Bᵀ ~ Wishart(I, dof); below d degrees of freedom its last columns are zero."""
    return standard_moments(key, d, dof + 1)[1]


def standard_moments(key: Array, d: int, count: Array) -> tuple[Array, Array]:
    """Mean [d] and a lower-triangular factor B [d, d] of the scatter of `count` standard normal samples, in exact law.

    mean ~ N(0, I / count) and B Bᵀ ~ Wishart(I, count - 1) are independent (Bartlett 1933); `count` 0 gives zeros. Only the
    d (d - 1) / 2 normals below the diagonal are drawn (for odd d, (d - 1) / 2 more).
    """
    column = jnp.arange(d)
    dof = jnp.maximum(count - 1.0, 0.0)
    half = (d + 1) // 2
    u = symmetric(
        key, (PER_CHI_SQUARE * d + d + half * (d - 1),)
    )  # all at once: every call of the generator takes time to compile
    first, mean, below = jnp.split(u, [PER_CHI_SQUARE * d, PER_CHI_SQUARE * d + d])
    mean = jnp.where(count > 0, normal_of(mean) * jax.lax.rsqrt(jnp.maximum(count, 1.0)), 0.0)
    diagonal = jnp.sqrt(chi_square_of(first.reshape(PER_CHI_SQUARE, d), jnp.maximum(dof - column, 0.0)))
    if d == 1:
        return mean, diagonal[:, None]
    # Row i of the triangle and row d-1-i share one line of d-1 numbers, from its two ends: no gather. Uniforms are moved
    # and turned into normals in their place: the other way round XLA makes every normal twice, one at a time.
    lines = below.reshape(half, d - 1)
    square = jnp.pad(jnp.concatenate([lines[: d // 2, ::-1], lines[::-1]]), ((0, 0), (0, 1)))
    triangle = np.tril(np.ones((d, d), bool), -1)
    return mean, jnp.where(triangle & (column < dof), normal_of(square), jnp.where(np.eye(d, dtype=bool), diagonal, 0.0))


def below(key: Array, total: Array, shape: tuple[int, ...]) -> Array:
    """Whole numbers uniform on 0 … total - 1, by 32 bits each: uint32. (A float32 uniform has 2^23 values only.)"""
    return scaled_down(jax.random.bits(key, shape, jnp.uint32), jnp.asarray(total).astype(jnp.uint32))


def scaled_down(bits: Array, total: Array) -> Array:
    """floor(bits * total / 2^32) without 64-bit numbers."""
    high, low = bits >> 16, bits & 0xFFFF
    top, bottom = total >> 16, total & 0xFFFF
    one = high * bottom + (low * bottom >> 16)
    two = low * top + (one & 0xFFFF)
    return high * top + (one >> 16) + (two >> 16)


def distinct(key: Array, total: Array, count: Array, slots: int) -> Array:
    """`count` different numbers of 0 … total - 1, every set of them alike, then any: int32 [slots]; total >= 2 count.

    The first different ones of 2 slots + 64 draws with replacement: the cost does not depend on `total`. Where there are
    too few (at total = 2 count, below 1 in 10^8), all are drawn again, which favours no number either.
    """
    n = 2 * slots + 64

    def draw(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i = state[0]
        values = below(jax.random.fold_in(key, i), total, (n,)).astype(jnp.int32)
        order = jnp.argsort(values, stable=True)
        ascending = values[order]
        repeated = jnp.concatenate([jnp.zeros(1, bool), ascending[1:] == ascending[:-1]])
        later = jnp.zeros(n, bool).at[order].set(repeated)
        return i + 1, values[jnp.argsort(later, stable=True)[:slots]], n - jnp.sum(later, dtype=jnp.int32)

    start = (jnp.uint32(0), jnp.zeros(slots, jnp.int32), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda state: state[2] < count, draw, start)[1]
