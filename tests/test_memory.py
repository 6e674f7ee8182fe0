"""Memorisation: scikit-learn's nearest neighbours, copies planted by hand, and nothing within one law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from collapse_jax.metrics.memory import memorisation, nearest, quantile

KEY = jax.random.key(0)


def normals(seed, *shape, scale=1.0, shift=0.0):
    return np.asarray(np.random.default_rng(seed).normal(shift, scale, shape), np.float32)


def ours(x, train, y, weight=None, present=None):
    weight = np.ones(len(x)) if weight is None else weight
    present = None if present is None else jnp.asarray(present, jnp.float32)
    found = memorisation(jnp.asarray(x), jnp.asarray(weight, jnp.float32), jnp.asarray(train), jnp.asarray(y), present)
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("dim", [2, 20])
def test_both_are_scikit_learns_and_numpys_masked_moved_and_shuffled(dim):
    """Medians and quantiles are order statistics, NumPy's `inverted_cdf`."""
    rng = np.random.default_rng(1)
    x, train, y = normals(2, 121, dim, scale=0.9), normals(3, 160, dim), normals(4, 150, dim)
    x[:20] = train[:20] + 1e-2
    there, present = rng.random(121) < 0.7, rng.random(160) < 0.8
    index = NearestNeighbors(n_neighbors=1).fit(train[present])
    own, real = (index.kneighbors(z)[0][:, 0] for z in (x[there], y))
    expected = {
        "memory_ratio": np.quantile(own, 0.5, method="inverted_cdf") / np.quantile(real, 0.5, method="inverted_cdf"),
        "copied_share": np.mean(own <= np.quantile(real, 0.01, method="inverted_cdf")),
    }
    hidden, gone = np.where(there[:, None], x, np.nan), np.where(present[:, None], train, np.nan)
    assert ours(hidden, gone, y, there, present) == pytest.approx(expected, rel=2e-3)
    order = rng.permutation(121)
    assert ours(hidden[order] + 3, gone + 3, rng.permutation(y) + 3, there[order], present) == pytest.approx(expected, rel=2e-3)


def test_copies_are_seen():
    train, y, fresh = normals(5, 300, 2), normals(6, 300, 2), normals(7, 300, 2)
    assert ours(train, train, y) == {"memory_ratio": 0.0, "copied_share": 1.0}
    some = np.concatenate([train[:100], fresh[:200]])
    found = ours(some, train, y)
    assert 0.33 < found["copied_share"] < 0.37 and 0.3 < found["memory_ratio"] < 0.9


def test_by_hand_on_a_line():
    train, y = np.float32([[0.0], [10.0]]), np.float32([[1.0], [12.0], [6.0]])
    np.testing.assert_allclose(nearest(jnp.asarray(y), jnp.asarray(train)), [1, 2, 4])
    found = ours(np.float32([[0.5], [3.0], [13.0], [4.0]]), train, y)
    assert found == pytest.approx({"memory_ratio": 3 / 2, "copied_share": 1 / 4})
    values, weight = jnp.asarray([3.0, 1.0, 2.0, 9.0]), jnp.asarray([1.0, 1.0, 1.0, 0.0])
    assert [float(quantile(values, weight, q)) for q in (0.01, 1 / 3, 0.5, 1.0)] == [1, 1, 2, 3]


def test_where_little_is_left():
    train, y = normals(8, 40, 2), normals(9, 40, 2)
    nothing = {"memory_ratio": 1.0, "copied_share": 0.0}
    assert ours(y, train, y, np.zeros(40)) == nothing
    assert ours(y, train, y, present=np.zeros(40)) == nothing
    assert ours(y[:1], train, y[:1]) == pytest.approx({"memory_ratio": 1.0, "copied_share": 1.0})
    same = np.repeat(train[:1], 40, axis=0)
    assert ours(same, same, same) == {"memory_ratio": 0.0, "copied_share": 1.0}
    assert ours(y, train, train) == {"memory_ratio": np.inf, "copied_share": 0.0}


def test_noise_within_one_law_is_what_the_docstring_says():
    def one(key):
        x, train, y = jax.random.normal(key, (3, 512, 2))
        return memorisation(x, jnp.ones(512), train, y)

    found = {name: np.asarray(v) for name, v in jax.lax.map(one, jax.random.split(KEY, 400)).items()}
    for name, (mean, sd) in {"memory_ratio": (1.0005, 0.052), "copied_share": (6 / 513, 0.0069)}.items():
        assert abs(found[name].mean() - mean) < 4 * sd / 20, (name, found[name].mean(), found[name].std())
        assert abs(found[name].std() / sd - 1) < 0.15, (name, found[name].std())
