"""What is measured of a discrete distribution's tails and distances."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.metrics import tails as metrics

P0 = jnp.array([0.5, 0.25, 0.16, 0.05, 0.03, 0.01, 0.0])
P = jnp.array([0.6, 0.3, 0.0, 0.1, 0.0, 0.0, 0.0])


def test_the_tail_is_the_rarest_states_that_fit_into_a_tenth():
    assert np.asarray(metrics.tail(P0)).tolist() == [False, False, False, True, True, True, True]
    assert np.isclose(metrics.threshold(P0), 0.16)
    # Exactly a tenth fits, whatever its float32 sum; the order of states does not matter.
    assert np.asarray(metrics.tail(jnp.array([0.05, 0.9, 0.05]))).tolist() == [True, False, True]


def test_tied_states_are_in_the_tail_together_or_not_at_all():
    assert not np.asarray(metrics.tail(jnp.full(1000, 1e-3))).any()
    assert not np.asarray(metrics.tail(jnp.array([0.82, 0.06, 0.06, 0.06]))).any()


def test_values_by_hand():
    found = {name: float(value) for name, value in metrics.tails(P, P0).items()}
    assert found["support"] == 3
    assert np.isclose(found["heterozygosity"], 1 - (0.36 + 0.09 + 0.01))
    assert np.isclose(found["tail_mass"], 0.1)
    # Of three tail states that are possible at all, one is left.
    assert np.isclose(found["tail_coverage"], 1 / 3)
    assert np.isclose(found["tv"], (0.1 + 0.05 + 0.16 + 0.05 + 0.03 + 0.01) / 2, atol=1e-6)


@pytest.mark.parametrize("name", ["entropy", "kl"])
def test_entropy_and_divergence_as_scipy_has_them(name):
    other = None if name == "entropy" else np.asarray(P0)
    found = metrics.tails(P, P0)[name]
    assert np.isclose(found, stats.entropy(np.asarray(P), other), rtol=1e-6)  # float32 rounding


def test_divergence_is_infinite_only_where_the_source_has_no_such_state():
    assert float(metrics.kl(jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0]))) == np.inf
    assert np.isclose(metrics.kl(jnp.array([1.0, 0.0]), jnp.array([0.5, 0.5])), np.log(2))
    assert float(metrics.kl(P0, P0)) == 0


def test_no_tail_is_fully_covered_and_weighs_nothing():
    even = jnp.full(4, 0.25)
    found = metrics.tails(jnp.array([1.0, 0, 0, 0]), even)
    assert float(found["tail_coverage"]) == 1
    assert float(found["tail_mass"]) == 0
