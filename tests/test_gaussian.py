"""Facts about Gaussian models and their chains: the closed forms, few samples, ten thousand generations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats
from scipy.special import digamma, gammaln, polygamma

from collapse_jax.data import Slots
from collapse_jax.decoding import SamplingBias
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment, resolve
from collapse_jax.families import Gaussian
from collapse_jax.regimes import Replace
from collapse_jax.schedules import Linear
from collapse_jax.sources import Normal
from collapse_jax.struct import replace


@functools.cache
def program(family, fits, accumulate=False, slots=0, decoding=None):
    """(keys, M) -> metrics [chains, fits], on statistics, or on samples where `slots` gives their largest number."""

    def chain(key, m):
        drawn = functools.partial(Slots.of, origin=0, count=m)
        params = family.init(key, {})
        if slots:
            store = drawn(family.sample(key, params, slots), frame=family.frame(params))
        else:
            store = family.sample_statistics(key, params, m).moments()

        def step(store, t):
            params, _ = family.fit(key, None, store, {})
            metrics = family.measure(key, params, None, {"source": Normal(family.dim)})
            now = jax.random.fold_in(key, t + 1)
            if slots:
                new = drawn(family.sample(now, params, slots, decoding), frame=family.frame(params))
            else:
                new = family.sample_statistics(now, params, m)
                new = store.append(new) if accumulate else new.moments()
            return new, metrics

        def grow(store, t):
            """Accumulated samples: block t of the store, in the source's coordinates."""
            params, _ = family.fit(key, None, store, {})
            metrics = family.measure(key, params, None, {"source": Normal(family.dim)})
            new = drawn(family.sample(jax.random.fold_in(key, t + 1), params, slots), frame=family.frame(params))
            return store.write(Slots.of(new.absolute(), 0, count=m), (t + 1) * slots), metrics

        if slots and accumulate:
            room = jnp.zeros((slots * (fits + 1), family.dim))
            store = Slots.of(room, 0, count=0).write(Slots.of(store.absolute(), 0, count=m), 0)
            return jax.lax.scan(grow, store, jnp.arange(fits))[1]
        return jax.lax.scan(step, store, jnp.arange(fits))[1]

    # LAPACK is never vmapped (and never called for statistics under replace).
    batch = None if family.dim > 1 and (slots or accumulate) else 256
    return jax.jit(lambda keys, m: jax.lax.map(lambda key: chain(key, m), keys, batch_size=batch))


def run(m, chains=4096, seed=0, **kwargs):
    """Metrics by name, float64 [chains, fits]."""
    keys = jax.random.split(jax.random.key(seed), chains)
    records = program(**kwargs)(keys, jnp.float32(m))
    return {name: np.asarray(values, np.float64) for name, values in records.items()}


def z_score(values, expected):
    """Distance of the mean over chains from `expected`, in standard errors."""
    return np.abs(values.mean(0) - expected) / (values.std(0, ddof=1) / np.sqrt(len(values)))


def log_variance_of(m, fits, divisor):
    """E log σ² after each fit in one dimension: n (ψ(ν/2) - ln(divisor/2)), ν = M - 1."""
    return np.arange(1, fits + 1) * (digamma((m - 1) / 2) - np.log(divisor / 2))


def log_det_of(m, fits, dim):
    """E log det Σ of unbiased fits: n Σ_i ψ((M-i)/2) + ln(2/(M-1))."""
    return np.arange(1, fits + 1) * (digamma((m - np.arange(1, dim + 1)) / 2) + np.log(2 / (m - 1))).sum()


def statistic(estimator="unbiased", dim=1, fits=100, accumulate=False):
    return {"family": Gaussian(dim=dim, estimator=estimator), "fits": fits, "accumulate": accumulate}


