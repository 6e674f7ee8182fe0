"""Gaussian mixtures (test_em has their fit against scikit-learn's): their density, recovery, sampling bias, and what cannot be fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made import overlapping

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.families import GaussianMixture
from collapse_jax.struct import replace

KEY = jax.random.key(0)
KINDS = ("full", "diag", "spherical", "tied")


def fitted(family, x, count=None):
    train = Slots.of(jnp.asarray(x), 0, count=count)
    return jax.jit(lambda train: family.fit(KEY, family.init(KEY, {}), train, {}))(train)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one_and_samples_follow_it(kind):
    family = GaussianMixture(3, 2, kind, tol=1e-5)
    params, info = fitted(family, overlapping())
    side = jnp.linspace(-6, 9, 150)
    grid = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
    p = np.exp(np.asarray(family.log_prob(params, grid, {}), float))
    assert abs(p.sum() * float(side[1] - side[0]) ** 2 - 1) < 1e-3
    n = 20_000
    for lam in (1.0, 0.5):
        drawn = np.asarray(family.sample(KEY, params, n, cj.decoding.SamplingBias(lam)))
        narrowed = replace(params, factors=params.factors * np.sqrt(lam))
        mean, covariance = (np.asarray(m) for m in family.mixture(narrowed).moments())
        assert (np.abs(drawn.mean(axis=0) - mean) < 4 * np.sqrt(np.diag(covariance) / n)).all()
        assert np.abs(np.cov(drawn.T) - covariance).max() < 4 * 2 * covariance.max() / np.sqrt(n)
    assert int(info["iterations"]) > 2


def test_a_mixture_it_contains_is_recovered_and_the_divergence_falls_as_one_over_the_samples():
    """KL is about (free parameters)/(2M) = 17/(2M): three components in two dimensions have 17."""
    source = cj.sources.Blobs([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], 0.7)
    family = GaussianMixture(3, 2, tol=1e-5, iterations=300)
    test = source.draw(jax.random.key(9), 4000, {})
    truth = source.log_prob(test, {})

    @jax.jit
    def excess(key, count):
        train = Slots.of(source.draw(key, 1600, {}), 0, count=count)
        return jnp.mean(truth - family.log_prob(family.fit(key, family.init(key, {}), train, {})[0], test, {}))

    for count in (200, 1600):
        values = np.asarray(jax.lax.map(lambda key, count=count: excess(key, count), jax.random.split(KEY, 40)))
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - 17 / (2 * count)) < 4 * error + 0.25 * 17 / (2 * count), (count, values.mean())


def test_components_without_samples_stay_finite():
    far = np.concatenate([np.zeros((30, 2)), np.full((30, 2), 1e3)]).astype(np.float32)
    for x in (far, np.zeros((40, 2), np.float32)):
        for kind in KINDS:
            family = GaussianMixture(4, 2, kind)
            params, _ = fitted(family, x)
            assert not bool(family.failed(params)), kind
            assert np.isfinite(np.asarray(family.sample(KEY, params, 100))).all()
            np.testing.assert_allclose(params.weights.sum(), 1, rtol=1e-5)


def test_narrow_components_keep_their_variance_beside_a_far_one():
    """Deviations of 0.01 at a distance of 1: the published end state; exact to a thousandth."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.01, (500, 2)), 1 + rng.normal(0, 0.01, (500, 2))]).astype(np.float32)
    family = GaussianMixture(2, 2, reg_covar=0.0, tol=1e-5)
    params, _ = fitted(family, x)
    found = np.sqrt(np.asarray(jnp.diagonal(params.covariances(), axis1=1, axis2=2)))
    order = np.argsort(np.asarray(params.means)[:, 0])
    np.testing.assert_allclose(found[order], [x[:500].std(axis=0), x[500:].std(axis=0)], rtol=1e-3)


def test_chains_of_one_component_are_those_of_a_gaussian():
    """K = 1 has the mle's law: E of the trace ratio is (1 - 1/M)^(t + 1), but for the floor."""
    e = cj.resolve(
        cj.Experiment(cj.sources.Normal(2), GaussianMixture(1, 2), cj.regimes.Replace(), 20, 4, metrics=["trace_ratio"])
    )

    def run(key):
        step = lambda chain, t: cj.advance(e, {}, chain, t)
        return jax.lax.scan(step, cj.initial_chain(e, {}, key), jnp.arange(5))[1]["trace_ratio"]

    values = np.asarray(jax.jit(lambda keys: jax.lax.map(run, keys))(jax.random.split(KEY, 1500)))
    error = values.std(axis=0) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - (1 - 1 / 20) ** np.arange(1, 6)) < 4 * error).all()


@pytest.mark.parametrize(
    "change, field",
    [
        ({"family": GaussianMixture(0, 2)}, "family.components"),
        ({"family": GaussianMixture(2, 3)}, "family.dim"),
        ({"family": GaussianMixture(2, 2, "banded")}, "family.covariance"),
        ({"family": GaussianMixture(2, 2, tol=-1.0)}, "family.tol"),
        ({"family": GaussianMixture(2, 2, reg_covar=-1.0)}, "family.reg_covar"),
        ({"family": GaussianMixture(2, 2, seeding="random")}, "family.seeding"),
        ({"samples": 1}, "samples"),
        ({"decoding": cj.decoding.Greedy()}, "decoding"),
        ({"source": cj.sources.EightGaussians(labels=True)}, "source"),
        ({"source": cj.sources.Zipf(5)}, "family.dim"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(change, field):
    good = {"source": cj.sources.Normal(2), "family": GaussianMixture(2, 2), "regime": cj.regimes.Replace(), "samples": 10}
    cj.resolve(cj.Experiment(**good, generations=1))
    with pytest.raises(cj.ConfigError) as error:
        cj.resolve(cj.Experiment(**good | change, generations=1))
    assert error.value.field == field and "\n" not in str(error.value)
