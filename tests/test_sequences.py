"""Perplexities of sequences: quantiles against NumPy's, and the mass outside generation 0's range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from zipf_text import draws

from collapse_jax.metrics.sequences import outside, perplexity_quantiles, sequence_perplexity, weighted_quantiles

Q = np.asarray([0.01, 0.05, 0.5, 0.95, 0.99])
WEIGHTED, QUANTILES, OUTSIDE = jax.jit(weighted_quantiles), jax.jit(perplexity_quantiles), jax.jit(outside)


def losses(rows=300, seed=0, level=2.0):
    return np.random.default_rng(seed).gamma(level, size=(rows, 16)).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_quantiles_are_numpys(rows):
    x = losses(rows, seed=rows)
    values = np.exp(x.mean(axis=1))
    np.testing.assert_allclose(sequence_perplexity(jnp.asarray(x)), values, rtol=1e-5)
    for weight in (np.ones(rows), 1.0 * np.random.default_rng(1).integers(0, 4, rows) + (rows == 1)):
        expected = np.quantile(values, Q, method="inverted_cdf", weights=weight)
        found = QUANTILES(jnp.asarray(x), jnp.asarray(weight))
        assert list(found) == ["perplexity_q01", "perplexity_q05", "perplexity_q50", "perplexity_q95", "perplexity_q99"]
        np.testing.assert_allclose(list(found.values()), expected, rtol=1e-5)


def test_quantiles_by_hand():
    x = jnp.asarray([5.0, 1.0, 3.0, 2.0, 4.0])
    q = jnp.asarray([0.0, 0.2, 0.21, 0.6, 1.0])
    np.testing.assert_array_equal(WEIGHTED(x, q, jnp.ones(5)), [1, 1, 2, 3, 5])
    np.testing.assert_array_equal(WEIGHTED(x, q, jnp.asarray([0, 1.0, 1, 1, 0])), [1, 1, 1, 2, 3])
    np.testing.assert_array_equal(WEIGHTED(jnp.full(5, 2.0), q, jnp.ones(5)), [2] * 5)


def test_masked_sequences_do_not_count_nor_does_their_order():
    x, own = losses(), losses(200, seed=1)
    there = np.random.default_rng(2).random(300) < 0.5
    order = np.random.default_rng(3).permutation(300)
    x[~there] = np.nan
    for f in (QUANTILES, lambda x, weight: OUTSIDE(x, weight, jnp.asarray(own))):
        masked, alone, shuffled = f(x, 1.0 * there), f(x[there], np.ones(there.sum())), f(x[order], 1.0 * there[order])
        for name in masked:
            np.testing.assert_allclose(masked[name], alone[name], rtol=1e-6)
            np.testing.assert_allclose(masked[name], shuffled[name], rtol=1e-6)


def test_mass_outside_the_range_is_counted_on_both_sides():
    own = jnp.log(jnp.arange(1.0, 101))[:, None] * jnp.ones(3)
    found = OUTSIDE(own, jnp.ones(100), own)
    np.testing.assert_allclose([found["below_range"], found["above_range"]], [0.04, 0.05], rtol=1e-6)
    # 5 % and 95 % of generation 0 are perplexities 5 and 95.
    x = jnp.log(jnp.asarray([1, 2, 4, 6, 50, 94, 96, 1000, 2000, 3000]))[:, None]
    found = OUTSIDE(x, jnp.ones(10), own)
    np.testing.assert_allclose([found["below_range"], found["above_range"]], [0.3, 0.4], rtol=1e-6)
    found = OUTSIDE(x, jnp.ones(10), own, (jnp.arange(100) < 40).astype(jnp.float32))
    np.testing.assert_allclose([found["below_range"], found["above_range"]], [0.1, 0.6], rtol=1e-6)


def test_nothing_there_is_zero():
    x = jnp.asarray(losses(20))
    assert all(value == 0 for value in QUANTILES(x, jnp.zeros(20)).values())
    assert all(value == 0 for value in OUTSIDE(x, jnp.zeros(20), x).values())
    assert all(value == 0 for value in OUTSIDE(x, jnp.ones(20), x, jnp.zeros(20)).values())


def test_noise_without_collapse_is_as_stated():
    def one(key):
        a, b = jax.random.normal(key, (2, 512, 1))
        return outside(a, jnp.ones(512), b)

    for found in draws(one, 400).values():
        found = np.asarray(found, float)
        assert abs(found.mean() - 0.05 + 0.001) <= 4 * 0.0135 / 20 and abs(found.std() / 0.0135 - 1) < 0.15
