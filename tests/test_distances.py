"""Distances between samples against SciPy and plain NumPy, by hand, with weights, and their noise at the default size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats
from scipy.spatial.distance import cdist, pdist

from collapse_jax.metrics.distances import energy, knn_kl, mmd_sq, sliced_w2_sq, w2_sq_1d
from collapse_jax.metrics.registry import of_kind

KEY = jax.random.key(0)
ALL = {"sliced_w2_sq": sliced_w2_sq, "mmd_sq": mmd_sq, "knn_kl": knn_kl, "energy_distance_all": energy}


def two(n, m, d=2, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32) + shift, rng.normal(size=(m, d)).astype(np.float32)


def ones(x):
    return jnp.ones(len(x))


def test_one_dimension_is_the_assignment_of_sorted_samples_and_unequal_sizes_are_transport():
    x, y = (a[:, 0] for a in two(60, 60))
    assert np.isclose(w2_sq_1d(x, y), np.mean((np.sort(x) - np.sort(y)) ** 2), rtol=1e-5)
    x, y = x[:7], y[:5]
    cost = (x[:, None] - y) ** 2
    rows = np.kron(np.eye(7), np.ones(5)), np.kron(np.ones(7), np.eye(5))
    plan = optimize.linprog(cost.ravel(), A_eq=np.concatenate(rows), b_eq=np.r_[np.full(7, 1 / 7), np.full(5, 1 / 5)])
    assert np.isclose(w2_sq_1d(x, y), plan.fun, rtol=1e-5)
    assert np.isclose(w2_sq_1d(jnp.array([0.0, 2.0]), jnp.array([1.0])), 1.0)


def test_sliced_distance_of_a_shift_is_its_square():
    x, _ = two(200, 1, 3)
    v = np.array([1.0, -2.0, 0.5], np.float32)
    found = np.mean([float(sliced_w2_sq(x + v, ones(x), x, jax.random.key(i))) for i in range(30)])
    assert abs(found / float(v @ v) - 1) < 0.1  # 64 × 30 directions: standard error 2 %
    assert np.isclose(sliced_w2_sq(x, ones(x), x, KEY), 0, atol=1e-6)


def test_mmd_and_energy_are_those_of_plain_numpy():
    x, y = two(40, 50, shift=0.3)
    h = np.median(pdist(y))
    k = lambda r: np.exp(-(r**2) / (2 * h * h))
    mean_off = lambda r: (k(r).sum() - len(r)) / (len(r) * (len(r) - 1))
    plain = mean_off(cdist(x, x)) + mean_off(cdist(y, y)) - 2 * k(cdist(x, y)).mean()
    assert np.isclose(mmd_sq(x, ones(x), y), plain, atol=2e-6)
    off = lambda r: r.sum() / (len(r) * (len(r) - 1))
    assert np.isclose(energy(x, ones(x), y), 2 * cdist(x, y).mean() - off(cdist(x, x)) - off(cdist(y, y)), atol=2e-5)


def test_divergence_by_neighbours_is_that_of_plain_numpy_and_near_the_truth():
    x, y = two(80, 90, shift=0.5)
    rho, nu = np.sort(cdist(x, x), axis=1)[:, 5], np.sort(cdist(x, y), axis=1)[:, 4]
    plain = 2 * np.log(nu / rho).mean() + np.log(90 / 79)
    assert np.isclose(knn_kl(x, ones(x), y), plain, rtol=1e-4)
    found = [float(knn_kl(*(lambda a, b: (a, ones(a), b))(*two(1000, 1000, seed=s, shift=0.7)))) for s in range(20)]
    truth = 0.7**2  # two normals a shift of .7 apart in both dimensions: ‖v‖²/2
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / np.sqrt(20) + 0.05


@pytest.mark.parametrize("name", ALL)
def test_a_mask_is_deletion_and_order_and_place_are_no_matter(name):
    metric = jax.jit(ALL[name])
    x, y = two(60, 50, shift=0.2)
    weight = jnp.asarray(np.arange(60) < 41, jnp.float32)
    masked, deleted = metric(x, weight, y, KEY), metric(x[:41], ones(x[:41]), y, KEY)
    np.testing.assert_allclose(masked, deleted, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(metric(x[::-1], weight[::-1], y[::-1], KEY), masked, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(metric(x + 3, weight, y + 3, KEY), masked, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["sliced_w2_sq", "energy_distance_all"])
def test_weights_are_repetition(name):
    x, y = two(30, 50, shift=0.4)
    weight = np.ones(30)
    weight[:10] = 2
    twice = np.concatenate([x, x[:10]])
    found, repeated = ALL[name](x, jnp.asarray(weight), y, KEY), ALL[name](twice, ones(twice), y, KEY)
    # Energy leaves out pairs of a sample with itself: of repeated ones that is a share of 10/800.
    np.testing.assert_allclose(found, repeated, rtol=1e-4 if name == "sliced_w2_sq" else 0.2, atol=2e-2)


@pytest.mark.parametrize("name", ALL)
def test_odd_samples_give_numbers(name):
    x, y = two(20, 20)
    same = np.ones((20, 2), np.float32)
    for a, w, b in (
        (x, jnp.zeros(20), y),
        (x[:1], jnp.ones(1), y),
        (same, jnp.ones(20), y),
        (x, jnp.ones(20), same),
        (same,) * 1 + (jnp.ones(20), same),
    ):
        assert np.isfinite(float(ALL[name](a, w, b, KEY))), (name, np.shape(a))


@pytest.mark.parametrize("name", ALL)
def test_noise_at_the_default_size(name):
    """512 against 512 of one normal law: the mean stays within the bias that is documented in the reference page."""
    values = np.array([float(jax.jit(ALL[name])(x, ones(x), y, KEY)) for x, y in (two(512, 512, seed=s) for s in range(40))])
    mean, deviation = {
        "sliced_w2_sq": (0.02, 0.02),
        "mmd_sq": (0.0, 0.002),
        "knn_kl": (0.0, 0.08),
        "energy_distance_all": (0.0, 0.004),
    }[name]
    assert abs(values.mean() - mean) < 0.02 + 4 * values.std() / np.sqrt(40) and values.std() < deviation, (
        values.mean(),
        values.std(),
    )
    if mean == 0:
        assert stats.ttest_1samp(values, 0).pvalue > 1e-4 or name == "knn_kl"


def test_they_are_registered():
    assert set(ALL) <= set(of_kind("points"))
