"""Closed forms of Gaussian chains against plain NumPy chains and against the numbers published."""

import numpy as np
import pytest
from scipy import stats

from collapse_jax.theory import gaussian as law

CHAINS = 20_000


@pytest.fixture(scope="module", params=["unbiased", "mle"])
def chains(request):
    """μ and σ² of 20,000 chains that replace, with a schedule of sizes: [generations, chains]."""
    rng, sizes = np.random.default_rng(1), np.array([10, 6, 12, 8, 20, 5])
    mean, variance, out = np.zeros(CHAINS), np.ones(CHAINS), []
    for m in sizes:
        x = mean + np.sqrt(variance) * rng.normal(size=(m, CHAINS))
        mean, variance = x.mean(axis=0), x.var(axis=0, ddof=int(request.param == "unbiased"))
        out.append((mean, variance))
    return request.param, sizes, *np.swapaxes(out, 0, 1)


def close(values, expected):
    """Means over chains within 4 standard errors."""
    return (np.abs(values.mean(axis=1) - expected) < 4 * values.std(axis=1) / np.sqrt(CHAINS)).all()


def test_replace_in_one_dimension(chains):
    estimator, sizes, mean, variance = chains
    assert close(mean**2, law.replace_error(sizes, estimator))
    assert close(variance, law.replace_variance(sizes, estimator))
    samples = mean + np.sqrt(variance) * np.random.default_rng(2).normal(size=mean.shape)
    assert close(samples**2, law.replace_marginal(sizes, estimator))
    assert close(np.sqrt(variance), law.replace_deviation(sizes, estimator))
    assert close(np.log(variance), law.log_variance(sizes, estimator))
    assert close(mean**2 + (np.sqrt(variance) - 1) ** 2, law.replace_w2(sizes, estimator))


def test_median_of_the_variance(chains):
    estimator, sizes, _, variance = chains
    below = (variance < law.median_variance(sizes, estimator)[:, None]).mean(axis=1)
    assert (np.abs(below - 0.5) < 4 * 0.5 / np.sqrt(CHAINS)).all()


def test_median_of_one_fit_is_that_of_chi_square():
    m = np.array([3, 5, 10, 100])
    found = np.array([law.median_variance(np.array([n]), "unbiased")[0] for n in m])
    assert (np.abs(found * (m - 1) / stats.chi2.median(m - 1) - 1) < [0.01, 0.003, 1e-3, 1e-5]).all()


def test_sampling_bias_shrinks_the_variance():
    rng, m, lam = np.random.default_rng(2), 10, 0.8
    variance = np.ones(CHAINS)
    for t in range(4):
        variance = (np.sqrt(variance * (lam if t else 1)) * rng.normal(size=(m, CHAINS))).var(axis=0, ddof=1)
    sizes = np.full(4, m)
    assert close(np.log(variance)[None], law.log_variance(sizes, "unbiased", lam)[-1])
    assert close(np.sqrt(variance)[None], law.replace_deviation(sizes, "unbiased", lam)[-1])
    assert np.isclose(law.log_det(sizes, 1, "mle", lam)[-1], law.log_variance(sizes, "mle", lam)[-1])


def test_log_determinant_in_three_dimensions():
    rng, d, m, n, chains = np.random.default_rng(3), 3, 12, 4, 2000
    factor = np.broadcast_to(np.eye(d), (chains, d, d))
    for _ in range(n):
        x = rng.normal(size=(chains, m, d)) @ np.swapaxes(factor, 1, 2)
        x = x - x.mean(axis=1, keepdims=True)
        factor = np.linalg.cholesky(np.swapaxes(x, 1, 2) @ x / (m - 1))
    logs = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    assert abs(logs.mean() - law.log_det(np.full(n, m), d, "unbiased")[-1]) < 4 * logs.std() / np.sqrt(chains)
    assert law.log_det(np.full(n, 3), d, "unbiased")[-1] == -np.inf


