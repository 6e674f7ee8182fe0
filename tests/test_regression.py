"""Linear and logistic regression against scikit-learn and NumPy, raw samples against statistics, chains against theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression as PeerLogistic
from sklearn.linear_model import Ridge

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.families import LinearRegression, LogisticRegression, Steps
from collapse_jax.families.logistic import accuracy, excess_log_loss
from collapse_jax.families.regression import RIDGES
from collapse_jax.sources import LinearTask, LogisticTask
from collapse_jax.struct import replace
from collapse_jax.theory import predict, regression

KEY, R = jax.random.key(0), cj.regimes


def slots(x, y, weight=None):
    samples = jnp.asarray(np.c_[x, y], jnp.float32)
    return Slots(samples, jnp.ones(len(x)) if weight is None else jnp.asarray(weight, jnp.float32), jnp.zeros(len(x), jnp.int32))


def data(n=80, d=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x @ np.arange(1.0, d + 1) + rng.normal(size=n), rng.integers(0, 3, n)


def fit(family, train):
    params, info = family.fit(KEY, family.init(KEY, {"slots": len(train.weight)}), train, {})
    return np.asarray(getattr(params, "weights", params)), info


def test_least_squares_and_ridge_are_those_of_numpy_and_scikit_learn():
    x, y, weight = data()
    np.testing.assert_allclose(fit(LinearRegression(4), slots(x, y))[0], np.linalg.lstsq(x, y, rcond=None)[0], rtol=2e-5)
    # Ours is divided by the sum of weights, scikit-learn's is not.
    peer = Ridge(alpha=0.3 * weight.sum(), fit_intercept=False).fit(x, y, weight).coef_
    np.testing.assert_allclose(fit(LinearRegression(4, ridge=0.3), slots(x, y, weight))[0], peer, rtol=2e-5)
    repeated = slots(np.repeat(x, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(fit(LinearRegression(4, ridge=0.3), repeated)[0], peer, rtol=2e-5)


def test_an_adaptive_ridge_is_that_of_generalised_cross_validation():
    for seed, n in ((1, 12), (2, 40)):
        x, y, _ = data(n, 8, seed)
        y = y + 6 * np.random.default_rng(seed).normal(size=n)
        scores = []
        for ridge in RIDGES:
            hat = x @ np.linalg.solve(x.T @ x / n + ridge * np.eye(8), x.T) / n
            scores.append(n * np.sum((y - hat @ y) ** 2) / (n - np.trace(hat)) ** 2)
        weights, info = fit(LinearRegression(8, adaptive=True), slots(x, y))
        best = RIDGES[int(np.argmin(scores))]
        np.testing.assert_allclose(float(info["ridge"]), best, rtol=1e-4)
        np.testing.assert_allclose(weights, Ridge(alpha=best * n, fit_intercept=False).fit(x, y).coef_, rtol=2e-3, atol=2e-3)


def test_logistic_regression_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y, weight = (rng.random(200) < 1 / (1 + np.exp(-x @ [1.0, -2.0, 0.5]))).astype(float), rng.integers(0, 3, 200)
    for ridge in (1e-3, 0.1):
        peer = PeerLogistic(C=1 / (ridge * weight.sum()), fit_intercept=False, tol=1e-10, max_iter=1000)
        peer.fit(x, y, weight)
        mine = fit(LogisticRegression(3, ridge=ridge), slots(x, y, weight))[0]
        np.testing.assert_allclose(mine, peer.coef_[0], rtol=1e-3, atol=1e-4)


def test_separable_data_without_a_ridge_stays_finite_and_is_separated():
    x = np.random.default_rng(0).normal(size=(40, 2))
    y = (x[:, 0] + x[:, 1] > 0).astype(float)
    weights = fit(LogisticRegression(2), slots(x, y))[0]
    assert np.isfinite(weights).all() and ((x @ weights > 0) == (y > 0)).all()


def test_excess_log_loss_and_accuracy_are_those_of_simulation():
    rng, n = np.random.default_rng(0), 400_000
    x = rng.normal(size=(n, 3))
    truth, w = np.array([1.0, -0.5, 2.0]), np.array([0.5, 0.5, 1.0])
    p = 1 / (1 + np.exp(-x @ truth))
    loss = lambda w: np.logaddexp(0, x @ w) - p * (x @ w)
    gap = loss(w) - loss(truth)
    found = float(excess_log_loss(jnp.asarray(w, jnp.float32), jnp.asarray(truth, jnp.float32)))
    assert abs(found - gap.mean()) < 4 * gap.std() / np.sqrt(n)
    right = np.where(x @ w > 0, p, 1 - p)
    assert abs(float(accuracy(jnp.asarray(w), jnp.asarray(truth))) - right.mean()) < 4 * right.std() / np.sqrt(n)
    assert abs(float(excess_log_loss(jnp.asarray(truth), jnp.asarray(truth)))) < 1e-6


def chains(e, number, seed=0):
    e = cj.resolve(e)

    def run(key):
        step = lambda chain, t: cj.advance(e, {}, chain, t)
        return jax.lax.scan(step, cj.initial_chain(e, {}, key), jnp.arange(e.generations + 1))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(seed), number)))


ARMS = {
    "replace": (LinearRegression(10), R.Replace()),
    "accumulate": (LinearRegression(10), R.Accumulate()),
    "accumulate, inputs reused": (LinearRegression(10, reuse_inputs=True), R.Accumulate()),
    "replace, inputs reused": (LinearRegression(10, reuse_inputs=True), R.Replace()),
    "replace, ridge": (LinearRegression(10, ridge=0.2), R.Replace()),
}


@pytest.mark.parametrize("name", ARMS)
def test_chains_follow_theory(name):
    """d = 10, T = 50: 2.564 more after ten generations of replace, π²/6 times the first error at most where inputs are reused."""
    family, regime = ARMS[name]
    e = cj.Experiment(LinearTask(10), family, regime, 50, 10)
    number = 6000
    records, (law,) = chains(e, number), predict(e)["mean_sq_error"]
    error = records["mean_sq_error"].std(axis=0) / np.sqrt(number)
    slack = 1e-3 * law.values if law.kind == "asymptotic" else 0
    assert (np.abs(records["mean_sq_error"].mean(axis=0) - law.values) < 4 * error + slack).all()
    np.testing.assert_allclose(records["excess_risk"], records["mean_sq_error"], rtol=1e-6)


def test_the_published_figures_of_theory():
    first = regression.one_fit(50, 10)
    np.testing.assert_allclose(regression.replace(np.full(11, 50), 10, 1.0, 1.0)[-1] - first, 2.564, atol=1e-3)
    reused = regression.accumulate_reused(np.full(11, 50), 10, 1.0, 1.0)
    np.testing.assert_allclose(regression.accumulate_reused(np.full(20, 50), 10, 1.0, 1.0)[-1], 0.4094, atol=1e-3)
    assert (regression.accumulate(np.full(11, 50), 10, 1.0, 1.0)[1:] < reused[1:]).all()
    np.testing.assert_allclose(
        regression.accumulate_reused(np.full(10**5, 50), 10, 1.0, 1.0)[-1], first * np.pi**2 / 6, rtol=1e-4
    )


@pytest.mark.parametrize(
    "regime", [R.Replace(), R.Accumulate(), R.Fresh(20), R.Weighted(0.6), R.Mix(0.5, 0.0, 0.5, kept="fresh")]
)
def test_raw_samples_and_statistics_agree_in_law(regime):
    number, base = 1500, cj.Experiment(LinearTask(3, 0.7), LinearRegression(3), regime, 12, 3)
    family = base.family
    raw, exact = (
        chains(replace(base, family=replace(family, statistics=kept)), number, seed) for seed, kept in enumerate((False, True))
    )
    for name in ("mean_sq_error", "weight_norm"):
        for t in range(4):
            assert stats.ks_2samp(raw[name][:, t], exact[name][:, t]).pvalue > 1e-4, (name, t)


def test_a_mixture_of_rules_has_the_static_risk():
    """Share p2 of another rule's labels, T → ∞: p2² c² (Strong Model Collapse): .3² · 4 = .36, here with T = 4,000."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    y = x[:, 0] + np.where(np.arange(4000) < 1200, 2 * x[:, 1], 0) + 0.1 * rng.normal(size=4000)
    weights = fit(LinearRegression(2), slots(x, y))[0]
    risk = np.sum((weights - [1, 0]) ** 2)
    np.testing.assert_allclose(risk, regression.static_mix(0.3, 4.0), atol=0.05)


