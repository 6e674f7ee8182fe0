"""Vendi scores, known modes and class entropy: NumPy's and scikit-learn's, by hand, and where little is left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from collapse_jax.metrics.diversity import (
    Known,
    Linear,
    class_entropy,
    class_histogram,
    confidence,
    known,
    logistic,
    mode_histogram,
    mode_metrics,
    nearest_centroid,
    vendi,
    vendi_2,
    vendi_of_kernel,
)
from collapse_jax.metrics.registry import of_kind
from collapse_jax.sources import Blobs, EightGaussians, GaussianGrid, Normal

KEY = jax.random.key(0)


def normals(seed, *shape, scale=1.0, shift=0.0):
    return np.asarray(np.random.default_rng(seed).normal(shift, scale, shape), np.float32)


def scores(x, y):
    """Orders 1 and 2 in float64, by eigenvalues."""
    kernel = np.exp(-0.5 * cdist(x, x, "sqeuclidean") / np.var(y, axis=0, dtype=float).sum()) / len(x)
    values = np.linalg.eigvalsh(kernel)
    values = values[values > 1e-12]
    return np.exp(-(values * np.log(values)).sum()), 1 / (values**2).sum()


@pytest.mark.parametrize("n, dim", [(100, 2), (150, 20), (64, 1)])
def test_vendi_scores_are_numpys_masked_moved_and_shuffled(n, dim):
    x, y = normals(0, n, dim, scale=0.8), normals(1, 90, dim)
    there = np.random.default_rng(2).random(n) < 0.7
    hidden, weight = np.where(there[:, None], x, np.nan), jnp.asarray(there, jnp.float32)
    one, two = scores(x[there], y)
    for shift in (0.0, 5.0):
        moved = jnp.asarray(hidden + shift), weight, jnp.asarray(y - 1)
        np.testing.assert_allclose(vendi(*moved), one, rtol=1e-3)
        np.testing.assert_allclose(vendi_2(*moved), two, rtol=1e-4)
    order = np.random.default_rng(3).permutation(n)
    np.testing.assert_allclose(vendi_2(moved[0][order], weight[order], moved[2]), two, rtol=1e-4)
    assert two <= one <= there.sum()


def test_vendi_of_k_equal_groups_is_k():
    """Friedman & Dieng 2023: groups of samples alike within, unlike between."""
    far = jnp.repeat(jnp.arange(5.0) * 1e3, 20)[:, None]
    y = jnp.asarray([[-1.0], [1.0]])
    assert float(vendi(far, jnp.ones(100), y)) == pytest.approx(5, rel=1e-4)
    assert float(vendi_2(far, jnp.ones(100), y)) == pytest.approx(5, rel=1e-5)
    assert float(vendi_of_kernel(jnp.eye(7), jnp.ones(7))) == pytest.approx(7, rel=1e-5)
    unequal = jnp.asarray([0.5, 0.25, 0.25])
    assert float(vendi_of_kernel(jnp.eye(3), unequal)) == pytest.approx(2**1.5, rel=1e-5)


def test_vendi_where_little_is_left():
    y = jnp.asarray(normals(4, 50, 2))
    for score in (vendi, vendi_2):
        assert float(score(y, jnp.zeros(50), y)) == 0
        assert float(score(y, jnp.zeros(50).at[3].set(1.0), y)) == pytest.approx(1)
        same = jnp.broadcast_to(y[:1], y.shape)
        assert float(score(same, jnp.ones(50), y)) == pytest.approx(1, abs=1e-3)
        assert float(score(same, jnp.ones(50), same)) == pytest.approx(1, abs=1e-3)


def drawn(name, n, scale, repeats):
    function = of_kind("points")[name]

    def one(key):
        a, b = jax.random.split(key)
        return function(scale * jax.random.normal(a, (n, 2)), jnp.ones(n), jax.random.normal(b, (n, 2)), key)

    return np.asarray(jax.lax.map(one, jax.random.split(KEY, repeats)))


@pytest.mark.parametrize("name, mean, sd, repeats", [("vendi", 4.86, 0.21, 16), ("vendi_2", 2.99, 0.13, 400)])
def test_noise_within_one_law_is_what_the_docstrings_say(name, mean, sd, repeats):
    """Order 2 in the plane tends to 3: E K² = 1 / (1 + 2 · 2 σ²/h²), h² = 2 σ²."""
    null = drawn(name, 512, 1.0, repeats)
    assert abs(null.mean() - mean) < 4 * sd / repeats**0.5
    assert abs(null.std() / sd - 1) < 4 / (2 * repeats) ** 0.5


@pytest.mark.parametrize("name, repeats", [("vendi", 10), ("vendi_2", 100)])
def test_least_is_where_halved_variance_stands_out(name, repeats):
    """Four standard deviations, less two standard errors of so many draws."""
    n = of_kind("points")[name].least
    null, halved = (drawn(name, n, scale, repeats) for scale in (1.0, 0.5**0.5))
    assert null.mean() - halved.mean() > 4 * (1 - 2 / (2 * repeats) ** 0.5) * null.std()


@pytest.mark.parametrize(
    "source", [EightGaussians(), GaussianGrid(), Blobs([[0.0, 0.0, 0.0], [9.0, 0.0, 1.0], [0.0, 5.0, 0.0]], std=[1.0, 2.0, 0.5])]
)
def test_mode_histograms_are_numpys(source):
    modes = known(source)
    x = np.asarray(source.draw(KEY, 400, {})) + normals(5, 400, source.dim, scale=0.1)
    there = np.random.default_rng(6).random(400) < 0.7
    apart = cdist(x[there], modes.centres) / np.asarray(modes.scales)
    where = np.where(apart.min(axis=1) <= 3, apart.argmin(axis=1), source.modes)
    expected = np.bincount(where, minlength=source.modes + 1) / there.sum()
    found = mode_histogram(jnp.asarray(np.where(there[:, None], x, np.nan)), jnp.asarray(there, jnp.float32), modes)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_modes_by_hand():
    modes = Known(jnp.asarray([[0.0], [10.0], [20.0], [30.0]]), jnp.asarray([1.0, 1.0, 1.0, 2.0]))
    x = jnp.asarray([[0.1], [-2.9], [12.0], [15.0], [24.5]])
    np.testing.assert_allclose(mode_histogram(x, jnp.ones(5), modes), [0.4, 0.2, 0, 0.2, 0.2], atol=1e-6)
    found = {k: float(v) for k, v in mode_metrics(x, jnp.ones(5), modes).items()}
    assert found == pytest.approx({"mode_count": 3, "mode_quality": 0.8, "mode_entropy": 1.5 * np.log(2), "mode_tv": 0.25})
    one = mode_metrics(x, jnp.asarray([1.0, 0, 0, 0, 0]), modes)
    assert [float(v) for v in one.values()] == pytest.approx([1, 1, 0, 0.75])
    for nothing in (mode_metrics(x, jnp.zeros(5), modes), mode_metrics(x + 1e3, jnp.ones(5), modes)):
        assert [float(v) for v in nothing.values()] == [0, 0, 0, 1]  # as far from equal shares as can be
    assert known(Normal(2)) is None


def test_missed_modes_of_the_source_are_those_of_chance():
    """25 modes, 40 samples: 25 (1 - 0.989/25)^40 = 4.98 missed in mean, fewer than 3 σ being nobody's."""
    source, repeats = GaussianGrid(), 400
    count = lambda key: mode_metrics(source.draw(key, 40, {}), jnp.ones(40), known(source))["mode_count"]
    missed = 25 - np.asarray(jax.lax.map(count, jax.random.split(KEY, repeats)))
    expected = 25 * (1 - (1 - np.exp(-4.5)) / 25) ** 40
    assert abs(missed.mean() - expected) < 4 * missed.std() / repeats**0.5


