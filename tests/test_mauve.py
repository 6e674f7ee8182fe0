"""MAUVE: its formula against NumPy on the same histograms, by hand, and k-means against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr
from scipy.stats import entropy
from sklearn.cluster import KMeans
from zipf_text import draws

import collapse_jax as cj
from collapse_jax.families import network
from collapse_jax.metrics import mauve as module
from collapse_jax.metrics.mauve import clusters, curve_area, divergence_curve, features, histograms, mauve, prepared

KEY = jax.random.key(0)
MAUVE = jax.jit(mauve, static_argnames=("k", "pca"))


def numpy_area(p, q, scale=5.0, mixtures=25):
    """The area of the paper's equations, in float64."""
    points = [(1.0, 0.0)]
    for share in np.linspace(1e-6, 1 - 1e-6, mixtures):
        r = share * p + (1 - share) * q
        points.append((np.exp(-scale * rel_entr(q, r).sum()), np.exp(-scale * rel_entr(p, r).sum())))
    points = np.asarray([*points, (0.0, 1.0)])
    return -np.trapezoid(points[:, 1], points[:, 0])


def blobs(n, d=5, kinds=6, seed=0, shares=None):
    """n points about `kinds` far centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(kinds, d)) * 10
    label = rng.choice(kinds, n, p=shares)
    return (centres[label] + rng.normal(size=(n, d))).astype(np.float32), label


@pytest.mark.parametrize("seed", range(4))
def test_the_area_is_that_of_the_formula(seed):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(20, 0.3), 2)
    p[:3] = 0
    p /= p.sum()
    np.testing.assert_allclose(jax.jit(curve_area)(p, q), numpy_area(p, q), rtol=2e-4)
    np.testing.assert_allclose(jax.jit(curve_area)(q, p), numpy_area(p, q), rtol=2e-4)
    assert 0 < numpy_area(p, q) < 1


def test_areas_by_hand():
    p, q = jnp.asarray([0.5, 0.5, 0, 0]), jnp.asarray([0, 0, 0.25, 0.75])
    np.testing.assert_allclose(curve_area(p, p), 1, rtol=1e-5)
    # Disjoint: the curve is ((1 - λ)^5, λ^5), under which lies 5 B(6, 5) = 1/252.
    np.testing.assert_allclose(curve_area(p, q, mixtures=1000), 1 / 252, rtol=1e-3)
    curve = np.asarray(divergence_curve(p, q, mixtures=3))
    np.testing.assert_allclose(curve[[0, 2, 4]], [[1, 0], [1 / 32, 1 / 32], [0, 1]], atol=1e-6)


@pytest.mark.parametrize("pca", [None, 3])
def test_the_whole_is_the_formula_on_its_own_clusters(pca):
    x, y = blobs(200, shares=[0.4, 0.3, 0.3, 0, 0, 0])[0], blobs(150, seed=1)[0]
    z = prepared(jnp.concatenate([x, y]), jnp.ones(350), pca)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=1), 1, rtol=1e-5)
    label = np.asarray(clusters(KEY, z, jnp.ones(350), 6))
    p, q = (np.bincount(part, minlength=6) / len(part) for part in (label[:200], label[200:]))
    for mine, theirs in zip(histograms(jnp.asarray(label), 200, jnp.ones(350), 6), (p, q), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    np.testing.assert_allclose(MAUVE(KEY, x, y, k=6, pca=pca), numpy_area(p, q), rtol=1e-3)
    assert numpy_area(p, q) < 0.8


def test_main_directions_are_those_of_the_covariance():
    x = blobs(300, d=8)[0]
    centred = x - x.mean(axis=0)
    vectors = np.linalg.svd(centred, full_matrices=False)[2][:3]
    expected = centred @ vectors.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = prepared(jnp.asarray(x), jnp.ones(300), 3)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=2e-4)


def test_clusters_are_as_tight_as_scikit_learns():
    x = blobs(400, kinds=12)[0]
    label = np.asarray(clusters(KEY, jnp.asarray(x), jnp.ones(400), 8))
    spread = sum(((x[label == k] - x[label == k].mean(axis=0)) ** 2).sum() for k in set(label.tolist()))
    assert spread <= 1.02 * KMeans(8, n_init=10, random_state=0).fit(x).inertia_


def test_equal_sets_are_alike_and_far_ones_are_not():
    x, far = blobs(100)[0], blobs(100)[0] * [1, 1, 1, 1, 0] + [0, 0, 0, 0, 500]
    np.testing.assert_allclose(MAUVE(KEY, x, x), 1, rtol=1e-5)
    assert MAUVE(KEY, x, far.astype(np.float32)) < 0.02


def test_a_lost_mode_is_seen_as_the_share_it_had():
    x, y = blobs(300, shares=[0.5, 0.5, 0, 0, 0, 0])[0], blobs(300, seed=1, shares=[0.25] * 4 + [0, 0])[0]
    shares = np.asarray([[0.5, 0.5, 0, 0], [0.25] * 4])
    assert abs(MAUVE(KEY, x, y, k=4) - numpy_area(*shares)) < 0.05
    assert entropy(*shares) == pytest.approx(np.log(2))


def test_masked_samples_do_not_count_nor_does_their_order():
    x, y = blobs(120, shares=[0.5, 0.5, 0, 0, 0, 0])[0], blobs(100, seed=1)[0]
    weight = (np.arange(120) % 3 > 0).astype(np.float32)
    masked = MAUVE(KEY, np.where(weight[:, None] > 0, x, 1e3).astype(np.float32), y, k=6, weight_x=weight)
    # Far clusters, all found whatever the draw of the centres.
    np.testing.assert_allclose(masked, MAUVE(KEY, x[weight > 0], y, k=6), rtol=1e-4)
    order = np.random.default_rng(0).permutation(120)
    np.testing.assert_allclose(masked, MAUVE(KEY, x[order], y, k=6, weight_x=weight[order]), rtol=1e-4)


def test_degenerate_sets_have_values():
    same = np.ones((30, 5), np.float32)
    np.testing.assert_allclose(MAUVE(KEY, same, same), 1, rtol=1e-5)
    np.testing.assert_allclose(MAUVE(KEY, same, same, pca=2), 1, rtol=1e-5)
    x, nothing = blobs(30)[0], np.zeros(30, np.float32)
    assert MAUVE(KEY, x, x, weight_x=nothing) == 0
    assert MAUVE(KEY, x, x, weight_x=nothing, weight_y=nothing, pca=2) == 0


def test_numbers_that_cannot_be_are_refused():
    x = blobs(30)[0]
    with pytest.raises(ValueError, match="61 clusters of 60 samples"):
        mauve(KEY, x, x, k=61)
    with pytest.raises(ValueError, match="6 main directions of 5"):
        mauve(KEY, x, x, pca=6)


def test_features_are_the_state_after_the_last_token():
    family = cj.families.Transformer(vocabulary=20, block=8, layers=1, width=8, heads=2)
    params = family.init(KEY, {})
    tokens = jax.random.randint(KEY, (5, 8), 0, 20)
    found = features(family, params, tokens)
    assert found.shape == (5, 8)
    logits = found @ network.output(params).T
    np.testing.assert_allclose(logits, family.logits(params, tokens)[:, -1], atol=1e-5)


def test_noise_of_one_law_is_as_stated():
    def one(n):
        return lambda key: mauve(key, *jax.random.normal(jax.random.fold_in(key, 1), (2, n, 16)))

    assert module.RESTARTS == 5
    for n, times, mean, deviation in ((512, 12, 0.94, 0.011), (64, 48, 0.96, 0.03)):
        found = np.asarray(draws(one(n), times), float)
        print(n, found.mean(), found.std(ddof=1))
        assert abs(found.mean() - mean) <= 4 * deviation / times**0.5 + 0.005
        assert 0.4 * deviation < found.std(ddof=1) < 1.7 * deviation
