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


def test_hellinger_by_hand_and_from_the_overlap():
    half = jnp.array([0.5, 0.5, 0.0])
    assert np.isclose(metrics.hellinger(half, jnp.array([0.5, 0.0, 0.5])), np.sqrt(0.5))
    assert float(metrics.hellinger(half, jnp.array([0.0, 0.0, 1.0]))) == 1 and float(metrics.hellinger(half, half)) == 0
    p, q = np.random.default_rng(0).dirichlet(np.ones(20), 2)
    expected = np.sqrt(1 - np.sqrt(p * q).sum())
    found = float(metrics.hellinger(jnp.asarray(p, jnp.float32), jnp.asarray(q, jnp.float32)))
    assert np.isclose(found, expected, rtol=1e-5)
    tv = 0.5 * np.abs(p - q).sum()
    assert found**2 <= tv <= found * np.sqrt(2)


def test_tails_at_several_shares_lie_within_one_another():
    found = {name: float(value) for name, value in metrics.tails_at(P, P0, (0.01, 0.05, 0.1)).items()}
    # The last possible state alone is the rarest 1 %, with the one before 4 % of at most 5, and with .05 9 % of at most 10.
    assert found["tail_mass_1"] == 0 and found["tail_coverage_1"] == 0
    assert found["tail_mass_5"] == 0 and found["tail_coverage_5"] == 0
    assert np.isclose(found["tail_mass_10"], 0.1) and np.isclose(found["tail_coverage_10"], 1 / 3)
    for name, value in metrics.tails_at(P0, P0).items():
        assert float(value) <= int(name.rsplit("_")[-1]) / 100 + 1e-6 if "mass" in name else float(value) == 1
    of_tail = metrics.tails(P, P0)
    assert found["tail_mass_10"] == of_tail["tail_mass"] and found["tail_coverage_10"] == of_tail["tail_coverage"]
    wide = np.random.default_rng(1).dirichlet(np.full(300, 0.3))
    p = np.random.default_rng(2).multinomial(100, wide) / 100
    for share in (0.01, 0.05, 0.1):
        rarest = np.argsort(wide)[: (np.cumsum(np.sort(wide)) <= share).sum()]
        found = metrics.tails_at(jnp.asarray(p, jnp.float32), jnp.asarray(wide, jnp.float32), (share,))
        assert np.isclose(found[f"tail_mass_{share:.0%}"[:-1]], p[rarest].sum(), atol=1e-6)
        assert np.isclose(found[f"tail_coverage_{share:.0%}"[:-1]], (p[rarest] > 0).mean(), atol=1e-6)