def labelled(n=300, classes=4, dim=3):
    labels = np.random.default_rng(7).integers(0, classes, n)
    return normals(8, n, dim) + 1.5 * normals(9, classes, dim)[labels] + 10, labels


def test_classifiers_are_scikit_learns():
    real, labels = labelled()
    x = labelled()[0] + normals(10, 300, 3, scale=0.5)
    theirs = LogisticRegression(C=2.0, max_iter=5000, tol=1e-8).fit(
        np.asarray(real, float), labels
    )  # in float32 it may stop early
    ours = logistic(real, labels, 4, ridge=0.5)
    weight = np.asarray(ours.weight).T
    np.testing.assert_allclose(weight - weight.mean(axis=0), theirs.coef_ - theirs.coef_.mean(axis=0), atol=5e-3)
    assert np.mean(np.asarray(ours(jnp.asarray(x))) == theirs.predict(np.asarray(x, float))) >= 0.99
    centroids = nearest_centroid(real, labels, 4)(jnp.asarray(x))
    assert np.mean(np.asarray(centroids) == NearestCentroid().fit(real, labels).predict(x)) >= 0.99
    with pytest.raises(ValueError, match=r"without samples: \[4\]"):
        logistic(real, labels, 5)
    with pytest.raises(ValueError, match="every class"):
        nearest_centroid(real, labels, 3)


