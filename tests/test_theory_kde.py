"""Recursions of kernel densities and mixtures against plain NumPy chains, printed numbers, and our own chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.decoding import SamplingBias
from collapse_jax.experiment import Experiment, advance, initial_chain, resolve
from collapse_jax.families import GaussianMixture, KernelDensity
from collapse_jax.regimes import Accumulate, Mix, Replace
from collapse_jax.schedules import Linear
from collapse_jax.sources import EightGaussians, Normal, TwoMoons
from collapse_jax.theory import kde, predict, shares

CHAINS = 10_000


def close(values, expected):
    """Means over chains [chains, generations] within 4 standard errors."""
    return (np.abs(values.mean(axis=0) - expected) < 4 * values.std(axis=0) / np.sqrt(len(values))).all()


def simulated(regime, sizes, h=None, rule=None):
    """Model variance and squared error of the mean of NumPy chains with Gaussian kernels in one dimension: [chains, fits]."""
    rng, every = np.random.default_rng(0), np.arange(CHAINS)[:, None]
    data, variance, error = rng.normal(size=(CHAINS, sizes[0])), [], []
    for t in range(len(sizes)):
        n = data.shape[1]
        width = np.full(CHAINS, h) if rule is None else kde.factor(rule, n, 1) * data.std(axis=1, ddof=1)
        variance.append(data.var(axis=1) + width**2)
        error.append(data.mean(axis=1) ** 2)
        if t + 1 < len(sizes):
            chosen = rng.integers(n, size=(CHAINS, sizes[t + 1]))
            new = data[every, chosen] + width[:, None] * rng.normal(size=chosen.shape)
            data = np.concatenate([data, new], axis=1) if isinstance(regime, Accumulate) else new
    return np.array(variance).T, np.array(error).T


@pytest.mark.parametrize("regime", [Replace(), Accumulate()], ids=["replace", "accumulate"])
def test_recursions_hold_for_plain_chains(regime):
    sizes = np.array([12, 20, 8, 15, 10])
    for kernel in ({"h": 0.5}, {"rule": "scott"}, {"rule": "silverman"}):
        variance, error = simulated(regime, sizes, **kernel)
        growth = (lambda n, rule=kernel["rule"]: kde.by_rule(rule, "gaussian", n, 1)) if "rule" in kernel else np.ones_like
        expected = kde.carried(regime, sizes, kernel.get("h", 0.0) ** 2, growth)
        assert close(variance, expected[0]) and close(error, expected[1])


def test_numbers_as_printed():
    """theory's checked column: h = ½, M = 100, ten generations; Scott's rule, M = 100, thirty; h = .05."""
    hundred = np.full(301, 100)
    points = lambda h: kde.carried(Replace(), hundred, h * h)[0] - h * h
    assert np.isclose(points(0.5)[10], 3.262, atol=5e-4)
    grown = kde.carried(Replace(), hundred[:31], growth=lambda n: kde.by_rule("scott", "gaussian", n, 1))[0]
    assert round(grown[30] / grown[0]) == 64
    assert np.isclose(points(0.05)[206], 0.34, atol=2e-3) and np.isclose(kde.limit(100, 0.05**2), 0.2475)
    late = kde.carried(Replace(), np.full(3000, 100), 0.25)[0][-1] - 0.25
    assert np.isclose(late, kde.limit(100, 0.25), rtol=1e-8)


def test_a_chain_spreads_or_shrinks_with_its_bandwidth():
    """10,000 chains of M = 20: they grow from v0 = 1 - 1/M where h²(M-1) > 1, and shrink where it is less."""
    for h, sign in ((0.15, -1), (0.35, 1)):
        points = simulated(Replace(), np.full(6, 20), h=h)[0][:, [0, -1]] - h * h
        step, limit = points[:, 1] - points[:, 0], kde.limit(20, h * h)
        assert sign * step.mean() > 4 * step.std() / np.sqrt(CHAINS) and np.sign(limit - 1) == sign


def test_without_a_kernel_it_is_the_gaussian_of_maximum_likelihood():
    sizes = np.array([10, 7, 30, 12])
    for regime in (Replace(), Accumulate()):
        for ours, other in zip(kde.carried(regime, sizes), shares.carried(regime, sizes, "mle"), strict=True):
            assert np.allclose(ours, other)
    assert kde.carried(Mix(), sizes) is None


def records(e, chains):
    """Of every chain and generation: [chains, generations + 1]."""
    e = resolve(e)

    def run(key):
        step = lambda chain, t: advance(e, {}, chain, t)
        return jax.lax.scan(step, initial_chain(e, {}, key), jnp.arange(e.generations + 1))[1]

    return jax.tree.map(np.asarray, jax.jit(lambda keys: jax.lax.map(run, keys))(jax.random.split(jax.random.key(2), chains)))


NAMES = ("trace_ratio", "mean_sq_error")


@pytest.mark.parametrize(
    "source, family, regime",
    [
        (Normal(1), KernelDensity(1, 0.5), Replace()),
        (TwoMoons(0.1), KernelDensity(2, 0.4, kernel="tophat"), Accumulate()),
        (TwoMoons(0.1), KernelDensity(2, rule="silverman", kernel="tophat"), Replace()),
        (EightGaussians(), KernelDensity(2), Accumulate()),
        (EightGaussians(), GaussianMixture(3, 2, "full", reg_covar=0.02), Replace()),
        (TwoMoons(0.1), GaussianMixture(2, 2, "tied", reg_covar=0.02), Accumulate()),
        (Normal(2), GaussianMixture(2, 2, "spherical"), Mix(kept="fixed")),
    ],
    ids=lambda x: type(x).__name__,
)
def test_our_chains_follow_whatever_the_sources_shape(source, family, regime):
    sizes = 40 if isinstance(regime, Mix) else Linear(30, 5)
    e, chains = Experiment(source, family, regime, sizes, 5, metrics=NAMES), 500
    found, expected = records(e, chains), predict(e, chains)
    for column in NAMES:
        prediction = expected[column][0]
        assert prediction.testable.all() and close(found[column], prediction.values), column


def test_what_is_predicted_and_what_is_not():
    kernel = Experiment(Normal(2), KernelDensity(2), Replace(), 50, 3)
    assert set(predict(kernel)) == set(NAMES) and predict(kernel)["trace_ratio"][0].kind == "exact"
    again = predict(resolve(kernel))
    assert np.allclose(again["trace_ratio"][0].values, predict(kernel)["trace_ratio"][0].values, rtol=1e-6)
    assert predict(Experiment(Normal(2), KernelDensity(2), Mix(), 50, 3)) == {}
    mixture = GaussianMixture(2, 2)
    assert predict(Experiment(Normal(2), mixture, Mix(), 50, 3))["trace_ratio"][0].kind == "asymptotic"
    assert predict(Experiment(Normal(2), mixture, Replace(), 50, 3, decoding=SamplingBias(0.9))) == {}
