"""Kernel densities against scikit-learn's, their sampling law, their bandwidth by rule, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KernelDensity as Peer

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.families import KernelDensity
from collapse_jax.struct import replace

KEY = jax.random.key(0)


def fitted(family, x, weight=None):
    x = jnp.asarray(x, jnp.float32)
    train = Slots(x, jnp.ones(len(x)) if weight is None else jnp.asarray(weight), jnp.zeros(len(x), jnp.int32))
    return family.fit(KEY, None, train, {})[0]


@pytest.mark.parametrize("dim", [1, 2, 3, 9])
@pytest.mark.parametrize("kernel", ["gaussian", "tophat"])
def test_the_density_is_that_of_scikit_learn(dim, kernel):
    rng = np.random.default_rng(dim)
    x, at, weight = rng.normal(size=(300, dim)), rng.normal(size=(1500, dim)), rng.uniform(0.1, 2, 300)
    h = 0.4 if dim < 9 else 2.5
    peer = Peer(bandwidth=h, kernel=kernel).fit(x, sample_weight=weight).score_samples(at)
    params = fitted(KernelDensity(dim, h, kernel=kernel), x, weight)
    mine = np.asarray(KernelDensity(dim, h, kernel=kernel).log_prob(params, jnp.asarray(at, jnp.float32), {}))
    reached = peer > -30  # below, scikit-learn's tree gives its rounding: e^-36 outside every ball
    assert reached.mean() > 0.1
    # A point on the rim of a ball may fall in or out of it by rounding: a few of 1,500.
    off = ~np.isclose(mine[reached], peer[reached], atol=1e-4)
    assert off.sum() <= (0 if kernel == "gaussian" else 3)
    assert ((mine == -np.inf) | reached).mean() > 0.99


def test_the_density_integrates_to_one_with_weights_and_empty_slots():
    x, weight = np.random.default_rng(0).normal(size=(20, 2)), [0.0, 2.0, 1.0, 0.5] * 5
    side = jnp.linspace(-6, 6, 200)
    grid = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
    for kernel, h in (("gaussian", 0.3), ("tophat", 0.7)):
        family = KernelDensity(2, h, kernel=kernel)
        params = fitted(family, x, weight)
        total = float(jnp.sum(jnp.exp(family.log_prob(params, grid, {})))) * float(side[1] - side[0]) ** 2
        assert abs(total - 1) < (1e-4 if kernel == "gaussian" else 2e-2)  # a ball's rim on a grid of 0.06
        kept = np.asarray(weight) > 0
        alone = fitted(family, x[kept], np.asarray(weight)[kept])
        np.testing.assert_allclose(family.log_prob(params, grid[:50], {}), family.log_prob(alone, grid[:50], {}), rtol=1e-5)


@pytest.mark.parametrize("kernel", ["gaussian", "tophat"])
@pytest.mark.parametrize("weight", [[1.0, 1.0, 1.0, 0.0], [0.5, 2.0, 1.5, 0.0]])
def test_samples_are_training_points_by_weight_and_the_kernels_noise(kernel, weight):
    """Points so far apart that every sample tells its own."""
    points = np.asarray([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [50.0, 50.0]])
    family, n = KernelDensity(2, 0.8, kernel=kernel), 30_000
    params = fitted(family, points, weight)
    drawn = np.asarray(jax.jit(lambda key: family.sample(key, params, n))(KEY))
    nearest = np.argmin(((drawn[:, None] - points) ** 2).sum(-1), axis=1)
    counts = np.bincount(nearest, minlength=4)
    assert counts[3] == 0
    assert stats.chisquare(counts[:3], n * np.asarray(weight[:3]) / sum(weight)).pvalue > 1e-4
    noise = drawn - points[nearest]
    if kernel == "gaussian":
        assert stats.kstest(noise.ravel() / 0.8, "norm").pvalue > 1e-4
    else:
        radius = np.sqrt((noise**2).sum(axis=1)) / 0.8
        assert radius.max() <= 1 + 1e-4 and stats.kstest(radius**2, "uniform").pvalue > 1e-4
        assert stats.kstest(np.arctan2(*noise.T) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-4


def test_a_bandwidth_by_rule_is_that_of_scipy_in_one_dimension():
    x = np.random.default_rng(0).normal(2, 3, 150)
    for rule in ("scott", "silverman"):
        h = float(fitted(KernelDensity(1, rule=rule), x[:, None]).bandwidth)
        np.testing.assert_allclose(h, np.sqrt(stats.gaussian_kde(x, rule).covariance[0, 0]), rtol=1e-5)


def test_generation_zero_keeps_its_model_whatever_the_slots():
    family = KernelDensity(1, 0.5)
    params = fitted(family, np.arange(6.0)[:, None], [1, 1, 1, 1, 0, 0])
    at = jnp.linspace(-1, 5, 7)[:, None]
    for slots in (4, 5, 9):
        resized = family.resized(params, slots)
        assert resized.points.shape == (slots, 1) and resized.weight.shape == (slots,)
        np.testing.assert_allclose(family.log_prob(resized, at, {}), family.log_prob(params, at, {}), rtol=1e-6)


def test_a_contained_source_is_recovered_at_the_expected_rate():
    """A normal's own convolution is contained with h → 0; with h = M^(-1/5) the squared error of the density falls as M^(-4/5)."""
    at = jnp.linspace(-2, 2, 41)[:, None]
    truth = np.exp(-0.5 * np.asarray(at)[:, 0] ** 2) / np.sqrt(2 * np.pi)
    errors = []
    for m in (100, 3200):
        family = KernelDensity(1)

        def one(key, m=m, family=family):
            params = family.fit(KEY, None, Slots.of(jax.random.normal(key, (m, 1)), 0), {})[0]
            return jnp.mean((jnp.exp(family.log_prob(params, at, {})) - truth) ** 2)

        errors.append(np.asarray(jax.lax.map(one, jax.random.split(KEY, 100))).mean())
    assert abs(np.log(errors[0] / errors[1]) / np.log(32) - 0.8) < 0.12


@pytest.mark.parametrize(
    "change, field",
    [
        ({"bandwidth": 0.0}, "family.bandwidth"),
        ({"bandwidth": -1.0}, "family.bandwidth"),
        ({"bandwidth": float("nan")}, "family.bandwidth"),
        ({"bandwidth": "wide"}, "family.bandwidth"),
        ({"rule": "thumb"}, "family.rule"),
        ({"kernel": "cosine"}, "family.kernel"),
        ({"dim": 3}, "family.dim"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(change, field):
    good = cj.Experiment(cj.sources.Normal(2), KernelDensity(2, 0.5), cj.regimes.Replace(), 10, 1)
    cj.resolve(good)
    with pytest.raises(cj.ConfigError) as error:
        cj.resolve(cj.varied(good, family=replace(good.family, **change)))
    assert error.value.field == field and "\n" not in str(error.value)
    with pytest.raises(cj.ConfigError, match="decoding"):
        cj.resolve(cj.varied(good, decoding=cj.decoding.SamplingBias(0.5)))