def test_class_entropy_by_hand_and_masked():
    classifier = nearest_centroid([[0.0], [1.0], [2.0]], [0, 1, 2], 3)
    x = jnp.asarray([[-1.0], [0.2], [1.1], [1.6], [np.nan]])
    weight = jnp.asarray([1.0, 1.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(class_histogram(x, weight, classifier), [0.5, 0.25, 0.25])
    np.testing.assert_allclose(class_entropy(x, weight, classifier), 1.5 * np.log(2), rtol=1e-6)
    assert float(class_entropy(x, jnp.zeros(5), classifier)) == 0
    assert float(class_entropy(jnp.zeros((5, 1)), jnp.ones(5), classifier)) == 0


def test_class_entropy_is_too_low_by_millers_bias():
    """Ten equally likely classes, 100 samples: 9/200 to first order; the next is 99/(12 · 10⁴)."""
    classifier = nearest_centroid(np.arange(10.0)[:, None], np.arange(10), 10)
    value = lambda key: class_entropy(jax.random.randint(key, (100, 1), 0, 10).astype(float), jnp.ones(100), classifier)
    found = np.asarray(jax.lax.map(value, jax.random.split(KEY, 1000)))
    assert abs(np.log(10) - found.mean() - 9 / 200) < 4 * found.std() / 1000**0.5 + 1e-3


def test_modes_of_the_grid_s_own_samples_are_as_documented():
    """4,000 draws of 64 samples: means within four standard errors and half of the last digit, spreads within a tenth."""
    source, draws = GaussianGrid(), 4000
    own = Known(source.centres(), source.scales())
    found = jax.jit(jax.vmap(lambda key: mode_metrics(source.draw(key, 64, {}), jnp.ones(64), own)))(jax.random.split(KEY, draws))
    documented = {
        "mode_count": (23.1, 1.18),
        "mode_quality": (0.989, 0.013),
        "mode_entropy": (3.007, 0.061),
        "mode_tv": (0.250, 0.036),
    }
    for name, (mean, spread) in documented.items():
        assert abs(found[name].mean() - mean) < 4 * spread / np.sqrt(draws) + 0.0005 * (100 if name == "mode_count" else 1), name
        assert abs(found[name].std() / spread - 1) < 0.1, name


def test_a_sample_that_is_no_number_is_left_out_of_the_scores():
    x, y = normals(0, 40, 2), normals(1, 30, 2)
    broken = np.array(x)
    broken[7, 1] = np.nan
    kept = np.delete(x, 7, axis=0)
    for score in (vendi, vendi_2):
        np.testing.assert_allclose(
            score(jnp.asarray(broken), jnp.ones(40), y), score(jnp.asarray(kept), jnp.ones(39), y), rtol=1e-4
        )


def test_confidence_is_the_classifier_s_own_probability_and_falls_between_classes():
    rng = np.random.default_rng(3)
    labels = np.arange(600) % 3
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    real = centres[labels] + rng.normal(size=(600, 2))
    ours, theirs = logistic(real, labels, 3), LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(real, labels)
    x, weight = rng.normal(size=(100, 2)) * 3, rng.integers(0, 3, 100)
    expected = np.repeat(theirs.predict_proba(x).max(axis=1), weight).mean()
    assert float(confidence(jnp.asarray(x), jnp.asarray(weight, float), ours)) == pytest.approx(expected, abs=2e-4)
    even = Linear(jnp.zeros((2, 3)), jnp.zeros(3))
    assert float(confidence(jnp.asarray(x), jnp.ones(100), even)) == pytest.approx(1 / 3)
    between = real.mean(axis=0) + 0.1 * rng.normal(size=(100, 2))
    of = lambda x: float(confidence(jnp.asarray(x), jnp.ones(len(x)), ours))
    assert of(real) > 0.95 and of(between) < 0.8 and of(jnp.asarray(x) * jnp.nan) == 0
