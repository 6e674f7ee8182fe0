"""Moments and energy distance of points, and the real samples they are compared with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from collapse_jax.metrics.points import against_source, distances, energy_distance, held_out, moments
from collapse_jax.sources import Normal, TwoMoons

KEY = jax.random.key(0)


def test_moments_are_numpys_and_weights_are_repetitions():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(3, 2, (40, 3)), rng.integers(0, 3, 40)
    mean, trace = moments(jnp.asarray(x, jnp.float32), jnp.asarray(weight, jnp.float32))
    repeated = np.repeat(x, weight, axis=0)
    np.testing.assert_allclose(mean, repeated.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(trace, repeated.var(axis=0).sum(), rtol=1e-5)
    found = against_source(mean, trace, {"source": Normal(3)})
    np.testing.assert_allclose(found["trace_ratio"], float(trace) / 3, rtol=1e-6)
    np.testing.assert_allclose(found["log_variance"], np.log(float(trace) / 3), rtol=1e-5)
    np.testing.assert_allclose(found["mean_sq_error"], (repeated.mean(axis=0) ** 2).sum(), rtol=1e-5)


@pytest.mark.parametrize("dim", [1, 8, 9, 30])
def test_distances_are_scipys(dim):
    rng = np.random.default_rng(dim)
    x, y = rng.normal(size=(20, dim)), rng.normal(size=(15, dim))
    np.testing.assert_allclose(distances(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)), cdist(x, y), atol=1e-4)


def test_energy_distance_is_scipys_and_nothing_in_mean_within_one_law():
    """SciPy gives the root of the biased one in one dimension, which counts a sample's pairs with itself."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 60), rng.normal(1, 2, 50)
    mine = float(energy_distance(jnp.asarray(x[:, None], jnp.float32), jnp.asarray(y[:, None], jnp.float32)))
    own = lambda z: np.abs(z[:, None] - z).sum() / len(z) ** 2
    biased = mine + own(x) / (len(x) - 1) + own(y) / (len(y) - 1)
    np.testing.assert_allclose(biased, stats.energy_distance(x, y) ** 2, rtol=1e-4)
    keys = jax.random.split(KEY, 400)
    alike = np.asarray(jax.lax.map(lambda key: energy_distance(*jax.random.normal(key, (2, 50, 2))), keys))
    assert abs(alike.mean()) < 4 * alike.std() / 20


def test_held_out_samples_are_the_same_for_all_and_a_data_sets_own():
    moons = {"source": TwoMoons()}
    np.testing.assert_array_equal(held_out(moons), held_out(moons))
    assert held_out(moons).shape == (512, 2) and not np.array_equal(held_out(moons), held_out(moons, split="validation"))
    table = jnp.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(held_out({"source": TwoMoons(), "test": table}, 4), table[:4])


def test_energy_distance_of_single_samples_is_a_number():
    one, many = jnp.array([[0.5]]), jnp.array([[0.0], [1.0]])
    assert float(energy_distance(one, one)) == 0
    assert np.isclose(float(energy_distance(one, many)), 2 * 0.5 - 0 - 1) and np.isclose(float(energy_distance(many, one)), 0.0)