@pytest.mark.parametrize("estimator", ["unbiased", "mle"])
@pytest.mark.parametrize("dim", [1, 3])
def test_fit_is_the_sample_mean_and_covariance(estimator, dim):
    x = np.random.default_rng(0).normal(size=(20, dim)).astype(np.float32)
    family = Gaussian(dim=dim, estimator=estimator)
    params, _ = family.fit(None, None, Slots.of(jnp.asarray(x), 0), {})
    f = np.asarray(params.factor.unit) * np.exp(np.asarray(params.factor.log_scale))
    expected = np.cov(x.T, ddof=1 if estimator == "unbiased" else 0).reshape(dim, dim)
    np.testing.assert_allclose(f @ f.T, expected, atol=2e-6)
    np.testing.assert_allclose(params.mean, x.mean(0), atol=1e-6)


def test_weighted_unbiased_fit_divides_by_v1_minus_v2_over_v1():
    x, w = np.random.default_rng(0).normal(size=20).astype(np.float32), np.linspace(0.1, 2, 20).astype(np.float32)
    params, _ = Gaussian(dim=1).fit(None, None, Slots(jnp.asarray(x)[:, None], jnp.asarray(w), jnp.zeros(20, jnp.int32)), {})
    np.testing.assert_allclose(np.exp(2 * params.factor.log_scale[0]), np.cov(x, aweights=w, ddof=1), rtol=1e-5)


@pytest.mark.parametrize("estimator", ["unbiased", "mle"])
def test_replace_log_variance_and_median_follow_theory(estimator):
    for m, fits in ((10, 100), (100, 100), (2, 20)):
        log_variance = run(m, **statistic(estimator))["log_variance"][:, :fits]
        divisor = m - 1 if estimator == "unbiased" else m
        expected = log_variance_of(m, fits, divisor)
        assert z_score(log_variance, expected).max() < 4.5  # the largest of `fits` scores
        if m == 100 and estimator == "unbiased":
            # Skewness moves the median of log σ² by about 1/(3 (M - 1)) from its mean, however many fits.
            error = np.sqrt(np.pi / 2 * fits * polygamma(1, (m - 1) / 2) / len(log_variance))
            assert abs(np.median(log_variance[:, -1]) - (expected[-1] + 1 / (3 * (m - 1)))) < 4 * error
            assert abs(np.log(2) - -expected[int((m - 1) * np.log(2)) - 1]) < 0.02  # half-life (M - 1) ln 2


def test_replace_unbiased_mean_and_wasserstein_follow_theory():
    m, fits = 100, 50
    records = {name: values[:, :fits] for name, values in run(m, **statistic()).items()}
    n = np.arange(1, fits + 1)
    c4 = np.exp(0.5 * np.log(2 / (m - 1)) + gammaln(m / 2) - gammaln((m - 1) / 2))
    assert z_score(records["mean_sq_error"], n / m).max() < 4.5
    assert z_score(records["w2_sq"], n / m + 2 * (1 - c4**n)).max() < 4.5
    assert z_score(records["trace_ratio"], 1.0).max() < 4.5
    assert z_score(np.exp(records["log_variance"] / 2), c4**n).max() < 4.5


def test_replace_mle_variance_moves_into_the_mean():
    records = run(100, **statistic("mle"))
    expected = (1 - 1 / 100) ** np.arange(1, 101)
    assert z_score(records["trace_ratio"], expected).max() < 4.5
    assert z_score(records["mean_sq_error"], 1 - expected).max() < 4.5


