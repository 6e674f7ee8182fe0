"""Facts about the random draws that exact statistics are made of."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma, polygamma

from collapse_jax import draws

DOF = (0.5, 1.0, 1.5, 2.0, 3.0, 9.0, 99.0, 1e6)
N = 100_000


@pytest.fixture(scope="module")
def chi_squares():
    """[N, len(DOF)], float64."""
    dof = jnp.broadcast_to(jnp.asarray(DOF), (N, len(DOF)))
    return np.asarray(jax.jit(draws.chi_square)(jax.random.key(1), dof), np.float64)


@pytest.mark.parametrize("column", range(len(DOF)), ids=[str(d) for d in DOF])
def test_chi_square_has_its_law_mean_variance_and_log_mean(chi_squares, column):
    x, dof = chi_squares[:, column], DOF[column]
    assert stats.kstest(x, stats.chi2(dof).cdf).pvalue > 1e-4
    assert abs(x.mean() - dof) < 4 * np.sqrt(2 * dof / N)
    fourth = 12 * dof * (dof + 4)  # fourth central moment of chi-square
    assert abs(x.var() - 2 * dof) < 4 * np.sqrt((fourth - 4 * dof**2) / N)
    log_mean = digamma(dof / 2) + np.log(2)
    assert abs(np.log(x).mean() - log_mean) < 4 * np.sqrt(polygamma(1, dof / 2) / N)


def test_chi_square_of_zero_degrees_is_zero_and_others_never_are(chi_squares):
    assert (chi_squares > 0).all()
    mixed = np.asarray(jax.jit(draws.chi_square)(jax.random.key(2), jnp.array([0.0, 5.0, 0.0, 1.0])))
    assert (mixed[[0, 2]] == 0).all() and (mixed[[1, 3]] > 0).all()


def test_six_proposals_are_enough():
    """Marsaglia and Tsang refuse most often at shape 1 (2 degrees of freedom); all six refusing must be below 2^-23."""
    u = draws.symmetric(jax.random.key(3), (2, 1_000_000))
    worst = 0.0
    for shape in (1.0, 1.1, 1.25, 1.5, 2.0, 5.0):
        d = shape - 1 / 3
        x = np.asarray(draws.normal_of(u[0]), np.float64)
        v = (1 + x / np.sqrt(9 * d)) ** 3
        with np.errstate(invalid="ignore", divide="ignore"):
            accepted = (v > 0) & (np.log(np.abs(np.asarray(u[1]))) < x * x / 2 + d * (1 - v + np.log(v)))
        worst = max(worst, 1 - accepted.mean())
    assert worst**draws.PROPOSALS < 2.0**-23


@pytest.mark.parametrize("d", [1, 2, 5, 6])
def test_standard_moments_have_the_law_of_mean_and_scatter(d):
    count, chains = 8.0, 20_000
    keys = jax.random.split(jax.random.key(d), chains)
    mean, factor = jax.jit(jax.vmap(lambda key: draws.standard_moments(key, d, count)))(keys)
    mean, factor = np.asarray(mean, np.float64), np.asarray(factor, np.float64)
    assert (factor == np.tril(factor)).all()
    wishart, nu = factor @ factor.transpose(0, 2, 1), count - 1
    spread = nu * (1 + np.eye(d))  # variance of the entries of Wishart(I, nu)
    assert (np.abs(wishart.mean(0) - nu * np.eye(d)) < 4.5 * np.sqrt(spread / chains)).all()
    assert np.allclose(wishart.var(0), spread, rtol=0.12)
    # log det of a Wishart is a sum of independent log chi-squares
    halves = (nu - np.arange(d)) / 2
    log_det = np.linalg.slogdet(wishart)[1]
    assert abs(log_det.mean() - (digamma(halves) + np.log(2)).sum()) < 4 * np.sqrt(polygamma(1, halves).sum() / chains)
    entries = np.concatenate([mean, factor[:, *np.tril_indices(d)]], axis=1)
    correlation = np.corrcoef(entries.T) if entries.shape[1] > 1 else np.eye(1)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 4.5 / np.sqrt(chains)
    assert stats.kstest(mean[:, -1] * np.sqrt(count), "norm").pvalue > 1e-4


def test_scatter_of_few_samples_has_rank_count_minus_one():
    draw = jax.jit(lambda count: draws.standard_moments(jax.random.key(4), 5, count))
    for count in (0.0, 1.0, 2.0, 4.0, 6.0):
        mean, factor = map(np.asarray, draw(count))
        assert np.isfinite(mean).all() and np.isfinite(factor).all()
        assert np.linalg.matrix_rank(factor) == max(int(count) - 1, 0)
        assert (factor[:, max(int(count) - 1, 0) :] == 0).all()
        assert (mean == 0).all() == (count == 0)


def test_bartlett_is_the_factor_of_standard_moments():
    key = jax.random.key(5)
    assert (draws.bartlett(key, 4, 9.0) == draws.standard_moments(key, 4, 10.0)[1]).all()


@pytest.mark.parametrize(("total", "count", "slots"), [(6, 3, 3), (7, 3, 5), (40, 2, 2)])
def test_every_set_of_different_numbers_is_as_likely(total, count, slots):
    n = 20_000
    keys = jax.random.split(jax.random.key(1), n)
    found = np.asarray(jax.jit(jax.vmap(lambda key: draws.distinct(key, total, count, slots)))(keys))[:, :count]
    assert found.min() >= 0 and found.max() < total and (np.diff(np.sort(found, axis=1)) > 0).all()
    sets = np.unique(np.sort(found, axis=1), axis=0, return_counts=True)[1]
    assert len(sets) == math.comb(total, count)
    expected = n / len(sets)
    # chi-square over all sets, mean k - 1 and variance 2 (k - 1)
    assert ((sets - expected) ** 2 / expected).sum() < len(sets) - 1 + 4 * np.sqrt(2 * (len(sets) - 1))


def test_a_subset_of_a_large_pool_costs_no_pass_over_it():
    found = np.asarray(jax.jit(lambda key: draws.distinct(key, 2**31 - 1, 500, 500))(jax.random.key(0)))
    assert len(np.unique(found)) == 500 and found.min() >= 0
    # Uniform on 0 … 2^31 - 1: mean and standard error of 500 numbers.
    assert abs(found.mean() / 2**31 - 0.5) < 4 / np.sqrt(12 * 500)
