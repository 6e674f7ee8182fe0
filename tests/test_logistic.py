"""Logistic regression: fits against scikit-learn, exact risks, data without a minimum, chains, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression as Peer

from collapse_jax.data import Slots
from collapse_jax.decoding import Greedy
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment, advance, initial_chain, resolve
from collapse_jax.families import LogisticRegression
from collapse_jax.families.logistic import accuracy, excess_log_loss
from collapse_jax.regimes import Replace
from collapse_jax.sources import LinearTask, LogisticTask
from collapse_jax.struct import replace

KEY = jax.random.key(5)


def fitted(slots, **fields):
    family = LogisticRegression(slots.samples.shape[1] - 1, **fields)
    return np.asarray(jax.jit(family.fit)(KEY, None, slots, {})[0])


def data(n, d, norm, seed=0):
    """Slots with whole-number weights, the last ones empty; and their rows repeated as often as they weigh."""
    rows = np.asarray(LogisticTask(d, norm).draw(jax.random.key(seed), n, {}))
    weight = np.random.default_rng(seed).integers(1, 4, size=n)
    padded = np.concatenate([rows, np.full((3, d + 1), 7.0, np.float32)])
    slots = Slots(jnp.asarray(padded), jnp.asarray(np.r_[weight, np.zeros(3)], float), jnp.zeros(n + 3, jnp.int32))
    return slots, np.repeat(rows.astype(np.float64), weight, axis=0)


@pytest.mark.parametrize(("n", "norm", "ridge"), [(200, 1.0, 0.0), (200, 4.0, 0.0), (100, 2.0, 0.03), (4, 2.0, 0.5)])
def test_fit_is_that_of_scikit_learn_and_weight_is_repetition(n, norm, ridge):
    slots, repeated = data(n, 5, norm)
    c = np.inf if ridge == 0 else 1 / (ridge * len(repeated))
    peer = Peer(C=c, fit_intercept=False, tol=1e-10, max_iter=1000).fit(repeated[:, :-1], repeated[:, -1])
    # Both end where the gradient is 1e-6 or less; the least curvature is about 0.02.
    np.testing.assert_allclose(fitted(slots, ridge=ridge), peer.coef_[0], atol=2e-4)


def test_separable_data_ends_finite_and_separated():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 3)).astype(np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    for rows in (
        np.concatenate([x, y], axis=1),
        np.concatenate([100 * x, y], axis=1),
        np.concatenate([x, 0 * y + 1], axis=1)[:2],
    ):
        for iterations in (3, 30, 300):
            w = fitted(Slots.of(jnp.asarray(rows), 0), iterations=iterations)
            assert np.isfinite(w).all()
        assert ((rows[:, :-1] @ w > 0) == rows[:, -1]).all()
        assert np.abs(rows[:, :-1] @ w).max() < 1e4


def test_inputs_all_zero_leave_the_weights_at_zero():
    assert (fitted(Slots.of(jnp.zeros((4, 3)), 0)) == 0).all()


@pytest.mark.parametrize(("own", "other"), [(1.0, 1.0), (2.0, 0.5), (0.5, 30.0), (5.0, 4.0)])
def test_risk_and_accuracy_are_the_integrals_they_stand_for(own, other):
    truth = np.array([own, 0, 0])
    for angle in (0.3, 1.5, 2.5):
        weights = other * np.array([np.cos(angle), np.sin(angle), 0])
        # x·truth = own u and x·weights = other (cos u + sin v): a fine grid over both, wide enough for float64.
        u = np.linspace(-9, 9, 2001)
        mass = np.exp(-0.5 * u * u)
        mass = mass[:, None] * mass / (mass.sum() ** 2)
        a, b = own * u[:, None], other * (np.cos(angle) * u[:, None] + np.sin(angle) * u)
        p = expit(a)
        excess = np.logaddexp(0, b) - np.logaddexp(0, a) - p * (b - a)
        risk, right = np.sum(mass * excess), np.sum(mass * np.where(b > 0, p, 1 - p))
        # Float32 leaves 1e-6 of the larger loss; the grid's steps blur the accuracy by less than 1e-3.
        assert abs(float(excess_log_loss(jnp.asarray(weights), jnp.asarray(truth))) - risk) < 2e-6 * max(other, 1)
        assert abs(float(accuracy(jnp.asarray(weights), jnp.asarray(truth))) - right) < 1e-3
    assert abs(float(excess_log_loss(jnp.asarray(truth), jnp.asarray(truth)))) < 1e-7
    assert float(accuracy(jnp.zeros(3), jnp.asarray(truth))) == 0.5


def test_samples_follow_the_model_and_its_density():
    family, w = LogisticRegression(2), jnp.asarray([2.0, -1.0])
    rows = np.asarray(family.sample(KEY, w, 50_000), np.float64)
    p = expit(rows[:, :2] @ [2, -1])
    assert abs(rows[:, 2].sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())
    density = np.asarray(family.log_prob(w, jnp.asarray(rows[:9], jnp.float32), {}))
    inputs = -0.5 * np.sum(rows[:9, :2] ** 2, axis=1) - np.log(2 * np.pi)
    np.testing.assert_allclose(density, inputs + np.log(np.where(rows[:9, 2] == 1, p[:9], 1 - p[:9])), rtol=1e-5, atol=1e-5)


def test_chains_lose_what_asymptotics_say():
    e = resolve(Experiment(LogisticTask(3, 1.0), LogisticRegression(3), Replace(), 1000, 4))

    def run(key):
        step = lambda chain, t: advance(e, {}, chain, t)
        return jax.lax.scan(step, initial_chain(e, {}, key), jnp.arange(5))[1]

    records = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(jax.random.split(KEY, 400)))
    assert not records["failed"].any()
    excess = records["excess_risk"]
    # d/2T a fit (Wilks); the next order, d/T relative with a factor of a few, is 1 %.
    law = 3 / 2000 * np.arange(1, 6)
    assert (np.abs(excess.mean(axis=0) - law) < 4 * excess.std(axis=0) / np.sqrt(400) + 0.02 * law).all()
    assert records["accuracy"][:, 0].mean() > records["accuracy"][:, 4].mean()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"samples": 3}, "samples"),
        ({"family": LogisticRegression(4)}, "family.dim"),
        ({"family": LogisticRegression(3, ridge=-1.0)}, "family.ridge"),
        ({"family": LogisticRegression(3, iterations=0)}, "family.iterations"),
        ({"family": LogisticRegression(3, tolerance=0.0)}, "family.tolerance"),
        ({"source": LinearTask(3)}, "source"),
        ({"decoding": Greedy()}, "decoding"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, field):
    whole = Experiment(LogisticTask(3), LogisticRegression(3), Replace(), 20, 1)
    with pytest.raises(ConfigError) as error:
        resolve(replace(whole, **change))
    assert error.value.field == field