def test_replace_in_three_dimensions_follows_theory():
    m, fits = 30, 20
    records = run(m, **statistic(dim=3, fits=fits))
    assert z_score(records["log_det_ratio"], log_det_of(m, fits, 3)).max() < 4.5
    assert z_score(records["mean_sq_error"], 3 * np.arange(1, fits + 1) / m).max() < 4.5
    assert z_score(records["trace_ratio"], 1.0).max() < 4.5


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("estimator", ["unbiased", "mle"])
def test_accumulate_follows_its_exact_recursion(estimator, dim):
    """mle: (1-1/M) Π (1-1/(M k²)); unbiased, by the same argument: Π (1 - 1/(k (kM - 1))), k = 2 … n; also where M <= d."""
    for m in (20, 3):
        fits = 40
        records = run(m, chains=2048, **statistic(estimator, dim, fits, accumulate=True))
        k = np.arange(1, fits + 1)
        factor = 1 - 1 / (m * k**2) if estimator == "mle" else np.where(k > 1, 1 - 1 / (k * (k * m - 1)), 1.0)
        expected = np.cumprod(factor)
        assert z_score(records["trace_ratio"], expected).max() < 4.5
        if estimator == "mle":
            assert z_score(records["mean_sq_error"] / dim, 1 - expected).max() < 4.5
        if m <= dim:
            assert (records["log_det_ratio"] == -np.inf).all()


@pytest.mark.parametrize("m", [2, 3])
def test_with_no_more_samples_than_dimensions_the_covariance_is_thin(m):
    records = run(m, **statistic("mle", dim=3, fits=5))
    assert (records["log_det_ratio"] == -np.inf).all()
    assert all(np.isfinite(values).all() for name, values in records.items() if name != "log_det_ratio")
    expected = (1 - 1 / m) ** np.arange(1, 6)
    assert z_score(records["trace_ratio"], expected).max() < 4
    assert z_score(records["mean_sq_error"] / 3, 1 - expected).max() < 4


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("dim", [1, 3])
def test_samples_and_statistics_agree_in_distribution(dim, accumulate):
    """Two-sample Kolmogorov–Smirnov tests, M > d and M <= d, after 1, 3 and 6 fits."""
    family = Gaussian(dim=dim, estimator="mle")
    for m in (10, 3, 2):
        exact = run(m, 2000, seed=1, family=family, fits=6, accumulate=accumulate)
        raw = run(m, 2000, seed=2, family=family, fits=6, accumulate=accumulate, slots=10)
        for name in exact:
            for fit in (0, 2, 5):
                a, b = exact[name][:, fit], raw[name][:, fit]
                if m <= dim and name == "log_det_ratio":
                    assert (a == -np.inf).all() and (b == -np.inf).all()
                else:
                    assert stats.ks_2samp(a, b, method="asymp").pvalue > 1e-4, (name, m, fit)


@pytest.mark.parametrize("slots", [0, 10])
def test_ten_thousand_generations_do_not_stall(slots):
    fits, chains, m = 10_000, 256, 10
    records = run(m, chains, family=Gaussian(dim=1), fits=fits, slots=slots)
    log_variance = records["log_variance"]
    assert np.isfinite(log_variance).all()
    expected = log_variance_of(m, fits, m - 1)
    for n in (100, 2000, fits):
        error = np.sqrt(n * polygamma(1, (m - 1) / 2) / chains)
        assert abs(log_variance[:, n - 1].mean() - expected[n - 1]) < 4 * error
        assert abs(log_variance[:, n - 1].var() / (error**2 * chains) - 1) < 4 * np.sqrt(2 / chains)


def test_the_determinant_survives_ten_thousand_generations_in_three_dimensions():
    fits, chains, m = 10_000, 64, 10
    log_det = run(m, chains, **statistic(dim=3, fits=fits))["log_det_ratio"]
    expected = log_det_of(m, fits, 3)
    per_fit = polygamma(1, (m - np.arange(1, 4)) / 2).sum()
    for n in (100, 2000, fits):
        assert abs(log_det[:, n - 1].mean() - expected[n - 1]) < 4 * np.sqrt(n * per_fit / chains)


def test_sampling_bias_shrinks_the_variance_by_lambda_every_generation():
    records = run(10, family=Gaussian(dim=1), fits=5, slots=10, decoding=SamplingBias(0.5))
    expected = log_variance_of(10, 5, 9) + np.arange(5) * np.log(0.5)
    assert z_score(records["log_variance"], expected).max() < 4


