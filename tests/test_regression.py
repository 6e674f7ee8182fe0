"""Linear regression: fits against LAPACK and scikit-learn, statistics against samples, reused inputs, SGD, and refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made import labelled as data
from scipy import stats
from sklearn.linear_model import Ridge

from collapse_jax.data import Slots
from collapse_jax.decoding import Greedy
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment, advance, initial_chain, resolve
from collapse_jax.families import Epochs, LinearRegression, Steps
from collapse_jax.families.gram import LeastSquares
from collapse_jax.families.regression import RIDGES, LinearParams
from collapse_jax.regimes import Accumulate, Fresh, Mix, Replace
from collapse_jax.schedules import Linear
from collapse_jax.sources import LinearTask, Normal
from collapse_jax.struct import replace

KEY = jax.random.key(5)


@functools.partial(jax.jit, static_argnums=1)
def trajectories(e, number, seed):
    """States and records of `number` chains; one program serves experiments that differ in numbers alone."""
    shared = e.source.load(None)

    def run(key):
        step = lambda chain, t: advance(e, shared, chain, t)
        return jax.lax.scan(step, initial_chain(e, shared, key), jnp.arange(e.generations + 1))

    return jax.vmap(run)(jax.random.split(jax.random.key(seed), number))


def chains(experiment, number, seed=0):
    """Records [number, generations + 1] of every metric."""
    return jax.tree.map(np.asarray, trajectories(resolve(experiment), number, seed)[1])


def fitted(family, slots, key=KEY):
    params, info = jax.jit(family.fit)(key, LinearParams(jnp.zeros(family.dim)), slots, {})
    return np.asarray(params.weights), info


@pytest.mark.parametrize(("n", "noise"), [(50, 1.0), (50, 1e-3), (13, 1.0)])
def test_fit_is_least_squares_and_weight_is_repetition(n, noise):
    slots, repeated = data(n, 10, noise)
    right = np.linalg.lstsq(repeated[:, :-1], repeated[:, -1], rcond=None)[0]
    # Float32 labels and inputs of size 3 at 6e-8 each, times the inverse of the smallest singular value over √n.
    least = np.linalg.svd(repeated[:, :-1], compute_uv=False)[-1] / np.sqrt(len(repeated))
    np.testing.assert_allclose(fitted(LinearRegression(10), slots)[0], right, atol=2e-6 / least)


def test_ridge_is_that_of_scikit_learn_in_units_of_the_total_weight():
    for n, ridge in ((50, 0.1), (50, 10.0), (6, 0.3)):  # also with fewer samples than dimensions
        slots, repeated = data(n, 10)
        right = Ridge(alpha=ridge * len(repeated), fit_intercept=False).fit(repeated[:, :-1], repeated[:, -1]).coef_
        np.testing.assert_allclose(fitted(LinearRegression(10, ridge=ridge), slots)[0], right, atol=1e-5)


def test_adaptive_ridge_has_the_least_generalised_cross_validation():
    for n, noise in ((30, 0.3), (30, 5.0), (12, 1.0)):
        slots, repeated = data(n, 10, noise)
        x, y = repeated[:, :-1], repeated[:, -1]
        scores, fits = [], []
        for ridge in RIDGES:
            hat = x @ np.linalg.solve(x.T @ x + len(x) * ridge * np.eye(10), x.T)
            scores.append(np.mean((y - hat @ y) ** 2) / (1 - np.trace(hat) / len(x)) ** 2)
            fits.append(Ridge(alpha=ridge * len(x), fit_intercept=False).fit(x, y).coef_)
        found, info = fitted(LinearRegression(10, adaptive=True), slots)
        np.testing.assert_allclose(info["ridge"], RIDGES[np.argmin(scores)], rtol=1e-6)
        np.testing.assert_allclose(found, fits[np.argmin(scores)], atol=1e-4)


SMALL = Experiment(LinearTask(3, noise=0.5), LinearRegression(3), Replace(), 9, 3)
METRICS = ("excess_risk", "weight_norm")


def agree(one, other, metrics=METRICS):
    for name in metrics:
        for t in (0, 1, 3):
            assert stats.ks_2samp(one[name][:, t], other[name][:, t]).pvalue > 1e-4, (name, t)


def test_fits_statistics_and_samples_agree_in_law():
    fits = chains(SMALL, 3000)
    gram = chains(replace(SMALL, family=LinearRegression(3, refits=False)), 3000, seed=1)
    samples = chains(replace(SMALL, family=LinearRegression(3, statistics=False)), 3000, seed=2)
    agree(fits, gram)
    agree(fits, samples)
    # The ridge is a leaf: the programs of the last two serve it too.
    ridge = {"ridge": 0.3, "refits": False}
    gram = chains(replace(SMALL, family=LinearRegression(3, **ridge)), 3000, seed=3)
    samples = chains(replace(SMALL, family=LinearRegression(3, statistics=False, ridge=0.3)), 3000, seed=4)
    agree(gram, samples)
    assert gram["weight_norm"][:, 3].mean() < fits["weight_norm"][:, 3].mean()


def test_reused_inputs_stay_in_place_and_statistics_know_them():
    family = LinearRegression(3, reuse_inputs=True, statistics=False)
    e = replace(SMALL, family=family, regime=Accumulate())
    (state, records) = trajectories(resolve(e), 1000, 0)
    samples = np.asarray(state.store.slots.samples)[:5]
    first = samples[:, :9, :3]
    for t in range(1, 5):
        np.testing.assert_array_equal(samples[:, 9 * t : 9 * (t + 1), :3], first)
        assert (samples[:, 9 * t : 9 * (t + 1), 3] != samples[:, :9, 3]).all()
    exact = chains(replace(e, family=LinearRegression(3, reuse_inputs=True)), 1000, seed=1)
    agree(jax.tree.map(np.asarray, records), exact)


def test_sgd_goes_to_the_least_squares_fit_and_never_sees_empty_slots():
    slots, repeated = data(40, 3, noise=0.1)
    right = np.linalg.lstsq(repeated[:, :-1], repeated[:, -1], rcond=None)[0]
    far = LinearRegression(3, solver="sgd", budget=Steps(2000), batch=20, learning_rate=0.02)
    # In the end every coefficient has variance lr σ² / (2 batch) about the fit, a deviation of 0.0023.
    found, info = fitted(far, slots)
    np.testing.assert_allclose(found, right, atol=4 * 0.0023)
    assert int(info["steps"]) == 2000
    few = LinearRegression(3, solver="sgd", budget=Steps(5), batch=20, learning_rate=0.02)
    assert np.linalg.norm(fitted(few, slots)[0]) < 0.3 * np.linalg.norm(right)
    longer = fitted(LinearRegression(3, solver="sgd", budget=Epochs(4), batch=20), slots)[1]
    assert int(longer["steps"]) == 8  # 40 filled slots are two batches


def test_sgd_draws_in_proportion_to_weights():
    # Two points with contradicting labels: the mean over fits is their weighted mean, 0.75.
    samples = jnp.asarray([[1.0, 0.0], [1.0, 1.0]])
    slots = Slots(samples, jnp.asarray([0.5, 1.5]), jnp.zeros(2, jnp.int32))
    family = LinearRegression(1, solver="sgd", budget=Steps(1), batch=1, learning_rate=1.0)
    keys = jax.random.split(KEY, 4000)
    found = jax.vmap(lambda key: family.fit(key, LinearParams(jnp.zeros(1)), slots, {})[0].weights)(keys)
    assert abs(float(found.mean()) - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 4000)


def test_risk_is_that_of_fresh_samples():
    source = LinearTask(4, noise=0.3, norm=2.0, curvature=0.7)
    params = LinearParams(jnp.asarray([1.0, 0.5, -0.2, 2.0]))
    found = LinearRegression(4).measure(KEY, params, None, {"source": source})
    x = np.asarray(source.draw(KEY, 200_000, {}), np.float64)
    square = (x[:, -1] - x[:, :-1] @ np.asarray(params.weights)) ** 2
    assert abs(square.mean() - 0.3**2 - float(found["excess_risk"])) < 4 * square.std() / np.sqrt(len(x))
    assert np.isclose(found["mean_sq_error"], np.sum((np.asarray(params.weights) - 1) ** 2))
    assert np.isclose(found["weight_norm"], np.linalg.norm(params.weights))


def test_log_density_is_that_of_inputs_and_label():
    family, params = LinearRegression(2, noise=0.5), LinearParams(jnp.asarray([1.0, -2.0]))
    rows = np.asarray(family.sample(KEY, params, 20))
    right = stats.norm.logpdf(rows[:, :2]).sum(axis=1) + stats.norm.logpdf(rows[:, 2], rows[:, :2] @ [1, -2], 0.5)
    np.testing.assert_allclose(family.log_prob(params, jnp.asarray(rows), {}), right, rtol=1e-5, atol=1e-5)


def test_inputs_of_generation_0_fit_the_slots_of_a_run():
    params = LinearParams(jnp.ones(2), jnp.eye(2), jnp.arange(8.0).reshape(4, 2))
    family = LinearRegression(2, reuse_inputs=True)
    assert np.asarray(family.resized(params, 3).inputs).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert np.asarray(family.resized(params, 5).inputs).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [0, 0]]
    assert replace(family, statistics=True).resized(params, 0).inputs is None


def test_what_is_kept_follows_the_regime():
    def kept(**changes):
        family = resolve(replace(SMALL, **changes)).family
        return family.statistics, family.refits

    assert kept() == (True, True)
    assert kept(regime=Accumulate()) == kept(family=LinearRegression(3, ridge=0.1)) == (True, False)
    assert kept(source=LinearTask(3, curvature=0.5))[0] is kept(family=LinearRegression(3, solver="sgd"))[0] is False
    chain = jax.eval_shape(lambda: initial_chain(resolve(SMALL), {}, KEY))
    assert isinstance(chain.store, LeastSquares)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"samples": 3}, "samples"),
        ({"family": LinearRegression(4)}, "family.dim"),
        ({"family": LinearRegression(3, ridge=-0.1)}, "family.ridge"),
        ({"family": LinearRegression(3, ridge=0.1, adaptive=True)}, "family.ridge"),
        ({"family": LinearRegression(3, noise=-1.0)}, "family.noise"),
        ({"family": LinearRegression(3, solver="newton")}, "family.solver"),
        ({"family": LinearRegression(3, budget=Steps(5))}, "family.budget"),
        ({"family": LinearRegression(3, solver="sgd", learning_rate=0.0)}, "family.learning_rate"),
        ({"family": LinearRegression(3, solver="sgd", statistics=True)}, "family.statistics"),
        ({"family": LinearRegression(3, solver="sgd", reuse_inputs=True)}, "family.reuse_inputs"),
        ({"family": LinearRegression(3, reuse_inputs=True), "regime": Mix()}, "family.reuse_inputs"),
        ({"family": LinearRegression(3, reuse_inputs=True), "regime": Fresh(2)}, "family.reuse_inputs"),
        ({"family": LinearRegression(3, reuse_inputs=True), "samples": Linear(9, 1)}, "family.reuse_inputs"),
        ({"family": LinearRegression(3, reuse_inputs=True), "oversample": 2.0}, "family.reuse_inputs"),
        ({"family": LinearRegression(3, statistics=True), "source": LinearTask(3, curvature=1.0)}, "family.statistics"),
        ({"budget": Steps(5)}, "budget"),
        ({"source": Normal(3)}, "source"),
        ({"decoding": Greedy()}, "decoding"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, field):
    with pytest.raises(ConfigError) as error:
        resolve(replace(SMALL, **change))
    assert error.value.field == field