def test_numbers_as_printed():
    """theory's checked column: the prediction, to its digits."""
    hundred = np.full(200, 100)
    assert np.isclose(law.replace_error(hundred, "unbiased")[-1], 2)
    assert np.isclose(law.median_variance(np.full(100, 10), "unbiased")[-1], 1.03e-5, atol=2e-7)  # simulated there
    assert np.isclose(np.exp(law.log_variance(np.full(100, 10), "unbiased"))[-1], 0.99e-5, atol=1e-7)
    assert np.isclose(law.replace_deviation(np.full(20, 10), "unbiased")[-1], 0.5744, atol=1e-4)
    assert np.allclose(law.replace_w2(hundred, "unbiased")[[49, 199]], [0.7372, 2.793], atol=5e-4)
    assert np.isclose(law.replace_variance(hundred, "mle")[49], 0.6050, atol=1e-4)
    assert np.isclose(law.replace_error(hundred, "mle")[49], 0.3950, atol=1e-4)
    assert np.isclose(law.log_det(np.full(20, 30), 3, "unbiased")[-1], -4.301, atol=1e-3)


def test_first_order_of_the_distance_and_its_next():
    n, m = np.arange(1, 6), 1000
    expected = 1.5 * n / m - (n / m) ** 2 / 16 + n / (2 * m**2)
    assert np.allclose(law.replace_w2(np.full(5, m), "unbiased"), expected, rtol=0, atol=n / m**3)


def test_accumulate_as_printed():
    n = np.arange(1, 5001)
    variance, error = law.accumulate(np.full(5000, 20), "mle")
    assert np.allclose(variance, np.cumprod(1 - 1 / (20 * n**2.0))) and np.allclose(variance + error, 1)
    assert np.isclose(law.accumulate_limit(20), 0.9198, atol=1e-4)
    # What is left of the product after n factors is 1/(M n).
    assert np.isclose(variance[-1], law.accumulate_limit(20), atol=1 / (20 * 5000))
    assert np.isclose(1 - law.accumulate_limit(100), 0.01632, atol=6e-5)
    unbiased = law.accumulate(np.full(5000, 20), "unbiased")[0]
    assert np.isclose(unbiased[-1], law.accumulate_limit(20, "unbiased"), atol=1.1 / (20 * 5000))
    # Next order of 1 - (π²/6-1)/M, from the logarithm of the product: ζ(3) - 1 = .2021, ζ(4) - 1 = .0823.
    first = (np.pi**2 / 6 - 1) / 20
    following = -(0.2021 + 0.0823 / 2) / 20**2 + first**2 / 2
    assert np.isclose(law.accumulate_limit(20, "unbiased"), 1 - first + following, atol=0.3 / 20**3)


def test_accumulate_subsample_as_printed():
    found = 50 * law.subsample(np.full(60, 50), "unbiased", False)[1][[0, 4, 9, 29, 59]]
    assert np.allclose(found, [1.02, 2.44, 2.69, 2.85, 2.94], atol=0.06)  # simulated there, to its error
    n, m = 4000, 20_000
    for replacement in (False, True):
        error = law.subsample(np.full(n, m), "mle", replacement)[1][-1]
        # After n fits 2/n of the sum is missing; the next order in 1/M is below 3 a unit (from M = 2,000 and 20,000).
        assert abs(m * (error - law.subsample_limit(m, replacement))) < 2.2 / n + 3 * 3 / m
    grown = law.subsample(np.full(2000, 10), "unbiased", False)[0]
    assert np.isclose(grown[-1] / grown[199], 10 ** (1 / 10), rtol=0.02)  # σ² ~ n^(1/M), its exponent to O(1/M²)


def test_which_means_can_be_tested():
    assert law.testable(np.array([0.8, 0.9]), 1024).tolist() == [True, False]


def test_bound_on_the_deviation_holds():
    rng, m = np.random.default_rng(4), 5
    log_sigma = 0.5 * np.cumsum(np.log(rng.chisquare(m - 1, size=(60, CHAINS)) / (m - 1)), axis=0)
    for epsilon in (0.1, 0.5):
        survived = (np.exp(log_sigma) > epsilon).mean(axis=1)
        assert (survived <= law.deviation_bound(epsilon, np.arange(1, 61), m) + 1e-9).all()