def params_of(dim, n=40, seed=0, estimator="unbiased"):
    x = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32) * np.linspace(0.5, 2, dim, dtype=np.float32) + 1
    params, _ = Gaussian(dim=dim, estimator=estimator).fit(None, None, Slots.of(jnp.asarray(x), 0), {})
    return params, x.mean(0), np.cov(x.T).reshape(dim, dim)


@pytest.mark.parametrize("dim", [1, 3])
def test_log_prob_is_the_normal_density(dim):
    params, mean, covariance = params_of(dim)
    x = np.random.default_rng(1).normal(size=(10, dim)).astype(np.float32)
    expected = stats.multivariate_normal(mean, covariance).logpdf(x)
    np.testing.assert_allclose(Gaussian(dim=dim).log_prob(params, jnp.asarray(x), {}), expected, rtol=1e-4)


@pytest.mark.parametrize("dim", [1, 3])
def test_measures_are_those_of_the_fitted_covariance(dim):
    params, mean, covariance = params_of(dim)
    metrics = Gaussian(dim=dim, w2=True).measure(None, params, None, {"source": Normal(dim)})
    root = linalg.sqrtm(covariance).real if dim > 1 else np.sqrt(covariance)
    inverse = np.linalg.inv(covariance)
    expected = {
        "trace_ratio": np.trace(covariance) / dim,
        "log_variance": np.log(np.trace(covariance) / dim),
        "log_det_ratio": np.linalg.slogdet(covariance)[1],
        "mean_sq_error": (mean**2).sum(),
        "excess_risk": 0.5 * (np.trace(inverse) + mean @ inverse @ mean - dim + np.linalg.slogdet(covariance)[1]),
        "w2_sq": (mean**2).sum() + np.trace(covariance) + dim - 2 * np.trace(root),
    }
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-5, atol=2e-6)
    assert "w2_sq" not in Gaussian(dim=3).measure(None, params_of(3)[0], None, {"source": Normal(3)})


def test_samples_have_the_models_mean_and_covariance():
    params, mean, covariance = params_of(3)
    family, n = Gaussian(dim=3), 100_000
    x = np.asarray(Slots.of(family.sample(jax.random.key(0), params, n), 0, family.frame(params)).absolute(), np.float64)
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(x.mean(0) - mean) < 4 * sd / np.sqrt(n)).all()
    error = np.sqrt((covariance**2 + np.outer(sd, sd) ** 2) / n)
    assert (np.abs(np.cov(x.T) - covariance) < 4 * error).all()


@pytest.mark.parametrize("slots", [0, 5])
def test_one_sample_collapses_to_a_point_without_nan(slots):
    records = run(1, 64, family=Gaussian(dim=1, estimator="mle"), fits=3, slots=slots)
    assert (records["trace_ratio"] == 0).all() and (records["log_variance"] == -np.inf).all()
    assert np.isfinite(records["w2_sq"]).all()


BASE = Experiment(source=Normal(dim=2), family=Gaussian(dim=2), regime=Replace(), samples=10, generations=3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"family": Gaussian(dim=0)}, "family.dim"),
        ({"family": Gaussian(dim=3)}, "family.dim"),
        ({"family": Gaussian(dim=2, estimator="map")}, "family.estimator"),
        ({"family": Gaussian(dim=2, statistics="yes")}, "family.statistics"),
        ({"family": Gaussian(dim=2, w2=None)}, "family.w2"),
        ({"samples": 1}, "samples"),
        ({"samples": Linear(3, -1)}, "samples"),
    ],
)
def test_what_cannot_be_fitted_is_refused_by_name(changes, field):
    with pytest.raises(ConfigError) as error:
        resolve(replace(BASE, **changes))
    assert error.value.field == field


def test_statistics_are_kept_where_nothing_asks_for_samples():
    assert resolve(BASE).family.statistics
    assert not resolve(replace(BASE, decoding=SamplingBias(0.9))).family.statistics
