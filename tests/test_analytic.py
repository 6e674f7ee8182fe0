"""Sources with a known density: their laws, their first draws, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.errors import ConfigError
from collapse_jax.families.discrete import Discrete
from collapse_jax.families.gaussian import Gaussian
from collapse_jax.sources.analytic import Categorical, Normal, Zipf

KEY = jax.random.key(11)
SOURCES = [Normal(dim=3), Zipf(states=50, exponent=1.2), Categorical([0.2, 0.5, 0.3])]


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: type(s).__name__)
def test_first_draws_do_not_depend_on_how_many_are_drawn(source):
    few, many = source.draw(KEY, 7, {}), source.draw(KEY, 1000, {})
    assert (np.asarray(few) == np.asarray(many)[:7]).all()


def test_normal_is_standard_and_independent():
    x = np.asarray(Normal(dim=2).draw(KEY, 20_000, {}))
    assert x.shape == (20_000, 2) and x.dtype == np.float32
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-4
    assert abs(np.corrcoef(x.T)[0, 1]) < 4 / np.sqrt(20_000)


def test_zipf_probabilities_and_draws():
    source = Zipf(states=1000, exponent=1.5)
    p = np.arange(1, 1001) ** -1.5
    p /= p.sum()
    assert np.allclose(source.probabilities(), p, rtol=2e-6)  # float32 powers
    draws = np.asarray(source.draw(KEY, 200_000, {}))
    assert draws.dtype == np.int32 and draws.min() == 0
    cut = np.r_[0:30, 100, 300, 1000]
    found = np.add.reduceat(np.bincount(draws, minlength=1000), cut[:-1])
    assert stats.chisquare(found, np.add.reduceat(p, cut[:-1]) * len(draws)).pvalue > 1e-4


def test_exponent_is_a_leaf_and_probabilities_follow_it():
    sources = jax.tree.map(lambda *x: jnp.stack([jnp.float32(v) for v in x]), Zipf(10, 0.0), Zipf(10, 2.0))
    p = jax.vmap(lambda s: s.probabilities())(sources)
    assert np.allclose(p[0], 0.1) and np.allclose(p[1, 0] / p[1, 1], 4)


def test_categorical_keeps_its_probabilities_in_one_leaf():
    source = Categorical([0.25, 0.75])
    assert len(jax.tree.leaves(source)) == 1 and source.states == 2
    assert np.allclose(source.probabilities(), [0.25, 0.75])


def test_statistics_are_those_of_the_family():
    moments = Normal(dim=2).draw_statistics(KEY, jnp.float32(50), Gaussian(dim=2), {})
    assert float(moments.count) == 50
    counts = Zipf(states=5).draw_statistics(KEY, jnp.float32(60), Discrete(states=5), {})
    assert float(counts.count) == 60


@pytest.mark.parametrize(
    ("source", "field"),
    [
        (Normal(dim=0), "source.dim"),
        (Normal(dim=1.5), "source.dim"),  # type: ignore[arg-type]
        (Zipf(states=1), "source.states"),
        (Zipf(exponent=-1), "source.exponent"),
        (Zipf(exponent="steep"), "source.exponent"),
        (Categorical([0.5, 0.6]), "source.p"),
        (Categorical([1.5, -0.5]), "source.p"),
        (Categorical([1.0]), "source.p"),
        (Categorical([[0.5, 0.5]]), "source.p"),
        (Categorical(["a", "b"]), "source.p"),
        (Categorical([0.5, float("nan")]), "source.p"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(source, field):
    with pytest.raises(ConfigError, match=field):
        source.validate()
