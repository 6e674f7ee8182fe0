"""Random bits at half the price, for families whose generations are little else than random draws."""

import math

import jax
import jax.numpy as jnp

from collapse_jax import draws

Array = jax.Array
TURNS = ((13, 15, 26, 6), (17, 29, 16, 24))


def words(key: Array, shape: tuple[int, ...]) -> Array:
    """Random bits of this shape, uint32: both words of every Threefry block, where `jax.random.bits` folds the two into one."""
    size = math.prod(shape)
    first, second = jax.random.key_data(key)[:2]
    block = jnp.arange(-(-size // 2), dtype=jnp.uint32)
    return jnp.concatenate(threefry(first, second, jnp.zeros_like(block), block))[:size].reshape(shape)


def threefry(first: Array, second: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Threefry-2x32 of 20 rounds: two random words for the counter (x, y) under the key (first, second), all uint32.

    JAX's own generator (Salmon et al., SC 2011), which on CPUs passes over memory once a round; written out, all rounds
    are one pass and can be part of the next.
    """
    keys = (first, second, first ^ second ^ jnp.uint32(0x1BD11BDA))
    x, y = x + keys[0], y + keys[1]
    for group in range(5):
        for turn in TURNS[group % 2]:
            x = x + y
            y = (y << turn | y >> (32 - turn)) ^ x
        x, y = x + keys[(group + 1) % 3], y + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return x, y


def symmetric(key: Array, shape: tuple[int, ...]) -> Array:
    """Uniform numbers on (-1, 1): odd multiples of 2^-24."""
    return (words(key, shape) >> 8).astype(float) * 2.0**-23 - (1 - 2.0**-24)


def normals(uniform: Array) -> Array:
    """The standard normals that symmetric uniforms [rows, n] stand for, row by row.

    Larger kernels XLA splits over all threads of a CPU, and waits for those that other chains are busy on.
    """
    return jax.lax.map(draws.normal_of, uniform)
