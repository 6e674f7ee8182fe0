"""Distances of samples: against NumPy, SciPy and scikit-learn, by hand, and with little to compare."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, spatial, stats
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from collapse_jax.metrics.distances import (
    energy,
    knn_kl,
    middle,
    mmd_sq,
    sliced_w2_sq,
    w2_sq_sorted,
)
from collapse_jax.metrics.registry import of_kind

KEY = jax.random.key(0)
SAMPLED = {"sliced_w2_sq": sliced_w2_sq, "mmd_sq": mmd_sq, "energy_distance_all": energy, "knn_kl": knn_kl}
JITTED = {
    name: jax.jit(f, static_argnames=("directions",) * (f is sliced_w2_sq) + ("k",) * (f is knn_kl))
    for name, f in SAMPLED.items()
}
sorted_w2 = jax.jit(w2_sq_sorted)
single = lambda z: jnp.asarray(z, jnp.float32)
all_samples = pytest.mark.parametrize("name", SAMPLED)


def pair(seed=0, n=60, m=50, d=2):
    rng = np.random.default_rng(seed)
    return rng.normal(0.5, 1, (n, d)), rng.normal(0, 2, (m, d))


def of(name, x, y, weight=None, **options):
    weight = np.ones(len(x)) if weight is None else weight
    return float(JITTED[name](single(x), single(weight), single(y), KEY, **options))


def coupled(x, weight, y):
    """∫ (F⁻¹ - G⁻¹)² over the merged steps, in float64."""
    x, weight, y = x[np.argsort(x)], weight[np.argsort(x)] / weight.sum(), np.sort(y)
    ends_x, ends_y = np.cumsum(weight), np.arange(1, len(y) + 1) / len(y)
    ends = np.unique(np.concatenate([[0], ends_x, ends_y]).round(12))
    middles = (ends[1:] + ends[:-1]) / 2
    at = lambda ends, z: z[np.minimum(np.searchsorted(ends, middles), len(z) - 1)]
    return (np.diff(ends) * (at(ends_x, x) - at(ends_y, y)) ** 2).sum()


@pytest.mark.parametrize("n, m", [(1, 1), (7, 1), (1, 6), (40, 25), (64, 64)])
def test_sorted_w2_is_the_quantile_coupling(n, m):
    rng = np.random.default_rng(n)
    x, y = rng.normal(1, 1, n), rng.normal(0, 2, m)
    for weight in (np.ones(n), rng.uniform(0.1, 3, n)):
        np.testing.assert_allclose(sorted_w2(single(x), single(weight), single(y)), coupled(x, weight, y), rtol=2e-5)


def test_sorted_w2_by_hand_and_as_an_assignment():
    ones = jnp.ones(2)
    assert np.isclose(sorted_w2(single([0, 1]), ones, single([2, 4])), (4 + 9) / 2)
    assert np.isclose(sorted_w2(single([1, 0]), single([1, 3]), single([0, 4])), (0 + 16 / 4 + 9 / 4))
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 9))
    i, j = optimize.linear_sum_assignment((x[:, None] - y) ** 2)
    best = ((x[i] - y[j]) ** 2).mean()
    np.testing.assert_allclose(sorted_w2(single(x), jnp.ones(9), single(y)), best, rtol=1e-5)
    assert float(sorted_w2(single(x), jnp.ones(9), single(x[::-1]))) < 1e-12


@all_samples
def test_they_are_registered_for_points(name):
    made = of_kind("points")[name]
    assert made.function is SAMPLED[name] and made.kind == "points" and made.direction == "up"


def test_sliced_w2_is_the_mean_over_its_directions():
    x, y = pair(d=3)
    weight = np.random.default_rng(1).uniform(0, 2, len(x))
    towards = np.asarray(jax.random.normal(KEY, (64, 3)), np.float64)
    towards /= np.linalg.norm(towards, axis=1)[:, None]
    expected = np.mean([coupled(x @ t, weight, y @ t) for t in towards])
    np.testing.assert_allclose(of("sliced_w2_sq", x, y, weight), expected, rtol=1e-4)
    one = of("sliced_w2_sq", x[:, :1], y[:, :1], weight)
    np.testing.assert_allclose(one, coupled(x[:, 0], weight, y[:, 0]), rtol=1e-4)


def test_sliced_w2_of_a_shift_is_its_square_over_the_dimension():
    x = np.random.default_rng(0).normal(size=(30, 4))
    shift = np.array([3.0, 0, 0, 0])
    found = of("sliced_w2_sq", x + shift, x, directions=4000)
    # (θ·shift)² has mean 9/4 and standard deviation 9 √(2 · 3 / (4² · 6)) over directions of four dimensions.
    assert abs(found - 9 / 4) < 4 * 9 * 0.25 / np.sqrt(4000)


def test_mmd_is_grettons_unbiased_one_with_the_median_of_scipys_distances():
    x, y = pair()
    width = np.sort(spatial.distance.pdist(y))[(len(y) * (len(y) - 1) // 2 - 1) // 2]
    gamma = 1 / (2 * width**2)
    weight = np.random.default_rng(1).uniform(0, 2, len(x))
    for w in (np.ones(len(x)), weight):
        pairs = np.outer(w, w) * (1 - np.eye(len(x)))
        k_xx, k_yy, k_xy = rbf_kernel(x, x, gamma), rbf_kernel(y, y, gamma), rbf_kernel(x, y, gamma)
        own = k_yy[~np.eye(len(y), dtype=bool)].mean()
        expected = (pairs * k_xx).sum() / pairs.sum() + own - 2 * (w / w.sum()) @ k_xy.mean(axis=1)
        np.testing.assert_allclose(of("mmd_sq", x, y, w), expected, atol=2e-6)


@pytest.mark.parametrize("m", [1, 2, 3, 31])
def test_the_middle_distance_is_the_lower_median(m):
    y = np.random.default_rng(m).normal(size=(m, 2))
    ordered = np.sort(spatial.distance.pdist(y))
    found = float(middle(single(spatial.distance.squareform(spatial.distance.pdist(y)) if m > 1 else [[0.0]])))
    np.testing.assert_allclose(found, ordered[(len(ordered) - 1) // 2] if m > 1 else 0, rtol=1e-6)


def test_mmd_far_apart_is_what_lies_within():
    x, y = np.array([[1e3, 0], [1e3, 1]]), np.array([[0.0, 0], [0, 1]])
    np.testing.assert_allclose(of("mmd_sq", x, y), 2 * np.exp(-0.5), rtol=1e-6)


def test_energy_is_scipys_root_squared_but_for_pairs_with_oneself():
    x, y = pair(d=1)
    own = lambda z: np.abs(z - z.T).sum() / len(z) ** 2 / (len(z) - 1)
    biased = of("energy_distance_all", x, y) + own(x) + own(y)
    np.testing.assert_allclose(biased, stats.energy_distance(x[:, 0], y[:, 0]) ** 2, rtol=1e-4)


@pytest.mark.parametrize("k, d", [(1, 1), (5, 2), (3, 12)])
def test_divergence_is_that_of_scikit_learns_neighbours(k, d):
    x, y = pair(d=d)
    near = lambda data, count: NearestNeighbors(n_neighbors=count).fit(data).kneighbors(x)[0][:, -1]
    expected = d * np.log(near(y, k) / near(x, k + 1)).mean() + np.log(len(y) / (len(x) - 1))
    np.testing.assert_allclose(of("knn_kl", x, y, k=k), expected, rtol=1e-3, atol=1e-4)


def test_divergence_of_normals_is_nearly_the_closed_form():
    """N(0, 1/2) from N(0, 1) in two dimensions: ln 2 - 1/2; four standard errors of 20 pairs, and .04 of bias at 512."""
    run = lambda key: knn_kl(
        jax.random.normal(key, (512, 2)) * np.sqrt(0.5), jnp.ones(512), jax.random.normal(jax.random.fold_in(key, 1), (512, 2))
    )
    found = np.asarray(jax.jit(lambda keys: jax.lax.map(run, keys))(jax.random.split(KEY, 20)))
    assert abs(found.mean() - (np.log(2) - 0.5)) < 4 * found.std() / np.sqrt(20) + 0.04


@all_samples
def test_a_mask_is_deletion_and_order_and_scale_of_weights_do_not_count(name):
    x, y = pair()
    keep = np.arange(len(x)) % 3 > 0
    masked = np.where(keep[:, None], x, np.nan)  # whatever lies in a slot that is not there
    gone = of(name, x[keep], y)
    np.testing.assert_allclose(of(name, masked, y, keep), gone, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(of(name, masked, y, 7.0 * keep), gone, rtol=1e-4, atol=1e-6)
    rng = np.random.default_rng(5)
    np.testing.assert_allclose(of(name, rng.permutation(x[keep]), rng.permutation(y)), gone, rtol=1e-4, atol=1e-6)


def test_weights_of_the_transport_distance_are_repetition():
    x, y = pair()
    times = np.random.default_rng(2).integers(0, 4, len(x))
    np.testing.assert_allclose(of("sliced_w2_sq", x, y, times), of("sliced_w2_sq", x.repeat(times, axis=0), y), rtol=1e-4)


@all_samples
def test_moving_and_scaling_both(name):
    x, y = pair()
    value = of(name, x, y)
    power = {"sliced_w2_sq": 2, "energy_distance_all": 1}.get(name, 0)
    np.testing.assert_allclose(of(name, x + 50, y + 50), value, rtol=1e-3, atol=1e-5)  # 50 rounds to 4e-6
    np.testing.assert_allclose(of(name, 8 * x, 8 * y), value * 8**power, rtol=1e-4, atol=1e-6)


@all_samples
def test_what_cannot_be_compared_is_infinitely_far(name):
    x, y = pair()
    broken = x.copy()
    broken[3, 1] = np.nan
    assert of(name, x, y, np.zeros(len(x))) == np.inf
    assert of(name, broken, y) == np.inf and of(name, np.where(np.isnan(broken), np.inf, x), y) == np.inf
    assert of(name, x, np.where(np.arange(len(y))[:, None] == 0, np.nan, y)) == np.inf
    assert not np.isnan(of(name, 1e25 * x, y))


@all_samples
def test_equal_samples_and_lone_ones_have_a_value(name):
    x, y = pair()
    same = np.full_like(x, 0.25)
    assert np.isfinite(of(name, same, y)) and np.isfinite(of(name, x, same[:50]))
    assert abs(of(name, same, same[:50])) < 0.2  # the divergence's ln(50 / 59)
    alone = of(name, x[:1], y)
    assert alone == np.inf if name == "knn_kl" else np.isfinite(alone)
    assert of(name, x[:1], x[:1]) == (np.inf if name == "knn_kl" else 0)


def test_doubled_samples_diverge_finitely_and_as_the_floor_says():
    x = np.random.default_rng(0).normal(size=(64, 2))
    y = np.random.default_rng(1).normal(size=(64, 2))
    doubled = of("knn_kl", np.concatenate([x, x]), y, k=1)
    assert 10 < doubled < 2 * np.log(10 / 1e-6)
    assert of("knn_kl", x, x.repeat(2, axis=0), k=1) < -10


NULL = {
    "sliced_w2_sq": (0.0122, 0.0046),
    "mmd_sq": (0.0001, 0.0011),
    "energy_distance_all": (0.0002, 0.0038),
    "knn_kl": (0.0, 0.033),
}
HALF = {"sliced_w2_sq": 0.094, "mmd_sq": 0.018, "energy_distance_all": 0.044, "knn_kl": 0.226}


def simulated(name, n, pairs):
    """The metric of pairs of n samples: of one normal, and of x with half its variance."""

    def one(key, scale):
        a, b, c = jax.random.split(key, 3)
        return SAMPLED[name](scale * jax.random.normal(a, (n, 2)), jnp.ones(n), jax.random.normal(b, (n, 2)), c)

    run = jax.jit(lambda keys, scale: jax.lax.map(lambda key: one(key, scale), keys))
    keys = jax.random.split(jax.random.key(7), pairs)
    return np.asarray(run(keys, 1.0)), np.asarray(run(keys, np.sqrt(0.5)))


@all_samples
def test_bias_and_spread_are_as_the_docstrings_say(name):
    """Of 32 pairs of 512: means within four standard errors, spread within 60 % (4 / √64, and some for skew)."""
    (null, half), (mean, spread) = simulated(name, 512, 32), NULL[name]
    assert abs(null.mean() - mean) < 4 * spread / np.sqrt(32) and abs(null.std() / spread - 1) < 0.6
    assert abs(half.mean() - HALF[name]) < 4 * half.std() / np.sqrt(32)


@all_samples
def test_from_its_least_size_on_half_the_variance_is_told_from_noise(name):
    null, half = simulated(name, of_kind("points")[name].least, 80)
    assert abs(half.mean() - null.mean()) > 2.4 * null.std()  # 3, but for the errors of 80 pairs


@all_samples
def test_many_chains_at_once_are_each_ones_own(name):
    x, y = pair()
    both = single(np.stack([x, 2 * x]))
    many = jax.jit(jax.vmap(SAMPLED[name], (0, None, None, None)))(both, jnp.ones(len(x)), single(y), KEY)
    np.testing.assert_allclose(many, [of(name, x, y), of(name, 2 * x, y)], rtol=1e-4, atol=1e-6)
