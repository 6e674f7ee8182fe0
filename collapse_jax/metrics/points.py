"""Measurements of points and images [n, dim]: moments and energy distance against the source."""

from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
Shared = dict[str, Any]
HELD_OUT = 512  # real samples that metrics compare with
# Columns of families that measure their samples, and how many samples each needs: from there on half the variance (a mean half a
# deviation off, half of the labels) moves it by at least 3 of its standard deviations (tests/test_noise.py).
SAMPLED = MappingProxyType(
    {"trace_ratio": 64, "log_variance": 64, "mean_sq_error": 64, "latent_spread": 64, "class_entropy": 64, "energy_distance": 256}
)

MOMENTS = ("trace_ratio", "log_variance", "mean_sq_error")


def least_samples(*names: str) -> MappingProxyType[str, int]:
    """SAMPLED, of the moments and these further columns: what a family states as its `sampled`."""
    return MappingProxyType({name: SAMPLED[name] for name in (*MOMENTS, *names)})


def held_out(shared: Shared, n: int = HELD_OUT, split: str = "test") -> Array:
    """Real samples that no chain is fitted on, the same for all chains and generations: [at most n, dim].

    A finite real data set gives those of its own split; any other source draws them with a key of their own.
    """
    if split in shared:
        return shared["source"].as_samples(jnp.asarray(shared[split])[:n])
    salt = {"test": 0x7E57, "validation": 0x7A11}[split]
    return shared["source"].draw(jax.random.key(salt), n, shared)


def moments(samples: Array, weight: Array) -> tuple[Array, Array]:
    """Mean [dim] and total variance (divisor: the sum of weights) of samples [n, dim] with weights [n]."""
    share = (weight / jnp.sum(weight))[:, None]
    mean = jnp.sum(share * samples, axis=0)
    return mean, jnp.sum(share * (samples - mean) ** 2)


def against_source(mean: Array, trace: Array, shared: Shared) -> dict[str, Array]:
    """trace_ratio, log_variance and mean_sq_error of a model of this mean [dim] and total variance."""
    ratio = trace / shared["source"].trace(shared)
    error = jnp.sum((mean - shared["source"].mean(shared)) ** 2)
    return {"trace_ratio": ratio, "log_variance": jnp.log(ratio), "mean_sq_error": error}


def energy_distance(x: Array, y: Array, weight: Array | None = None) -> Array:
    """2 E‖X - Y‖ - E‖X - X'‖ - E‖Y - Y'‖ of samples x [n, dim] (weights [n]) and y [m, dim], unbiased (Székely & Rizzo 2013).

    0 in mean where both are of one law; it may then be slightly negative. A single sample is at distance 0 from its like. O(n² + m² + n m) distances.
    """
    w = jnp.ones(len(x)) / len(x) if weight is None else weight / jnp.sum(weight)
    pairs = w[:, None] * w * (1 - jnp.eye(len(x)))
    total = jnp.sum(pairs)
    within_x = jnp.sum(pairs * distances(x, x)) / jnp.where(total > 0, total, 1.0)
    within_y = jnp.sum(distances(y, y)) / (len(y) * max(len(y) - 1, 1))
    return 2 * jnp.sum(w[:, None] * distances(x, y)) / len(y) - within_x - within_y


def distances(x: Array, y: Array) -> Array:
    """Euclidean distances of x [n, dim] and y [m, dim]: [n, m], dimension by dimension where there are few."""
    if x.shape[1] <= 8:
        squares = sum((x[:, None, i] - y[None, :, i]) ** 2 for i in range(x.shape[1]))
    else:
        cross = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
        squares = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1) - 2 * cross
    return jnp.sqrt(jnp.maximum(squares, 0.0))


def log_of(x: Any) -> Any:
    """log x, on the host where x is a Python number (so that a constant has all its digits)."""
    return np.log(x) if isinstance(x, int | float) else jnp.log(x)
