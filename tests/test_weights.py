"""Weights of generated points: which metrics count a weight as repetition, and what a weight is to the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.data import Slots
from collapse_jax.metrics import chosen  # noqa: F401 (its modules register)
from collapse_jax.metrics.diversity import logistic
from collapse_jax.metrics.fidelity import projection, spread
from collapse_jax.metrics.registry import of_kind
from collapse_jax.sources import EightGaussians

pytestmark = pytest.mark.usefixtures("lightly")

KEY = jax.random.key(0)
PRESENT = ("recall", "coverage", "knn_kl", "mode_count")  # a weight says there or not
RELATIVE = ("frechet", "frechet_pca", "mmd_sq", "energy_distance_all")  # a share of the whole; twice is no second draw
POINTS = {name: m for name, m in of_kind("points").items() if not name.startswith("excess_nll")}  # of the model, not of samples


def setting():
    source = EightGaussians()
    x, y, train, real = (np.asarray(source.draw(jax.random.key(i), n, {})) for i, n in enumerate((70, 60, 50, 200)))
    x = x + np.random.default_rng(0).normal(0, 0.1, x.shape).astype(np.float32)
    x[20:] *= np.float32(0.9)
    x[:9] = train[:9]  # copies
    labels = (real[:, 0] > 0) + 2 * (real[:, 1] > 0)
    around = {
        "source": source,
        "train": Slots.of(jnp.asarray(train), 0),
        "axes": projection(real, 2),
        "classifier": logistic(real, labels, 4),
    }
    return x, y, around


X, Y, AROUND = setting()
TIMES = np.where(np.arange(len(X)) < 9, 3, np.random.default_rng(1).integers(0, 4, len(X)))
VALUES = {
    name: jax.jit(lambda x, w, m=m: m(x, w, jnp.asarray(Y), KEY, *([AROUND] if m.needs else []))) for name, m in POINTS.items()
}


def of(name, x, weight=None):
    weight = np.ones(len(x)) if weight is None else weight
    return np.asarray(VALUES[name](jnp.asarray(x), jnp.asarray(weight, jnp.float32)))


every = pytest.mark.parametrize("name", sorted(POINTS))


@every
def test_a_mask_is_deletion(name):
    there = TIMES > 0
    hidden = np.where(there[:, None], X, np.nan)
    np.testing.assert_allclose(of(name, hidden, there), of(name, X[there]), rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("name", sorted(set(POINTS) - {*PRESENT, *RELATIVE}))
def test_a_weight_is_repetition(name):
    """precision, density, Vendi scores, modes, memory, class entropy, quantile coverage, low density and sliced W2."""
    found = of(name, X, TIMES)
    np.testing.assert_allclose(found, of(name, X.repeat(TIMES, axis=0)), rtol=1e-3, atol=2e-6)
    assert np.any(found != of(name, X, TIMES > 0))


@pytest.mark.parametrize("name", PRESENT)
def test_a_weight_says_no_more_than_that_a_sample_is_there(name):
    there = of(name, X, TIMES > 0)
    assert of(name, X, TIMES) == there and of(name, X, 7.0 * TIMES) == there
    if name in ("coverage", "mode_count"):  # where that is what repetition does
        assert of(name, X.repeat(TIMES, axis=0)) == there
    else:
        assert of(name, X.repeat(TIMES, axis=0)) != there


@pytest.mark.parametrize("name", RELATIVE)
def test_a_weight_is_a_share_of_the_whole_and_not_a_second_draw(name):
    """Means are those of repeated samples; what is estimated from pairs is not, by about Σ w² / (Σ w)² of the spread."""
    found = of(name, X, TIMES)
    np.testing.assert_allclose(of(name, X, 0.01 * TIMES), found, rtol=1e-3, atol=1e-6)
    repeated = of(name, X.repeat(TIMES, axis=0))
    assert not np.isclose(found, repeated, rtol=1e-3) and not np.isclose(found, of(name, X, TIMES > 0), rtol=1e-3)


def test_frechet_divides_by_one_less_the_weights_sum_of_squares():
    """NumPy's `aweights`: reliability weights; its `fweights` would be repetition."""
    mean, covariance = spread(jnp.asarray(X), jnp.asarray(TIMES, jnp.float32))
    np.testing.assert_allclose(mean, np.average(X, axis=0, weights=TIMES), rtol=1e-5)
    np.testing.assert_allclose(covariance, np.cov(X.T, aweights=TIMES), rtol=1e-5)
    assert not np.allclose(covariance, np.cov(X.T, fweights=TIMES), rtol=1e-3)
