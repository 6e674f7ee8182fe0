"""Random bits at half the price, for families whose generations are little else than random draws."""

import math

import jax

from collapse_jax import draws

Array = jax.Array


def words(key: Array, shape: tuple[int, ...]) -> Array:
    """Random bits of this shape, uint32: the data of new keys, so both words of every Threefry block.

    `jax.random.bits` folds the two into one.
    """
    size = math.prod(shape)
    return jax.random.key_data(jax.random.split(key, -(-size // 2))).reshape(-1)[:size].reshape(shape)


def symmetric(key: Array, shape: tuple[int, ...]) -> Array:
    """Uniform numbers on (-1, 1): odd multiples of 2^-24."""
    return (words(key, shape) >> 8).astype(float) * 2.0**-23 - (1 - 2.0**-24)


def normals(uniform: Array) -> Array:
    """The standard normals that symmetric uniforms [rows, n] stand for, row by row.

    Larger kernels XLA splits over all threads of a CPU, and waits for those that other chains are busy on.
    """
    return jax.lax.map(draws.normal_of, uniform)
