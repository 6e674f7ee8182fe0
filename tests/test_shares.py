"""How mean and variance are carried through the regimes: exact recursions against plain simulation, and their limits."""

import numpy as np
import pytest

from collapse_jax import regimes
from collapse_jax.schedules import Linear
from collapse_jax.theory import shares

CHAINS = 20_000


def fit(samples, weight=None, unbiased=True):
    """Mean and variance of samples [chains, n]."""
    w = np.full(samples.shape[1], 1.0) if weight is None else weight
    mean = samples @ w / w.sum()
    scatter = ((samples - mean[:, None]) ** 2) @ w
    return mean, scatter / (w.sum() - (w @ w / w.sum() if unbiased else 0))


def pick(rng, pool, n, replacement=False):
    """n of every row of pool [chains, N]."""
    if replacement:
        index = rng.integers(pool.shape[1], size=(len(pool), n))
    else:
        index = np.argpartition(rng.random(pool.shape), n - 1, axis=1)[:, :n] if n < pool.shape[1] else np.arange(n)[None]
    return np.take_along_axis(pool, index, axis=1)


def simulate(regime, m, generations, unbiased=True, bias=1.0, seed=0):
    """E μ² and E σ² of every generation with their standard errors: [4, generations + 1], by drawing all samples."""
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(CHAINS, m))
    current, pool, weight, out = real, real, None, []
    for _ in range(generations + 1):
        mean, variance = fit(current, weight, unbiased)
        square = mean**2
        out.append([square.mean(), square.std() / CHAINS**0.5, variance.mean(), variance.std() / CHAINS**0.5])
        new = mean[:, None] + np.sqrt(bias * variance)[:, None] * rng.normal(size=(CHAINS, m))
        if isinstance(regime, regimes.Replace):
            current = new
        elif isinstance(regime, regimes.Accumulate):
            current = np.concatenate([current, new], axis=1)
        elif isinstance(regime, regimes.AccumulateSubsample):
            pool = np.concatenate([pool, new], axis=1)
            current = pick(rng, pool, m, regime.replacement)
        elif isinstance(regime, regimes.Fresh):
            current = np.concatenate([rng.normal(size=(CHAINS, regime.real_samples)), new], axis=1)
        elif isinstance(regime, regimes.Mix):
            k, previous = round(regime.real * m), round(regime.previous * m)
            if regime.kept == "fresh":
                kept = rng.normal(size=(CHAINS, k))
            else:
                kept = real[:, :k] if regime.kept == "fixed" else pick(rng, real, k)
            parts = [kept, pick(rng, current, previous), new[:, : m - k - previous]]
            current = np.concatenate(parts, axis=1)
        else:
            old = rng.normal(size=(CHAINS, m)) if regime.kept == "fresh" else real
            current = np.concatenate([old, new], axis=1)
            weight = np.repeat([regime.real_weight, 1 - regime.real_weight], m)
    return np.array(out).T


CASES = [
    (regimes.Replace(), 1.0),
    (regimes.Replace(), 0.8),
    (regimes.Accumulate(), 1.0),
    (regimes.AccumulateSubsample(), 1.0),
    (regimes.AccumulateSubsample(replacement=True), 1.0),
    (regimes.Fresh(3), 0.9),
    (regimes.Mix(0.7, 0.0, 0.3, "fresh"), 1.0),
    (regimes.Mix(0.7, 0.0, 0.3, "redrawn"), 1.0),
    (regimes.Mix(0.7, 0.0, 0.3, "fixed"), 1.0),
    (regimes.Mix(0.4, 0.4, 0.2, "redrawn"), 1.0),
    (regimes.Mix(0.5, 0.3, 0.2, "fixed"), 0.9),
    (regimes.Weighted(0.3, "fresh"), 1.0),
    (regimes.Weighted(0.3, "fixed"), 1.0),
]


@pytest.mark.parametrize("unbiased", [True, False], ids=["unbiased", "mle"])
@pytest.mark.parametrize(("regime", "bias"), CASES, ids=lambda x: getattr(x, "kept", type(x).__name__))
def test_recursions_are_what_plain_sampling_gives(regime, bias, unbiased):
    m, generations = 10, 5
    exact = shares.carried(regime, np.full(generations + 1, m), "unbiased" if unbiased else "mle", bias)
    error, error_se, variance, variance_se = simulate(regime, m, generations, unbiased, bias, seed=3)
    assert (np.abs(variance - exact[0]) < 4 * variance_se).all()
    assert (np.abs(error - exact[1]) < 4 * error_se).all()


def test_sizes_may_differ_between_generations():
    sizes = np.array([10, 20, 40])
    variance, error = shares.carried(regimes.Replace(), sizes)
    assert np.allclose(error, np.cumsum(1 / sizes)) and np.allclose(variance, 1)
    assert np.allclose(sum(shares.carried(regimes.Accumulate(), sizes, "mle")), 1)
    assert shares.carried(regimes.Mix(None, 0.0, Linear(0.1, 0.1), "fixed"), sizes) is None
    assert shares.carried(regimes.Mix(None, 0.0, Linear(0.1, 0.1), "fresh"), sizes) is not None


