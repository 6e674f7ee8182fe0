"""What is left beyond real samples' quantiles and in low density: by hand, by NumPy, and 1 in mean at the source."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.metrics.outskirts import low_density, low_density_share, quantile_coverage, step
from collapse_jax.metrics.registry import of_kind

COVERAGE, DENSITY = (jax.jit(f, static_argnums=3) for f in (quantile_coverage, low_density_share))
single = lambda z: jnp.asarray(z, jnp.float32)
shares = pytest.mark.parametrize("share", [0.01, 0.05, 0.1])


def coverage(x, y, share, weight=None):
    weight = np.ones(len(x)) if weight is None else weight
    return float(COVERAGE(single(x), single(weight), single(y), share))


def density(x, y, share, weight=None):
    weight = np.ones(len(x)) if weight is None else weight
    return float(DENSITY(single(x), single(weight), single(y), share))


def test_a_share_is_the_largest_step_that_fits_and_at_least_one():
    assert [step(s, 99) for s in (0.001, 0.01, 0.05, 0.1, 0.104)] == [1, 1, 5, 10, 10]
    assert step(0.05, 1) == 1 and step(0.05, 19) == 1 and step(0.29, 99) == 29


@shares
@pytest.mark.parametrize("m", [1, 199])
def test_they_are_numpys(share, m):
    rng = np.random.default_rng(m)
    x, y, weight = rng.normal(0, 1.3, (300, 3)), rng.normal(size=(m, 3)), rng.uniform(0, 2, 300)
    k, ordered = max(1, int(share / 2 * (m + 1))), np.sort(y, axis=0)
    outside = (x < ordered[k - 1]) | (x > ordered[m - k])
    expected = np.average(outside, axis=0, weights=weight).mean() / (2 * k / (m + 1))
    np.testing.assert_allclose(coverage(x, y, share, weight), expected, rtol=1e-5)
    k = max(1, int(share * (m + 1)))
    below = np.average(x[:, 0] < np.sort(y[:, 0])[k - 1], weights=weight) / (k / (m + 1))
    np.testing.assert_allclose(density(x[:, 0], y[:, 0], share, weight), below, rtol=1e-5)


def test_by_hand():
    y = np.arange(1.0, 20)[:, None]  # a tenth: below the first and above the last of 19, 2 / 20 of their law
    assert np.isclose(coverage([[0.5], [1], [7], [30]], y, 0.1), 0.5 / 0.1)
    assert np.isclose(density([0.5, 1, 7, 30, 1.5], np.arange(1.0, 20), 0.1), 3 / 5 / 0.1)
    assert coverage(y[1:-1], y, 0.1) == 0


@shares
def test_a_mask_is_deletion_weights_repetition_and_order_scale_and_place_do_not_count(share):
    rng = np.random.default_rng(0)
    x, y, times = rng.normal(0, 1.5, (80, 2)), rng.normal(size=(99, 2)), rng.integers(0, 3, 80)
    for function, across in ((coverage, slice(None)), (density, 0)):
        gaps = np.where(times[:, None] > 0, x, np.nan)[:, across]
        some, real = x[:, across], y[:, across]
        repeated = function(some.repeat(times, axis=0), real, share)
        np.testing.assert_allclose(function(gaps, real, share, times), repeated, rtol=1e-5)
        np.testing.assert_allclose(
            function(4 * some[::-1] + 3, 4 * rng.permutation(real) + 3, share, times[::-1]), repeated, rtol=1e-5
        )


def test_what_is_no_number_reaches_nothing_and_no_sample_gives_0():
    y = np.random.default_rng(0).normal(size=(50, 2))
    x = np.array([[np.nan, np.inf], [9, 9]])
    assert np.isclose(coverage(x, y, 0.1), 0.5 / (4 / 51))
    assert coverage(x, y, 0.1, [1, 0]) == 0 and coverage(x, y, 0.1, [0, 0]) == 0
    assert density([-np.inf, np.nan, -9.0, 5.0], y[:, 0], 0.1) == np.float32(0.25 * 51 / 5)
    assert density([1.0], y[:, 0], 0.1, [0]) == 0 and density([-9.0], y[:1, 0], 0.1) == 2
    assert coverage(np.ones((4, 2)), np.ones((5, 2)), 0.1) == 0
    assert np.isfinite(coverage(y, np.where(y > 2, np.nan, y), 0.1))


def simulated(function, n, m, samples=200):
    """At the null, and at half the variance."""

    def one(key, scale):
        a, b = jax.random.split(key)
        return function(scale * jax.random.normal(a, (n, 2)), jnp.ones(n), jax.random.normal(b, (m, 2)))

    run = jax.jit(lambda keys, scale: jax.lax.map(lambda key: one(key, scale), keys))
    keys = jax.random.split(jax.random.key(3), samples)
    return np.asarray(run(keys, 1.0)), np.asarray(run(keys, np.sqrt(0.5)))


@pytest.mark.parametrize("name, spread, left", [("quantile_coverage_1", 0.49, 0.03), ("quantile_coverage_5", 0.20, 0.113)])
def test_quantile_coverage_is_1_in_mean_at_the_source_with_the_docstrings_spread(name, spread, left):
    made = of_kind("points")[name]
    null, half = simulated(made.function, 512, 512)
    assert abs(null.mean() - 1) < 4 * spread / 14 and abs(null.std() / spread - 1) < 0.25
    assert abs(half.mean() - left) < 4 * half.std() / 14 + 0.001
    null, half = simulated(made.function, made.least, made.held)
    assert made.kind == "points" and null.mean() - half.mean() > 2.6 * null.std()


def test_low_density_is_1_in_mean_and_the_share_itself_at_half_the_variance():
    """-ln p of a 2-D normal is exponential: at half the variance P(p < the source's quantile s) = s², so s of s is left."""
    log_density = lambda x: -0.5 * jnp.sum(x * x, axis=1)
    null, half = simulated(lambda x, w, y: jnp.stack(list(low_density(log_density(x), w, log_density(y)).values())), 512, 512)
    for i, (share, spread) in enumerate([(0.01, 0.60), (0.05, 0.28), (0.1, 0.18)]):
        assert abs(null[:, i].mean() - 1) < 4 * spread / 14 and abs(null[:, i].std() / spread - 1) < 0.25
        assert abs(half[:, i].mean() - share) < 4 * half[:, i].std() / 14 + share / 10
