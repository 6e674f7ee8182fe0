"""Closed forms of linear regression against chains of the engine and against drawn matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.data import Slots
from collapse_jax.experiment import Experiment, advance, initial_chain, resolve
from collapse_jax.families import LinearRegression, LogisticRegression
from collapse_jax.families.regression import LinearParams
from collapse_jax.regimes import Accumulate, Mix, Replace
from collapse_jax.schedules import Linear
from collapse_jax.sources import LinearTask, LogisticTask
from collapse_jax.struct import replace
from collapse_jax.theory import predict, regression

D, T, LAST = 10, 50, 10
PLAIN = Experiment(LinearTask(D, noise=1.0), LinearRegression(D), Replace(), T, LAST)


def chains(experiment, number, seed=0):
    """excess_risk of `number` chains: [number, generations + 1]."""
    e = resolve(experiment)

    def run(key):
        step = lambda chain, t: advance(e, {}, chain, t)
        return jax.lax.scan(step, initial_chain(e, {}, key), jnp.arange(e.generations + 1))[1]["excess_risk"]

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(seed), number)), np.float64)


REUSED = LinearRegression(D, reuse_inputs=True)
CASES = {
    "replace": PLAIN,
    "replace, other noise passed on, growing": replace(PLAIN, family=LinearRegression(D, noise=0.5), samples=Linear(40, 10)),
    "replace, reused inputs": replace(PLAIN, family=REUSED),
    "accumulate": replace(PLAIN, regime=Accumulate()),
    "accumulate, growing": replace(PLAIN, regime=Accumulate(), samples=Linear(40, 10)),
    "accumulate, reused inputs": replace(PLAIN, family=REUSED, regime=Accumulate()),
    "ridge": replace(PLAIN, family=LinearRegression(D, ridge=0.1)),
}


@pytest.mark.parametrize("name", CASES)
def test_mean_excess_is_what_theory_says(name):
    e, number = CASES[name], 10_000
    found = chains(e, number)
    (prediction,) = predict(e, number)["excess_risk"]
    assert prediction.testable.all() and (prediction.kind == "exact") == (name != "ridge")
    error = found.std(axis=0) / np.sqrt(number)
    # The ridge's closed form is itself off by up to 0.1 % here.
    assert (np.abs(found.mean(axis=0) - prediction.values) < 4 * error + 1e-3 * prediction.values * (name == "ridge")).all()


def test_samples_follow_the_same_law():
    e = replace(PLAIN, family=LinearRegression(3, statistics=False), source=LinearTask(3), regime=Accumulate(), samples=20)
    e = replace(e, generations=4)
    found = chains(e, 10_000)
    error = found.std(axis=0) / np.sqrt(10_000)
    assert (np.abs(found.mean(axis=0) - predict(e)["excess_risk"][0].values) < 4 * error).all()


def test_published_numbers():
    sizes = np.full(11, T)
    # Ten synthetic generations add 10 · 10/39; the first ten fits of accumulate leave 10/39 Σ 1/i².
    assert np.isclose(np.diff(regression.replace(sizes, D, 1.0, 1.0)[[0, 10]])[0], 2.564, atol=5e-4)
    assert np.isclose(regression.accumulate_reused(sizes, D, 1.0, 1.0)[9], 0.3974, atol=5e-5)
    assert np.isclose(regression.accumulate_reused(np.full(10**6, T), D, 1.0, 1.0)[-1], 10 / 39 * np.pi**2 / 6, rtol=1e-5)
    fresh, reused = (law(sizes, D, 1.0, 1.0) for law in (regression.accumulate, regression.accumulate_reused))
    assert fresh[0] == reused[0] and (fresh[1:] < reused[1:]).all()


def test_recovery_goes_like_one_over_t():
    means = [chains(replace(PLAIN, samples=n, generations=0), 4000).mean() for n in (111, 1011)]
    # d/(T-d-1): 1/10 and 1/100, each with a standard error of √(2/d)/√4000 = 0.7 %, heavier tails not counted.
    assert abs(means[0] / means[1] - 10) < 4 * 10 * 0.01 * np.sqrt(2)


def test_ridge_moments_are_those_of_drawn_matrices():
    rng = np.random.default_rng(1)
    for samples, dim in ((50, 10), (20, 10)):
        x = rng.normal(size=(10_000, samples, dim))
        s = np.linalg.eigvalsh(np.swapaxes(x, 1, 2) @ x / samples)
        for lam in (0.01, 0.1, 1.0, 10.0):
            r = s / (s + lam)
            drawn = np.stack([r.mean(axis=1), (r * r).mean(axis=1), np.sum(s / (s + lam) ** 2, axis=1) / samples])
            error = drawn.std(axis=1) / np.sqrt(len(x))
            law = np.array(regression.ridge_moments(samples, dim, lam))
            assert (np.abs(law - drawn.mean(axis=1)) < 4 * error + 2 / samples**2 * law).all(), (samples, lam)  # the next order
    # Without a ridge it is the inverse Wishart's mean.
    np.testing.assert_allclose(regression.ridge_moments(50, 10, 1e-9), [1, 1, 10 / 39], rtol=1e-6)


def test_ridge_goes_over_into_the_unpenalised_law():
    sizes = np.full(5, T)
    thin = regression.ridge(sizes, D, 1e-7, 1.0, 1.0, 0.5)
    np.testing.assert_allclose(thin, regression.replace(sizes, D, 1.0, 0.5), rtol=1e-5)


def test_a_static_mix_never_recovers():
    # A fifth of the labels are another rule's: the fit goes to the mixture of the rules, however many samples there are.
    n, p, source = 200_000, 0.2, LinearTask(5, noise=0.1)
    other = source.weight + jnp.asarray([0.3, -0.1, 0, 0, 0.2])
    key, family = jax.random.key(2), LinearRegression(5, noise=0.1)
    parts = source.draw(key, int((1 - p) * n), {}), family.sample(jax.random.key(3), LinearParams(other), int(p * n))
    params, _ = family.fit(key, LinearParams(jnp.zeros(5)), Slots.of(jnp.concatenate(parts), 0), {})
    excess = float(family.measure(key, params, None, {"source": source})["excess_risk"])
    law = regression.static_mix(p, 0.3**2 + 0.1**2 + 0.2**2)
    # What the fit is off by: √(variance of a residual / n) a coefficient, twice √law of it in the square.
    assert abs(excess - law) < 4 * 2 * np.sqrt(law * (0.1**2 + 0.2 * 0.14) / n) + 5 * 0.04 / n


def test_a_static_mix_in_ten_thousand_fits():
    """What is left of p² c² as T → ∞: from T = 100 and 200, without the order 1/T; the next is 6/T² of c² and less."""
    rng, d, p, fits, means, spread = np.random.default_rng(5), 3, 0.3, 10_000, [], 0.0
    shift = np.array([0.5, -0.5, 1.0])
    for samples in (100, 200):
        x = rng.normal(size=(fits, samples, d))
        theirs = np.arange(samples) < p * samples
        y = (x @ shift) * theirs + 0.1 * rng.normal(size=(fits, samples))
        w = np.linalg.solve(np.swapaxes(x, 1, 2) @ x, (np.swapaxes(x, 1, 2) @ y[..., None]))[..., 0]
        excess = (w**2).sum(axis=1)
        means.append(excess.mean())
        spread = np.hypot((1 + (samples == 200)) * excess.std() / np.sqrt(fits), spread)
    law = regression.static_mix(p, shift @ shift)
    assert abs(2 * means[1] - means[0] - law) < 4 * spread + 6 / 100**2 * (shift @ shift)
    assert abs(means[1] - law) < 6 / 200 and law > 0


@pytest.mark.parametrize(
    "change",
    [
        {"family": LinearRegression(D, adaptive=True)},
        {"family": LinearRegression(D, solver="sgd")},
        {"family": LinearRegression(D, ridge=0.1), "regime": Accumulate()},
        {"family": LinearRegression(D, ridge=0.1), "samples": 12},
        {"source": LinearTask(D, curvature=0.5)},
        {"regime": Mix()},
        {"samples": 11},
        {"source": LogisticTask(D), "family": LogisticRegression(D)},
    ],
)
def test_nothing_is_said_where_no_closed_form_holds(change):
    assert predict(replace(PLAIN, **change)) == {}


def test_means_without_a_fourth_moment_are_not_testable():
    assert not predict(replace(PLAIN, samples=17))["excess_risk"][0].testable.any()
    assert predict(replace(PLAIN, samples=18))["excess_risk"][0].testable.all()
