"""MAUVE: its formula against NumPy on the same histograms, by hand, and k-means against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr
from sklearn.cluster import KMeans
from zipf_text import draws

import collapse_jax as cj
from collapse_jax.families import network
from collapse_jax.metrics.mauve import clusters, curve_area, divergence_curve, histograms, mauve, prepared

KEY = jax.random.key(0)
JITTED = jax.jit(mauve, static_argnames=("k", "pca"))
CLUSTERS = jax.jit(clusters, static_argnums=3)
PREPARED = jax.jit(prepared, static_argnums=2)
AREA = jax.jit(curve_area, static_argnames="mixtures")


def score(x, y, weight_x=None, weight_y=None, k=6, pca=None):
    """MAUVE by one program for all tests of as many points."""
    weights = [np.ones(len(z), np.float32) if w is None else w for z, w in ((x, weight_x), (y, weight_y))]
    return JITTED(KEY, x, y, k, pca, *weights)


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
    np.testing.assert_allclose(AREA(p, q), numpy_area(p, q), rtol=2e-4)
    np.testing.assert_allclose(AREA(q, p), numpy_area(p, q), rtol=2e-4)
    assert 0 < numpy_area(p, q) < 1


def test_areas_by_hand():
    p, q = jnp.asarray([0.5, 0.5, 0, 0]), jnp.asarray([0, 0, 0.25, 0.75])
    np.testing.assert_allclose(AREA(p, p), 1, rtol=1e-5)
    # Disjoint: the curve is ((1 - λ)^5, λ^5), under which lies 5 B(6, 5) = 1/252.
    np.testing.assert_allclose(AREA(p, q, mixtures=1000), 1 / 252, rtol=1e-3)
    curve = np.asarray(divergence_curve(p, q, mixtures=3))
    np.testing.assert_allclose(curve[[0, 2, 4]], [[1, 0], [1 / 32, 1 / 32], [0, 1]], atol=1e-6)


def test_the_whole_is_the_formula_on_its_own_clusters():
    x, y = blobs(120, shares=[0.4, 0.3, 0.3, 0, 0, 0])[0], blobs(100, seed=1)[0]
    z = PREPARED(jnp.concatenate([x, y]), jnp.ones(220), 3)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=1), 1, rtol=1e-5)
    label = np.asarray(CLUSTERS(KEY, z, jnp.ones(220), 6))
    p, q = (np.bincount(part, minlength=6) / len(part) for part in (label[:120], label[120:]))
    for mine, theirs in zip(histograms(jnp.asarray(label), 120, jnp.ones(220), 6), (p, q), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    np.testing.assert_allclose(score(x, y, pca=3), numpy_area(p, q), rtol=1e-3)
    assert numpy_area(p, q) < 0.8


def test_main_directions_are_those_of_the_covariance():
    x = blobs(300, d=8)[0]
    centred = x - x.mean(axis=0)
    vectors = np.linalg.svd(centred, full_matrices=False)[2][:3]
    expected = centred @ vectors.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = PREPARED(jnp.asarray(x), jnp.ones(300), 3)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=2e-4)


def test_clusters_are_as_tight_as_scikit_learns():
    x = blobs(220, d=3, kinds=12)[0]
    label = np.asarray(CLUSTERS(KEY, jnp.asarray(x), jnp.ones(220), 6))
    spread = sum(((x[label == k] - x[label == k].mean(axis=0)) ** 2).sum() for k in set(label.tolist()))
    assert spread <= 1.02 * KMeans(6, n_init=10, random_state=0).fit(x).inertia_


def test_equal_sets_are_alike_and_far_ones_are_not():
    x = blobs(120)[0]
    far = (x * [1, 1, 1, 1, 0] + [0, 0, 0, 0, 500]).astype(np.float32)
    half = np.repeat(x[:20], 6, axis=0)
    np.testing.assert_allclose(score(half, half[:120][np.arange(100) % 20 * 6]), 1, rtol=1e-5)
    assert score(x, far[:100]) < 0.02


def test_a_lost_mode_is_seen_as_the_share_it_had():
    x, label_x = blobs(120, shares=[0.5, 0.5, 0, 0, 0, 0])
    y, label_y = blobs(100, seed=1)
    p, q = (np.bincount(label, minlength=6) / len(label) for label in (label_x, label_y))
    np.testing.assert_allclose(score(x, y), numpy_area(p, q), rtol=1e-3)


def test_masked_samples_do_not_count_nor_does_their_order():
    x, y = blobs(120, shares=[0.5, 0.5, 0, 0, 0, 0])[0], blobs(100, seed=1)[0]
    weight = (np.arange(120) >= 20).astype(np.float32)
    masked = score(np.where(weight[:, None] > 0, x, 1e3).astype(np.float32), y, weight)
    # Far clusters, all found whatever the draw of the centres.
    np.testing.assert_allclose(masked, score(x[20:], y), rtol=1e-4)
    order = np.random.default_rng(0).permutation(120)
    np.testing.assert_allclose(masked, score(x[order], y, weight[order]), rtol=1e-4)


def test_degenerate_sets_have_values():
    same = np.ones((120, 5), np.float32)
    x, nothing = blobs(120)[0], np.zeros(120, np.float32)
    for pca in (None, 3):
        np.testing.assert_allclose(score(same, same[:100], pca=pca), 1, rtol=1e-5)
        assert score(x, x[:100], nothing, pca=pca) == 0
        assert score(x, x[:100], nothing, nothing[:100], pca=pca) == 0


def test_numbers_that_cannot_be_are_refused():
    x = blobs(30)[0]
    with pytest.raises(ValueError, match="61 clusters of 60 samples"):
        mauve(KEY, x, x, k=61)
    with pytest.raises(ValueError, match="6 main directions of 5"):
        mauve(KEY, x, x, pca=6)


def test_features_are_the_state_after_the_last_token():
    family = cj.families.Transformer(vocabulary=20, block=8, layers=1, width=8, heads=2)
    tokens = np.random.default_rng(0).integers(0, 20, (5, 8)).astype(np.int32)

    @jax.jit
    def both(key):
        params = family.init(key, {})
        found = family.features(params, tokens)
        return found, found @ network.output(params, family.shape).T, family.logits(params, tokens)[:, -1]

    found, mine, theirs = both(KEY)
    assert found.shape == (5, 8)
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_noise_of_one_law_is_as_stated():
    found = draws(lambda key: mauve(key, *jax.random.normal(jax.random.fold_in(key, 1), (2, 512, 16))), 32, seed=1)
    found = np.asarray(found, float)
    assert abs(found.mean() - 0.963) <= 4 * 0.016 / 32**0.5
    assert abs(found.std(ddof=1) / 0.016 - 1) <= 4 / 64**0.5
