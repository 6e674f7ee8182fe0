"""Closed forms of discrete chains against plain Wright–Fisher chains and against the numbers published."""

import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.metrics import tails
from collapse_jax.theory import discrete as law

CHAINS, K, M, FITS = 20_000, 12, 15, 8
P0 = 1 / np.arange(1, K + 1)
P0 /= P0.sum()


@pytest.fixture(scope="module")
def chains():
    """p after every fit: [fits, chains, states]."""
    rng, p, out = np.random.default_rng(0), np.broadcast_to(P0, (CHAINS, K)), []
    for _ in range(FITS):
        p = rng.multinomial(M, p) / M
        out.append(p)
    return np.array(out)


def test_heterozygosity(chains):
    values = 1 - (chains**2).sum(axis=2)
    error = values.std(axis=1) / np.sqrt(CHAINS)
    assert (np.abs(values.mean(axis=1) - law.heterozygosity(P0, np.full(FITS, M))) < 4 * error).all()


def test_numbers_as_printed():
    """theory's checked column, K = 50 Zipf with M = 100, two states with p = .3 and M = 50 (simulated there as 59.5)."""
    p = 1 / np.arange(1, 51)
    p /= p.sum()
    assert np.isclose(law.heterozygosity(p, np.full(10, 100))[-1], 0.8318, atol=5e-5)
    assert np.isclose(law.support_after_one(p, 100), 31.77, atol=5e-3)
    assert np.isclose(law.fixation_time(0.3, 50), 61.1, atol=0.05) and abs(law.absorption_time(0.3, 50) - 59.5) < 1


def test_survival_of_every_state_is_exact(chains):
    found, expected = (chains > 0).mean(axis=1), law.survival(P0, M, FITS)
    error = np.sqrt(expected * (1 - expected) / CHAINS) + 1e-4
    assert (np.abs(found - expected) < 4 * error).all()
    assert np.allclose(law.survival_once(P0, M), 1 - (1 - P0) ** M)


def test_the_support_after_one_fit(chains):
    support = (chains[0] > 0).sum(axis=1)
    assert abs(support.mean() - law.support_after_one(P0, M)) < 4 * support.std() / np.sqrt(CHAINS)


def test_support_is_above_its_bound_and_near_it():
    """K = 50 Zipf, M = 100: simulated elsewhere as 31.77, 16.86, 7.22 after 1, 5 and 20 fits."""
    p = 1 / np.arange(1, 51)
    p /= p.sum()
    exact, bound = law.survival(p, 100, 20).sum(axis=1)[[0, 4, 19]], law.support_bound(p, np.full(20, 100))[[0, 4, 19]]
    assert np.allclose(bound, [31.70, 16.67, 6.93], atol=6e-3)
    assert np.allclose(exact, [31.77, 16.86, 7.22], atol=0.06)
    assert (bound < exact).all() and (exact < 1.05 * bound).all()
    assert np.isclose(law.support_after_one(p, 100), exact[0])


def test_bound_on_the_support_holds_for_growing_samples():
    rng, sizes, p = np.random.default_rng(1), np.array([10, 20, 40, 5]), np.broadcast_to(P0, (CHAINS, K))
    bound = law.support_bound(P0, sizes)
    for t, m in enumerate(sizes):
        p = rng.multinomial(m, p) / m
        support = (p > 0).sum(axis=1)
        assert support.mean() > bound[t] - 4 * support.std() / np.sqrt(CHAINS)
        assert support.mean() < 1.1 * bound[t]


def test_the_tail_is_the_one_that_is_measured():
    rng = np.random.default_rng(2)
    for p in (P0, np.full(10, 0.1), np.array([0.05, 0.9, 0.05]), np.r_[0, rng.dirichlet(np.ones(500))]):
        measured = np.asarray(tails.tails(jnp.asarray(p, jnp.float32), jnp.asarray(p, jnp.float32))["tail_mass"])
        assert np.isclose(measured, p[law.tail(p)].sum(), atol=1e-6)
        assert p[law.tail(p)].sum() <= 0.1 + 1e-5


def test_two_states_until_one_is_left():
    rng, m, p = np.random.default_rng(3), 20, 0.3
    counts, absorbed, left = np.full(CHAINS, p), np.zeros(CHAINS), []
    for k in range(1, 400):
        counts = rng.binomial(m, counts) / m
        done = (counts == 0) | (counts == 1)
        absorbed = np.where(done & (absorbed == 0), k, absorbed)
        left.append(1 - done.mean())
    assert absorbed.min() > 0
    assert abs(absorbed.mean() - law.absorption_time(p, m)) < 4 * absorbed.std() / np.sqrt(CHAINS)
    # The diffusion limit is short of the exact mean by a bounded number of fits, so by a share of order 1/M.
    assert abs(law.fixation_time(p, m) / law.absorption_time(p, m) - 1) < 2 / m
    assert abs(law.fixation_time(p, 200) / law.absorption_time(p, 200) - 1) < 2 / 200
    assert abs((counts == 1).mean() - law.fixation(np.array([p]))[0]) < 4 * np.sqrt(p * (1 - p) / CHAINS)
    low, high = law.not_absorbed(p, m, np.arange(1, 400))
    assert (low - 4 * np.sqrt(low / CHAINS) <= left).all() and (left <= high + 4 * np.sqrt(high / CHAINS)).all()


@pytest.mark.parametrize(("p", "m"), [(0.3, 1), (0.3, 2), (0.1, 40), (0.5, 200)])
def test_the_way_back_and_the_way_forward_take_as_long(p, m):
    """The ancestors' sum against the fundamental matrix of the binomial chain of one of two states."""
    inner = law.binomial(np.arange(1, m) / m, m)[:, 1:-1]
    forward = 1 + law.binomial(np.array([p]), m)[0, 1:-1] @ np.linalg.solve(np.eye(m - 1) - inner, np.ones(m - 1))
    assert np.isclose(law.absorption_time(p, m), forward, rtol=1e-9)


@pytest.mark.parametrize("p", [np.full(12, 1 / 12), P0, np.array([0.7, 0.2, 0.1])])
def test_many_states_until_one_is_left(p):
    """10,000 chains: the exact mean, the limit (off it by a share of order 1/M), and every state as often the last as it was drawn."""
    rng, m, chains = np.random.default_rng(4), 20, 10_000
    now, absorbed, last = np.broadcast_to(p, (chains, len(p))), [], np.zeros(len(p))
    for k in range(1, 1000):
        now = rng.multinomial(m, now) / m
        done = now.max(axis=1) == 1
        absorbed += [k] * int(done.sum())
        last, now = last + now[done].sum(axis=0), now[~done]
        if done.all():
            break
    assert len(absorbed) == chains
    assert abs(np.mean(absorbed) - law.absorption_time(p, m)) < 4 * np.std(absorbed) / np.sqrt(chains)
    assert (np.abs(last / chains - law.fixation(p)) < 4 * np.sqrt(p * (1 - p) / chains)).all()
    assert abs(law.fixation_time(p, m) / law.absorption_time(p, m) - 1) < 2 / m
    assert np.isclose(law.fixation_time(np.array([0.3, 0.7]), 9), law.fixation_time(0.3, 9))
