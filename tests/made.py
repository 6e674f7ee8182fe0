"""Data that the tests of more than one module are made of."""

import jax.numpy as jnp
import numpy as np

from collapse_jax.data import Slots


def labelled(n, d, noise=1.0, seed=0, empty=3):
    """Slots with whole-number weights, the last ones empty; and their rows repeated as often as they weigh."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    rows = np.concatenate([x, (x @ rng.normal(size=d) + noise * rng.normal(size=n))[:, None]], axis=1).astype(np.float32)
    weight = rng.integers(1, 4, size=n)
    padded = np.concatenate([rows, np.full((empty, d + 1), 7.0)]).astype(np.float32)
    slots = Slots(jnp.asarray(padded), jnp.asarray(np.r_[weight, np.zeros(empty)], float), jnp.zeros(n + empty, jnp.int32))
    return slots, np.repeat(rows.astype(np.float64), weight, axis=0)


def overlapping(n=400, seed=0):
    """Three unequal components that overlap, so that EM takes a while."""
    rng = np.random.default_rng(seed)
    which = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    centres, scales = np.array([[0, 0], [2.5, 0.5], [0.5, 2.5]]), np.array([[1, 0.5], [0.6, 0.9], [0.4, 0.7]])
    return (centres[which] + scales[which] * rng.normal(size=(n, 2))).astype(np.float32)
