"""Closed forms of Gaussian chains against plain NumPy chains and against the numbers published."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma

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


@pytest.mark.parametrize("estimator", ["unbiased", "mle"])
def test_moments_and_log_determinant_in_three_dimensions(estimator):
    rng, d, m, n = np.random.default_rng(3), 3, 12, 4
    factor, mean, rows = np.broadcast_to(np.eye(d), (CHAINS, d, d)), np.zeros((CHAINS, 1, d)), []
    for _ in range(n):
        x = mean + rng.normal(size=(CHAINS, m, d)) @ np.swapaxes(factor, 1, 2)
        mean = x.mean(axis=1, keepdims=True)
        covariance = np.swapaxes(x - mean, 1, 2) @ (x - mean) / (m - (estimator == "unbiased"))
        factor = np.linalg.cholesky(covariance)
        logs = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        rows.append([(mean[:, 0] ** 2).sum(axis=1), np.trace(covariance, axis1=1, axis2=2), logs])
    errors, traces, logs = np.swapaxes(rows, 0, 1)
    sizes = np.full(n, m)
    assert close(errors, d * law.replace_error(sizes, estimator))
    assert close(traces, d * law.replace_variance(sizes, estimator))
    assert close(logs, law.log_det(sizes, d, estimator))
    assert law.log_det(np.full(n, 3), d, "unbiased")[-1] == -np.inf


def test_half_life():
    """100,000 chains of M = 20: the median of σ² halves every half-life; its next order, ln 2/3 fits less, is told apart."""
    rng, m, fits, chains = np.random.default_rng(5), 20, 200, 100_000
    logs = np.log(rng.chisquare(m - 1, size=(fits, chains)) / (m - 1)).sum(axis=0)
    # Half-lives by the mean of log σ², and by its median less the 1/(3(M-1)) it lies above the mean.
    life, below = fits * np.log(2) / -logs.mean(), fits * np.log(2) / (1 / (3 * (m - 1)) - np.median(logs))
    error = life * logs.std() / np.sqrt(chains) / -logs.mean()
    assert abs(life - (law.half_life(m) - np.log(2) / 3)) < 4 * error + 0.1 / m
    assert abs(below - (law.half_life(m) - np.log(2) / 3)) < 4 * 1.25 * error + 0.1 / m
    assert np.isclose(law.half_life(m), 19 * np.log(2)) and 5 * error + 0.1 / m < np.log(2) / 3


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
    """Of the exact law, and of 100,000 chains where S is small and where it is 2: there the first order is 7 % too large."""
    n, m = np.arange(1, 6), 1000
    following = n / (2 * m**2) - (n / m) ** 2 / 16
    difference = law.replace_w2(np.full(5, m), "unbiased") - law.first_order_w2(np.full(5, m))
    assert np.allclose(difference, following, rtol=0, atol=n / m**3)
    rng, m, chains = np.random.default_rng(6), 200, 100_000
    mean, sigma, distances = np.zeros(chains), np.ones(chains), []
    for _ in range(400):
        mean = mean + sigma * rng.normal(size=chains) / np.sqrt(m)
        sigma = sigma * np.sqrt(rng.chisquare(m - 1, size=chains) / (m - 1))
        distances.append(mean**2 + (sigma - 1) ** 2)
    found, first = np.array(distances), law.first_order_w2(np.full(400, m))
    error, n = found.std(axis=1) / np.sqrt(chains), np.arange(1, 401)
    near = slice(0, 5)
    assert (np.abs(found.mean(axis=1) - first)[near] < 4 * error[near] + (n / (2 * m**2))[near]).all()
    assert found[-1].mean() < first[-1] - 4 * error[-1]
    assert abs(found[-1].mean() - law.replace_w2(np.full(400, m), "unbiased")[-1]) < 4 * error[-1]


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


@pytest.mark.parametrize("estimator", ["unbiased", "mle"])
def test_a_bootstrap_of_generation_0_makes_the_quarter(estimator):
    """30,000 chains of M = 20 that draw with replacement: after 30 fits E μ² is π²/3 - ¼ of 1/M, or π²/3 if generation 0 does too."""
    m, fits, ends = 20, 30, []
    for bootstrap in (False, True):
        rng, chains = np.random.default_rng(7 + bootstrap), 30_000
        rows, mean, variance = np.arange(chains)[:, None], np.zeros(chains), np.ones(chains)
        pool, errors, variances = np.empty((chains, m * fits), np.float32), [], []
        for t in range(fits):
            new = mean[:, None] + np.sqrt(variance)[:, None] * rng.normal(size=(chains, m))
            pool[:, t * m : (t + 1) * m] = new
            chosen = pool[rows, rng.integers((t + 1) * m, size=(chains, m))] if t or bootstrap else new
            mean, variance = chosen.mean(axis=1), chosen.var(axis=1, ddof=int(estimator == "unbiased"))
            errors.append(mean**2)
            variances.append(variance)
        expected = law.subsample(np.full(fits, m), estimator, True, bootstrap=bootstrap)
        for values, exact in zip((variances, errors), expected, strict=True):
            values = np.array(values, float)
            assert (np.abs(values.mean(axis=1) - exact) < 4 * values.std(axis=1) / np.sqrt(chains)).all()
        ends.append((m * errors[-1].mean(), m * errors[-1].std() / np.sqrt(chains)))
        # The exact recursion goes to the limit: 2/n of the sum is missing, and an order 1/M that is below 10 a unit.
        n, large = 4000, 20_000
        end = law.subsample(np.full(n, large), "mle", True, bootstrap=bootstrap)[1][-1]
        assert abs(large * end - large * law.subsample_limit(large, True, bootstrap)) < 2.2 / n + 9 / large
    assert np.isclose(m * law.subsample_limit(m, True, True), np.pi**2 / 3)
    (without, se), (with_it, other) = ends
    assert with_it - without > 4 * np.hypot(se, other)  # a quarter, to first order in 1/M


def test_which_means_can_be_tested():
    assert law.testable(np.array([0.8, 0.9]), 1024).tolist() == [True, False]


@pytest.mark.parametrize("sigma0", [1.0, 3.0])
def test_bound_on_the_deviation_holds(sigma0):
    rng, m = np.random.default_rng(4), 5
    log_sigma = np.log(sigma0) + 0.5 * np.cumsum(np.log(rng.chisquare(m - 1, size=(60, CHAINS)) / (m - 1)), axis=0)
    for epsilon in (0.1, 0.5, 2.0):
        survived, bound = (np.exp(log_sigma) > epsilon).mean(axis=1), law.deviation_bound(epsilon, np.arange(1, 61), m, sigma0)
        assert (survived <= bound + 4 * np.sqrt(bound * (1 - bound) / CHAINS)).all()
    # Of chains that start at 3, the bound of those that start at 1 does not hold.
    assert sigma0 == 1 or ((np.exp(log_sigma) > 2).mean(axis=1) > law.deviation_bound(2.0, np.arange(1, 61), m) + 0.1).any()


def test_a_variance_exceeds_the_bound_on_deviations():
    """P(σ² > ε) <= exp(-k/4M)/ε fails. 20,000 chains of M = 5, weighted by 1/σ²: drawn by density · σ², so χ² with ν + 2 for ν."""
    rng, m, k = np.random.default_rng(8), 5, 60
    logs = np.log(rng.chisquare(m + 1, size=(k, CHAINS)) / (m - 1)).sum(axis=0)
    epsilon = np.exp(k * (digamma((m + 1) / 2) + np.log(2 / (m - 1))))  # where such chains are in mean
    weighted = np.where(logs > np.log(epsilon), np.exp(-logs), 0.0)
    share, error = weighted.mean(), weighted.std() / np.sqrt(CHAINS)
    assert share - 4 * error > law.deviation_bound(epsilon, np.array([k]), m)[0]
    # The same chains as a deviation, σ > √ε, keep to it.
    assert share + 4 * error < law.deviation_bound(np.sqrt(epsilon), np.array([k]), m)[0]