def test_fresh_loop_as_printed():
    assert np.isclose(shares.fresh_loop(20, 180)[0], 1.0243, atol=1e-4)
    assert np.isclose(shares.fresh_loop(100, 900)[1], 0.00529, atol=1e-5)
    assert np.isclose(shares.fresh_loop(100, 900, 0.8)[1], 0.001882, atol=1e-6)
    assert np.isclose(100 * shares.fresh_loop(10, 90)[1], 5.50, atol=1e-3)
    assert np.allclose(np.array(shares.carried(regimes.Fresh(10), np.full(300, 90)))[:, -1], shares.fresh_loop(10, 90))


def test_three_meanings_of_a_real_share():
    assert np.allclose([shares.LIMITS[kept](0.1) for kept in regimes.KEPT], [5.263, 6.211, 14.737], atol=1e-3)
    n = 2000
    # The recursions' next order, (ratio - 1) N, is 4.3, 2.9 and -1.5 at a = .1.
    for kept, law in shares.LIMITS.items():
        exact = shares.carried(regimes.Mix(0.9, 0.0, 0.1, kept), np.full(300, n))[1][-1]
        assert abs(n * exact / law(0.1) - 1) < 4.5 / n
    redrawn = shares.carried(regimes.Mix(0.9, 0.0, 0.1, "redrawn"), np.full(300, 100))[1][-1]
    assert np.isclose(100 * redrawn, 6.40, atol=0.01)


def test_golden_ratio_weight():
    golden = (np.sqrt(5) - 1) / 2
    assert np.isclose(shares.best_weight(), golden) and np.isclose(shares.weighted(golden), golden)
    grid = np.linspace(0.01, 0.99, 981)
    assert abs(grid[np.argmin(shares.weighted(grid))] - golden) < 1e-3
    for w, printed in ((0.5, 0.6667), (0.618, 0.6180), (0.8, 0.7083)):
        assert np.isclose(shares.weighted(w), printed, atol=1e-4)
        exact = shares.carried(regimes.Weighted(w), np.full(100, 1000))[1][-1]
        assert abs(1000 * exact / shares.weighted(w) - 1) < 0.2 / 1000  # its next order is 0.17 at w = .5


def combined(w, k, kept, n=1000, generations=40):
    """n μ² of 40,000 chains, a mean over the second half of their generations: [chains]; n synthetic samples, k n real of weight w."""
    rng, chains = np.random.default_rng(11), 40_000
    real = lambda: (rng.normal(size=chains) / np.sqrt(k * n), rng.chisquare(k * n - 1, size=chains) / (k * n))
    kept_mean, kept_variance = first = real()
    mean, variance, squares = *first, []
    for _ in range(generations):
        if kept == "fresh":
            kept_mean, kept_variance = real()
        new = mean + np.sqrt(variance / n) * rng.normal(size=chains)
        spread = variance * rng.chisquare(n - 1, size=chains) / n
        mean = w * kept_mean + (1 - w) * new
        within = w * kept_variance + (1 - w) * spread + w * (1 - w) * (kept_mean - new) ** 2
        variance = within / (1 - w * w / (k * n) - (1 - w) ** 2 / n)
        squares.append(mean**2)
    return n * np.mean(squares[generations // 2 :], axis=0)


@pytest.mark.parametrize("k", [0.25, 1.0, 4.0])
def test_the_best_weight_of_fresh_real_data(k):
    """By numbers, and by chains that start alike: a tenth to either side of the best weight is worse by more than 4 standard errors."""
    best, grid = shares.best_weight(k), np.linspace(0.001, 0.999, 9981)
    assert abs(grid[np.argmin(shares.weighted(grid, k))] - best) < 2e-4
    assert np.isclose(shares.weighted(best, k), best / k)
    found = {w: combined(w, k, "fresh") for w in (best - 0.1, best, best + 0.1)}
    for w, values in found.items():
        # What is left of the start is (1-w)^40, and the next order in 1/n below 2 of the law.
        allowed = (2 / 1000 + (1 - w) ** 40) * shares.weighted(w, k)
        assert abs(values.mean() - shares.weighted(w, k)) < 4 * values.std() / np.sqrt(40_000) + allowed
        worse = values - found[best]
        assert w == best or worse.mean() > 4 * worse.std() / np.sqrt(40_000)


@pytest.mark.parametrize("k", [0.25, 1.0, 4.0])
def test_the_best_weight_of_one_real_set_is_one(k):
    """Every weight up to 1 is better than the one before, by more than 4 standard errors, and all follow the law."""
    before = None
    for w in (0.4, 0.6, 0.8, 1.0):
        values = combined(w, k, "fixed")
        allowed = (2 / 1000 + (1 - w) ** 40) * shares.weighted_fixed(w, k)
        assert abs(values.mean() - shares.weighted_fixed(w, k)) < 4 * values.std() / np.sqrt(40_000) + allowed
        assert before is None or (before - values).mean() > 4 * (before - values).std() / np.sqrt(40_000)
        before = values
    exact = shares.carried(regimes.Weighted(0.6, "fixed"), np.full(100, 1000))[1][-1]
    assert abs(1000 * exact / shares.weighted_fixed(0.6) - 1) < 2 / 1000
    assert (np.diff([shares.weighted_fixed(w, k) for w in np.linspace(0.01, 1, 100)]) < 0).all()
