"""Mixtures of Gaussians as sources and as distributions: draws, labels, moments, densities, distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import ConfigError
from collapse_jax.metrics.mixtures import Mixture, l2_sq, of_source
from collapse_jax.sources import Blobs, EightGaussians, GaussianGrid, Normal, TwoMoons

KEY, N = jax.random.key(4), 40_000
SOURCES = [Blobs([[0, 0, 1], [3, 1, -1]], [0.5, 1.5]), EightGaussians(2.0, 0.3), GaussianGrid(3, 1.0, 0.2)]
name = lambda s: type(s).__name__


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_draws_have_the_moments_and_the_first_do_not_depend_on_how_many(source):
    x = np.asarray(source.draw(KEY, N, {}))
    assert x.shape == (N, source.dim) and x.dtype == np.float32 and source.classes == 0
    assert (x[:9] == np.asarray(source.draw(KEY, 9, {}))).all()
    apart = x.astype(float) - np.asarray(source.mean({}))
    products = apart[:, :, None] * apart[:, None, :]
    for found, expected in ((apart, 0.0), (products, np.asarray(source.covariance({})))):
        assert (np.abs(found.mean(axis=0) - expected) < 4 * found.std(axis=0) / np.sqrt(N)).all()


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_labels_number_the_modes_and_are_part_of_the_density(source):
    labelled = type(source)(**{**vars(source), "labels": True})
    x, label = np.split(np.asarray(labelled.draw(KEY, N, {})), [-1], axis=1)
    assert (x == np.asarray(source.draw(KEY, N, {}))).all() and labelled.classes == source.modes
    counts = np.bincount(label[:, 0].astype(int), minlength=source.modes)
    assert stats.chisquare(counts).pvalue > 1e-4
    means = np.asarray(source.mixture().means)
    for k in range(source.modes):
        own = x[label[:, 0] == k]
        assert (np.abs(own.mean(axis=0) - means[k]) < 4 * own.std(axis=0) / np.sqrt(len(own))).all()
    every = [labelled.log_prob(jnp.c_[x[:50], np.full((50, 1), k)], {}) for k in range(source.modes)]
    whole = np.asarray(source.log_prob(jnp.asarray(x[:50]), {}))
    assert np.allclose(np.logaddexp.reduce(np.asarray(every), axis=0), whole, atol=1e-5)


def test_density_is_scipys():
    source = SOURCES[0]
    x = np.asarray(source.draw(KEY, 100, {}), float)
    expected = sum(stats.multivariate_normal(m, s * s * np.eye(3)).pdf(x) / 2 for m, s in zip(source.centers, source.std))
    assert np.allclose(source.log_prob(jnp.asarray(x, jnp.float32), {}), np.log(expected), rtol=1e-5, atol=1e-5)


def test_where_the_modes_are():
    ring = np.asarray(EightGaussians(3.0, 0.1).mixture().means)
    assert np.allclose(np.hypot(*ring.T), 3) and np.allclose(ring[0], [3, 0])
    assert np.allclose(np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1), 6 * np.sin(np.pi / 8))
    grid = np.asarray(GaussianGrid(5, 2.0).mixture().means)
    assert sorted(map(tuple, grid)) == [(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]


def correlated(seed, k):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k, 2, 2)) + 1.5 * np.eye(2)
    parts = rng.dirichlet(np.ones(k)), rng.normal(size=(k, 2)), root @ np.swapaxes(root, 1, 2)
    return Mixture(*[jnp.asarray(part, jnp.float32) for part in parts])


def test_distance_and_moments_are_the_integrals():
    p, q = correlated(0, 2), correlated(1, 3)
    # Deviations between 0.3 and 4, so steps of 0.1 over ±25 sum to the integral to float32 rounding.
    axis = np.arange(-25, 25, 0.1)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    densities = [np.exp(np.asarray(jax.jit(m.log_density)(jnp.asarray(points, jnp.float32)), float)) for m in (p, q)]
    assert np.allclose([d.sum() * 0.01 for d in densities], 1, atol=1e-5)
    assert np.isclose(l2_sq(p, q), ((densities[0] - densities[1]) ** 2).sum() * 0.01, rtol=1e-4)
    mean, covariance = p.moments()
    apart = points - np.asarray(mean)
    assert np.allclose((densities[0] @ points) * 0.01, mean, atol=1e-4)
    assert np.allclose((densities[0][:, None] * apart).T @ apart * 0.01, covariance, rtol=1e-4, atol=1e-4)


def test_distance_to_itself_is_nothing_and_to_a_narrow_mode_is_its_peak():
    p = correlated(2, 3)
    assert abs(float(l2_sq(p, p))) < 1e-7  # terms of 0.05 cancel
    narrow = Mixture(jnp.ones(1), jnp.zeros((1, 2)), 1e-4 * jnp.eye(2)[None])
    # ∫N² = 1/(4π σ²) = 795.8, 2∫N p = 2/(2π 1.0001), ∫p² = 1/4π.
    expected = 1 / (4e-4 * np.pi) - 1 / (np.pi * 1.0001) + 1 / (4 * np.pi)
    assert np.isclose(l2_sq(narrow, of_source(Normal(2))), expected, rtol=1e-6)


def test_sources_that_are_mixtures():
    assert of_source(TwoMoons()) is None and of_source(GaussianGrid()).weights.shape == (25,)
    assert np.allclose(of_source(Normal(3)).log_density(jnp.ones((2, 3))), Normal(3).log_prob(jnp.ones((2, 3)), {}))


def test_centers_and_deviations_are_one_leaf_each():
    source = Blobs([[0, 0], [1, 1]], [1, 2])
    assert [np.shape(leaf) for leaf in jax.tree.leaves(source)] == [(2, 2), (2,)] and (source.dim, source.modes) == (2, 2)


@pytest.mark.parametrize(
    "source, field",
    [
        (Blobs([[0, 0], [1]]), "source.centers"),
        (Blobs("here"), "source.centers"),
        (Blobs([[0, np.nan]]), "source.centers"),
        (Blobs([[0, 0]], 0.0), "source.std"),
        (Blobs([[0, 0]], [1, 1]), "source.std"),
        (Blobs([[0, 0]], labels=1), "source.labels"),
        (EightGaussians(std=-1.0), "source.std"),
        (EightGaussians(radius="a"), "source.radius"),
        (GaussianGrid(side=0), "source.side"),
        (GaussianGrid(std=0), "source.std"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(source, field):
    with pytest.raises(ConfigError) as error:
        source.validate()
    assert error.value.field == field
