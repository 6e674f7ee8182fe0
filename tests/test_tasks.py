"""Labelled sources: their laws, their exact densities, their first draws, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import ConfigError
from collapse_jax.families import LinearRegression
from collapse_jax.families.gram import Gram
from collapse_jax.sources import LinearTask, LogisticTask

KEY = jax.random.key(11)
N = 100_000


@pytest.mark.parametrize("source", [LinearTask(3), LinearTask(1, curvature=1.0), LogisticTask(4)], ids=str)
def test_first_draws_do_not_depend_on_how_many_are_drawn(source):
    few, many = np.asarray(source.draw(KEY, 7, {})), np.asarray(source.draw(KEY, 1000, {}))
    np.testing.assert_array_equal(few[:, :-1], many[:7, :-1])
    np.testing.assert_allclose(few[:, -1], many[:7, -1], rtol=1e-5, atol=1e-6)  # a product of other shape rounds otherwise
    assert many.shape == (1000, source.dim + 1) and many.dtype == np.float32


def test_weights_are_even_and_have_the_norm():
    for source in (LinearTask(4, norm=3.0), LogisticTask(4, norm=3.0)):
        np.testing.assert_allclose(source.weight, np.full(4, 1.5))


def test_linear_labels_have_their_rule_and_noise():
    source = LinearTask(3, noise=0.5, norm=2.0, curvature=0.8)
    rows = np.asarray(source.draw(KEY, N, {}), np.float64)
    x, y = rows[:, :-1], rows[:, -1]
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-4
    rest = y - x @ np.full(3, 2 / np.sqrt(3)) - 0.8 * (x[:, 0] ** 2 - 1) / np.sqrt(2)
    assert stats.kstest(rest / 0.5, "norm").pvalue > 1e-4
    assert np.abs(rest @ x / N).max() < 4.5 * 0.5 / np.sqrt(N)
    # Var y = norm² + curvature² + noise², as the bend is orthogonal to what is linear; kurtosis of y is below 5.
    assert abs(y.var() - (4 + 0.64 + 0.25)) < 4 * np.sqrt(4 / N) * 4.89


def test_logistic_labels_are_as_likely_as_the_sigmoid_says():
    rows = np.asarray(LogisticTask(3, norm=2.0).draw(KEY, N, {}), np.float64)
    margin, y = rows[:, :-1] @ np.full(3, 2 / np.sqrt(3)), rows[:, -1]
    assert set(np.unique(y)) == {0, 1} and LogisticTask(3).classes == 2 and LinearTask(3).classes == 0
    for low, high in ((-9, -2), (-2, -0.5), (-0.5, 0.5), (0.5, 2), (2, 9)):
        inside = (margin > low) & (margin < high)
        p = 1 / (1 + np.exp(-margin[inside]))
        assert abs(y[inside].sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_densities_are_exact():
    linear, logistic = LinearTask(2, noise=0.5, norm=1.5, curvature=0.7), LogisticTask(2, norm=1.5)
    for source in (linear, logistic):
        rows = np.asarray(source.draw(KEY, 30, {}))
        x, y = rows[:, :-1].astype(float), rows[:, -1].astype(float)
        margin = x @ np.full(2, 1.5 / np.sqrt(2))
        if source is linear:
            label = stats.norm.logpdf(y, margin + 0.7 * (x[:, 0] ** 2 - 1) / np.sqrt(2), 0.5)
        else:
            label = stats.bernoulli.logpmf(y, 1 / (1 + np.exp(-margin)))
        right = stats.norm.logpdf(x).sum(axis=1) + label
        np.testing.assert_allclose(source.log_prob(jnp.asarray(rows), {}), right, rtol=1e-5, atol=1e-5)


def test_statistics_are_of_the_source_and_its_own_noise():
    source, family = LinearTask(2, noise=0.1, norm=2.0), LinearRegression(2, noise=5.0, statistics=True, refits=False)
    gram = jax.jit(lambda key: source.draw_statistics(key, jnp.float32(10_000), family, {}))(KEY)
    assert isinstance(gram, Gram) and float(gram.count) == 10_000
    # Standard error of a coefficient: noise/√10,000 = 0.001; of the mean squared residual: 0.01 √(2/10,000).
    np.testing.assert_allclose(gram.fitted(0.0), np.full(2, np.sqrt(2)), atol=4e-3)
    assert abs(float(gram.square) / 10_000 - 0.01) < 4 * 0.01 * np.sqrt(2 / 10_000)


def test_numbers_are_leaves():
    assert len(jax.tree.leaves(LinearTask(2))) == 3 and len(jax.tree.leaves(LogisticTask(2))) == 1


@pytest.mark.parametrize(
    ("source", "field"),
    [
        (LinearTask(0), "source.dim"),
        (LinearTask(2, noise=-1.0), "source.noise"),
        (LinearTask(2, norm="long"), "source.norm"),
        (LinearTask(2, curvature=float("nan")), "source.curvature"),
        (LogisticTask(1.5), "source.dim"),  # type: ignore[arg-type]
        (LogisticTask(2, norm=None), "source.norm"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(source, field):
    with pytest.raises(ConfigError, match=field):
        source.validate()