def test_a_few_steps_of_descent_fall_short_and_many_arrive():
    x, y, _ = data(400)
    exact = np.linalg.lstsq(x, y, rcond=None)[0]
    gaps = []
    for steps in (10, 100, 3000):
        family = LinearRegression(4, solver="sgd", budget=Steps(steps), learning_rate=0.02)
        weights, info = fit(family, slots(x, y))
        gaps.append(np.sum((weights - exact) ** 2))
        assert int(info["steps"]) == steps
    assert gaps[0] > 10 * gaps[1] > 10 * gaps[2] / 10 and gaps[2] < 0.05


@pytest.mark.parametrize("family, task", [(LinearRegression(3), LinearTask(3)), (LogisticRegression(3), LogisticTask(3))])
def test_a_rule_is_recovered_and_the_error_falls_as_one_over_the_samples(family, task):
    family = cj.resolve(cj.Experiment(task, family, R.Replace(), 100, 0)).family

    @jax.jit
    def error(key, count):
        train = Slots.of(task.draw(key, 3200, {}), 0, count=count)
        params = family.fit(key, family.init(key, {}), train, {})[0]
        return family.measure(key, params, None, {"source": task})["excess_risk"]

    keys = jax.random.split(KEY, 200)
    means = [np.asarray(jax.lax.map(lambda key, n=n: error(key, n), keys)) for n in (200, 3200)]
    ratio = means[0].mean() / means[1].mean()
    spread = np.sqrt(sum((m.std() / m.mean()) ** 2 / 200 for m in means))
    assert abs(ratio / 16 - 1) < 4 * spread + 0.08  # 0.08: the next order, d/T, at 200


