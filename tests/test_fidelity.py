"""Precision, recall, density, coverage and Fréchet distance: NumPy's, by hand, within one law, and where little is left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances

from collapse_jax.metrics.fidelity import frechet, frechet_gaussians, manifold, projection, singular_sum
from collapse_jax.metrics.neighbours import radii
from collapse_jax.metrics.registry import of_kind

NAMES = ("precision", "recall", "density", "coverage")
KEY = jax.random.key(0)


def normals(seed, *shape, scale=1.0, shift=0.0):
    return np.asarray(np.random.default_rng(seed).normal(shift, scale, shape), np.float32)


def reference(x, y, k):
    """The four by whole matrices of distances, in float64."""
    x, y = x.astype(float), y.astype(float)
    radius = lambda z: np.partition(pairwise_distances(z, z), k, axis=-1)[:, k]
    apart, real, own = pairwise_distances(y, x), radius(y), radius(x)
    inside = apart <= real[:, None]
    return {
        "precision": inside.any(axis=0).mean(),
        "recall": (apart <= own).any(axis=1).mean(),
        "density": inside.sum(axis=0).mean() / k,
        "coverage": inside.any(axis=1).mean(),
    }


def ours(x, y, weight=None, **options):
    weight = np.ones(len(x)) if weight is None else weight
    found = manifold(jnp.asarray(x), jnp.asarray(weight, jnp.float32), jnp.asarray(y), **options)
    return {name: float(found[name]) for name in NAMES}


@pytest.mark.parametrize("n, m, dim, k", [(300, 200, 2, 5), (130, 250, 20, 3), (64, 64, 9, 1), (90, 1100, 1, 5)])
def test_all_four_are_numpys(n, m, dim, k):
    """A distance may round across a rim, about once in these pairs: then the shares move by 1/n, the density by 1/nk."""
    x, y = normals(0, n, dim, scale=0.8, shift=0.3), normals(1, m, dim)
    for name, value in reference(x, y, k).items():
        np.testing.assert_allclose(ours(x, y, k=k)[name], value, atol=1.5 / min(n, m), err_msg=name)


def test_by_hand_on_a_line():
    """Real 0, 1, 3 and generated 1.5, 9 with k = 1: real balls reach 1, 1 and 2, generated ones 7.5."""
    x, y = np.float32([[1.5], [9.0]]), np.float32([[0.0], [1.0], [3.0]])
    expected = {"precision": 1 / 2, "recall": 1.0, "density": 2 / 2, "coverage": 2 / 3}
    assert ours(x, y, k=1) == pytest.approx(expected)


@pytest.mark.parametrize("dim", [2, 20])
def test_masked_samples_are_as_if_deleted_and_order_and_place_do_not_matter(dim):
    rng = np.random.default_rng(2)
    x, y, there = normals(3, 150, dim, scale=0.7), normals(4, 170, dim), rng.random(150) < 0.6
    expected = ours(x[there], y)
    assert ours(np.where(there[:, None], x, np.nan), y, there) == pytest.approx(expected, abs=1e-6)
    assert ours(rng.permutation(x[there]), rng.permutation(y)) == pytest.approx(expected, abs=1e-6)
    assert ours(x[there] + 4, y + 4) == pytest.approx(expected, abs=0.02)  # sums round, so a rim may be crossed
    assert ours(x[there], y, real=radii(jnp.asarray(y), 5)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dim", [2, 20])
def test_little_is_left_and_still_a_number(dim):
    y = normals(5, 100, dim)
    one = ours(y[:1], y)
    assert one["precision"] == 1 and one["recall"] == pytest.approx(1 / 100) and 0 < one["coverage"] < 0.5
    assert ours(y, y, np.zeros(100)) == dict.fromkeys(NAMES, 0.0)
    same = np.repeat(y[:1], 100, axis=0)
    assert ours(same, same) == pytest.approx({"precision": 1, "recall": 1, "density": 20, "coverage": 1})
    assert ours(same, y)["recall"] == pytest.approx(1 / 100)
    assert ours(y[:3], y[:1])["coverage"] == 1


def test_chains_side_by_side_give_what_each_gives_alone():
    x, y, weight = jnp.asarray(normals(13, 3, 80, 3)), jnp.asarray(normals(14, 70, 3)), jnp.ones(80)
    both = lambda z: jnp.stack([*(manifold(z, weight, y)[name] for name in NAMES), frechet(z, weight, y)])
    np.testing.assert_allclose(jax.jit(jax.vmap(both))(x), jnp.stack([both(z) for z in x]), rtol=1e-4)


def covariances(seed, dim, rank):
    roots = np.random.default_rng(seed).normal(size=(2, dim, rank))
    return [root @ root.T / rank for root in roots]


@pytest.mark.parametrize("dim, rank", [(1, 3), (2, 5), (2, 1), (10, 30), (40, 50), (10, 3)])
def test_frechet_of_gaussians_is_scipys(dim, rank):
    a, b = covariances(dim, dim, rank)
    mean = np.linspace(-1, 1, dim)
    expected = (mean**2).sum() + np.trace(a + b) - 2 * np.sqrt(np.maximum(np.linalg.eigvals(a @ b).real, 0)).sum()
    if rank >= dim:
        assert np.isclose(expected, (mean**2).sum() + np.trace(a + b - 2 * sqrtm(a @ b)).real)
    found = frechet_gaussians(*(jnp.asarray(v, jnp.float32) for v in (mean, a, 0 * mean, b)))
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.trace(a + b))


def test_singular_values_sum_to_numpys_and_commuting_gaussians_to_theirs():
    for dim in (1, 2, 3, 30):
        a = normals(dim, dim, dim)
        np.testing.assert_allclose(singular_sum(jnp.asarray(a)), np.linalg.svd(a)[1].sum(), rtol=1e-4)
    assert float(singular_sum(jnp.zeros((4, 4)))) == 0
    s, r = np.float32([4.0, 1.0, 0.25]), np.float32([1.0, 1.0, 0.0])
    found = frechet_gaussians(jnp.zeros(3), jnp.diag(s), jnp.ones(3), jnp.diag(r))
    np.testing.assert_allclose(found, 3 + ((np.sqrt(s) - np.sqrt(r)) ** 2).sum(), rtol=1e-5)


def test_frechet_of_samples_is_numpys_raw_masked_and_on_principal_axes():
    x, y = normals(6, 80, 5, scale=0.7, shift=0.2), normals(7, 90, 5) @ normals(8, 5, 5)
    there = np.random.default_rng(9).random(80) < 0.7

    def expected(a, b):
        s, r = np.cov(a.T), np.cov(b.T)
        return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + r - 2 * sqrtm(s @ r).real)

    hidden = jnp.asarray(np.where(there[:, None], x, np.nan))
    weight = jnp.asarray(there, jnp.float32)
    np.testing.assert_allclose(frechet(hidden, weight, jnp.asarray(y)), expected(x[there], y), rtol=1e-4)
    np.testing.assert_allclose(frechet(hidden + 7, weight, jnp.asarray(y + 7)), expected(x[there], y), rtol=1e-3)
    pca = PCA(3).fit(y)
    found = frechet(hidden, weight, jnp.asarray(y), encode=projection(y, 3))
    np.testing.assert_allclose(found, expected(pca.transform(x[there]), pca.transform(y)), rtol=1e-4)
    with pytest.raises(ValueError, match="dim: 6"):
        projection(y, 6)


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_frechet_where_little_is_left(dim):
    y = jnp.asarray(normals(10, 50, dim))
    total = np.var(np.asarray(y), axis=0, ddof=1).sum()
    one = frechet(y, jnp.zeros(50).at[0].set(1.0), y)
    np.testing.assert_allclose(one, ((y[0] - y.mean(axis=0)) ** 2).sum() + total, rtol=1e-5)
    assert np.isinf(frechet(y, jnp.zeros(50), y))
    same = jnp.broadcast_to(y[:1], y.shape)
    np.testing.assert_allclose(frechet(same, jnp.ones(50), y), one, rtol=1e-5)
    assert float(frechet(same, jnp.ones(50), same)) < 1e-10
    np.testing.assert_allclose(frechet(y, jnp.ones(50), y), 0, atol=1e-5 * dim)


def drawn(n, scale, repeats):
    """The registered metrics of this module in the plane, x normal of this scale and y standard normal: [repeats] each."""
    mine = {name: m for name, m in of_kind("points").items() if m.function.__module__.endswith(".fidelity")}

    def one(key):
        a, b = jax.random.split(key)
        x, y = scale * jax.random.normal(a, (n, 2)), jax.random.normal(b, (n, 2))
        found = dict(manifold(x, jnp.ones(n), y))
        found["frechet"] = mine["frechet"](x, jnp.ones(n), y, key)
        return found | {"frechet_pca": mine["frechet_pca"](x, jnp.ones(n), y, key, {"axes": axes})}

    axes = projection(jax.random.normal(jax.random.key(1), (2048, 2)), 2)
    assert set(mine) == {*NAMES, "frechet", "frechet_pca"}
    return {name: np.asarray(v) for name, v in jax.lax.map(one, jax.random.split(KEY, repeats)).items()}


def test_noise_within_one_law_is_what_the_docstrings_say():
    null = drawn(512, 1.0, 200)
    stated = {"precision": (0.9945, 0.0043), "recall": (0.9946, 0.0041), "density": (1.0, 0.024)}
    product = np.prod([(511 - i) / (1023 - i) for i in range(5)])
    stated |= {"coverage": (1 - product, 0.012), "frechet": (0.0139, 0.0095), "frechet_pca": (0.0139, 0.0095)}
    for name, (mean, sd) in stated.items():
        assert abs(null[name].mean() - mean) < 4 * sd / 200**0.5, (name, null[name].mean())
        assert abs(null[name].std() / sd - 1) < 0.25, (name, null[name].std())


@pytest.mark.parametrize("name", [*NAMES, "frechet", "frechet_pca"])
def test_least_is_where_a_change_of_variance_stands_out(name):
    """Four standard deviations, of 100 draws each: 10 % of slack."""
    n, scale = of_kind("points")[name].least, 2**0.5 if name in ("precision", "density") else 0.5**0.5
    null, changed = drawn(n, 1.0, 100)[name], drawn(n, scale, 100)[name]
    assert abs(changed.mean() - null.mean()) > 3.6 * null.std()


def test_registered_functions_are_the_parts_of_manifold():
    x, y = jnp.asarray(normals(11, 60, 2)), jnp.asarray(normals(12, 60, 2))
    for name, value in ours(x, y).items():
        assert float(of_kind("points")[name](x, jnp.ones(60), y, KEY)) == pytest.approx(value)


def test_a_sample_that_is_no_number_is_infinitely_far_and_in_no_ball():
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.normal(size=(64, 2)), jnp.float32) for _ in range(2))
    broken = x.at[5, 0].set(jnp.nan)
    assert frechet(broken, jnp.ones(64), y) == jnp.inf
    found, whole = (manifold(z, jnp.ones(64), y) for z in (broken, x))
    assert all(np.isfinite(v) for v in found.values()) and found["precision"] <= whole["precision"]
