"""Counts drawn in exact law, and how they add up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.families.counts import Counts, log1p, multinomial, split

DRAWS = 100_000


@pytest.mark.parametrize(
    ("n", "p"), [(1, 0.3), (5, 0.9), (40, 0.2), (60, 0.5), (1000, 0.7), (100_000, 0.002), (2_000_000, 1e-6), (16_000_000, 0.4)]
)
def test_split_is_binomial(n, p):
    whole = lambda x: jnp.full(DRAWS, x, jnp.float32)
    masses = whole(p), whole(1 - p)
    drawn = np.asarray(jax.jit(split)(jax.random.key(7), whole(n), *masses), float)
    assert (drawn == np.round(drawn)).all() and drawn.min() >= 0 and drawn.max() <= n
    share = float(np.float32(p)) / (float(np.float32(p)) + float(np.float32(1 - p)))
    edges = np.unique(stats.binom.ppf(np.linspace(0, 1, 33)[1:-1], n, share))
    expected = np.diff(np.r_[0, stats.binom.cdf(edges, n, share), 1]) * DRAWS
    found = np.bincount(np.searchsorted(edges, drawn), minlength=len(expected))
    used = expected > 5
    assert stats.chisquare(found[used], expected[used] * found[used].sum() / expected[used].sum()).pvalue > 1e-4


def test_multinomial_has_its_law():
    p = jnp.array([0.4, 0.0, 0.25, 0.2, 0.1, 0.03, 0.02, 0.0])
    m, draws = 50, 20_000
    draw = jax.jit(lambda keys, m: jax.vmap(lambda key: multinomial(key, m, p))(keys))
    counts = np.asarray(draw(jax.random.split(jax.random.key(1), draws), m))
    assert (counts.sum(axis=1) == m).all() and (counts >= 0).all()
    assert (counts[:, [1, 7]] == 0).all()
    q = np.asarray(p, float)
    covariance = m * (np.diag(q) - np.outer(q, q))
    live = q > 0
    # Standard errors of a mean, and of a covariance near normality; 4 of each.
    error = np.sqrt(m * q * (1 - q) / draws)
    assert (np.abs(counts.mean(axis=0) - m * q)[live] < 4 * error[live]).all()
    spread = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / draws) * np.sqrt(1.3)
    assert (np.abs(np.cov(counts.T) - covariance) <= 4 * spread + 1e-9).all()
    # The rarest state is Binomial(50, .02), by inversion: its whole law, not its moments alone.
    expected = stats.binom.pmf(np.arange(5), m, 0.02) * draws
    found = np.bincount(counts[:, 6].astype(int), minlength=5)[:5]
    assert (np.abs(found - expected) < 4 * np.sqrt(expected)).all()
    # One program serves every count, 0 too.
    assert np.asarray(draw(jax.random.split(jax.random.key(1), draws), 0)).sum() == 0
    assert (np.asarray(draw(jax.random.split(jax.random.key(2), draws), 7)).sum(axis=1) == 7).all()


@pytest.mark.parametrize("states", [30, 1000, 1100])  # one, two and three tables, each after the other
def test_every_state_has_its_share_however_many_there_are(states):
    p = np.arange(1, states + 1) ** -1.0
    p[::7] = 0
    p /= p.sum()
    m, draws = 5000, 200
    draw = jax.jit(jax.vmap(lambda key: multinomial(key, m, jnp.asarray(p, jnp.float32))))
    counts = np.asarray(draw(jax.random.split(jax.random.key(2), draws)), float)
    assert (counts.sum(axis=1) == m).all() and (counts[:, p == 0] == 0).all()
    assert stats.chisquare(counts.sum(axis=0)[p > 0], p[p > 0] * m * draws).pvalue > 1e-4
    # Counts of one draw are as far from their means as a multinomial's: chi-square, whose mean is its degrees of freedom.
    live, expected = counts[:, p > 0], p[p > 0] * m
    distance = ((live - expected) ** 2 / expected).sum(axis=1)
    assert abs(distance.mean() - (p > 0).sum() + 1) < 4 * distance.std() / np.sqrt(draws)


def test_chains_drawn_together_are_the_chains_drawn_alone():
    p = jnp.array([0.5, 0.2, 0.2, 0.1])
    keys = jax.random.split(jax.random.key(4), 5)
    together = jax.jit(jax.vmap(lambda key: multinomial(key, 90, p)))(keys)
    alone = jnp.stack([multinomial(key, 90, p) for key in keys])
    assert (np.asarray(together) == np.asarray(alone)).all()


def test_logarithms_near_one_keep_their_digits():
    x = np.r_[-np.geomspace(1e-9, 0.999, 2000), np.geomspace(1e-9, 1e3, 2000)].astype(np.float32)
    np.testing.assert_allclose(jax.jit(log1p)(x), np.log1p(x.astype(float)), rtol=5e-7)  # four float32 roundings


def test_counts_are_joined_and_appended():
    a, b = Counts(jnp.array([1.0, 2, 0])), Counts(jnp.array([0.0, 3, 4]))
    assert np.asarray(Counts.join([a, b], [2.0, 0.5]).counts).tolist() == [2, 5.5, 2]
    assert np.asarray(a.append(b).counts).tolist() == [1, 5, 4]
    assert float(a.append(b).count) == 10