def test_tasks_have_the_density_they_are_drawn_from():
    """E of log p is minus the entropy: the inputs' ½ d ln 2πe, and that of the label."""
    n = 50_000
    task = LinearTask(2, noise=0.5, norm=2.0, curvature=0.3)
    x = task.draw(KEY, n, {})
    np.testing.assert_allclose(x[:9], task.draw(KEY, 9, {}), rtol=1e-5, atol=1e-6)
    found = np.asarray(task.log_prob(x, {}))
    expected = -(1.5 * np.log(2 * np.pi * np.e) + np.log(0.5))
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(n)
    logistic = LogisticTask(2, 1.5)
    x = np.asarray(logistic.draw(KEY, n, {}))
    p = 1 / (1 + np.exp(-x[:, :2] @ np.asarray(logistic.weight)))
    assert abs((x[:, 2] - p).mean()) < 4 * 0.5 / np.sqrt(n) and set(x[:, 2]) == {0.0, 1.0}
    total = sum(np.exp(np.asarray(logistic.log_prob(jnp.asarray(np.c_[x[:50, :2], np.full(50, y)]), {}))) for y in (0.0, 1.0))
    np.testing.assert_allclose(total, stats.norm.pdf(x[:50, :2]).prod(axis=1), rtol=1e-4)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"family": LinearRegression(3)}, "family.dim"),
        ({"family": LinearRegression(2, ridge=-1.0)}, "family.ridge"),
        ({"family": LinearRegression(2, solver="newton")}, "family.solver"),
        ({"family": LinearRegression(2, adaptive=True, ridge=0.1)}, "family.ridge"),
        ({"family": LinearRegression(2, reuse_inputs=True), "regime": R.Fresh(3)}, "family.reuse_inputs"),
        ({"family": LinearRegression(2, noise=-1.0)}, "family.noise"),
        ({"samples": 2}, "samples"),
        ({"source": cj.sources.Normal(2)}, "source"),
        ({"family": LogisticRegression(2)}, "source"),
        ({"decoding": cj.decoding.SamplingBias(0.5)}, "decoding"),
        ({"family": cj.families.Gaussian(2)}, "source"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(change, field):
    good = {"source": LinearTask(2), "family": LinearRegression(2), "regime": R.Replace(), "samples": 10, "generations": 1}
    cj.resolve(cj.Experiment(**good))
    with pytest.raises(cj.ConfigError) as error:
        cj.resolve(cj.Experiment(**good | change))
    assert error.value.field == field and "\n" not in str(error.value)
