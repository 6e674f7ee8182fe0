"""Simulated chains, run through the engine, against the closed forms: every mean within 4 standard errors."""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp

import collapse_jax as cj
from collapse_jax.regimes import Accumulate, AccumulateSubsample, Fresh, Mix, Replace, Weighted
from collapse_jax.theory import discrete, shares
from collapse_jax.theory import gaussian as law

CHAINS = 4000


def within(values, expected, errors=4.0):
    """Whether the mean of values [chains] is the expected one."""
    se = values.std(ddof=1) / np.sqrt(len(values))
    return abs(values.mean() - expected) <= errors * se + 1e-6 * abs(expected)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All regimes, raw and (where they may be) on statistics, both estimators: M = 20, ten generations, 4,000 chains."""
    base = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), Replace(), 20, 10)
    every = [
        Replace(),
        Accumulate(),
        AccumulateSubsample(),
        AccumulateSubsample(True),
        Mix(0.7, 0.0, 0.3, kept="fresh"),
        Fresh(5),
        Weighted(0.618),
    ]
    raw = cj.grid(base, **{"family.estimator": ["unbiased", "mle"], "family.statistics": [False], "regime": every})
    exact = [e for e in cj.grid(base, **{"family.estimator": ["unbiased", "mle"], "regime": every}) if e.regime.exact()]
    return cj.run([*raw, *exact], chains=CHAINS, seed=1, out=tmp_path_factory.mktemp("laws") / "run")


def test_every_regime_follows_its_law_on_samples_and_on_statistics(runs):
    checked, wrong = 0, []
    for experiment, predictions in runs.theory().items():
        e = runs.experiments[experiment]
        rows = runs.records.filter(pl.col("experiment") == experiment)
        for metric, prediction in predictions.items():
            for t in (0, 1, 2, 5, 10):
                values = rows.filter(pl.col("generation") == t)[metric].to_numpy().astype(float)
                for p in prediction:
                    if p.statistic == "mean" and p.kind == "exact":
                        checked += 1
                        if not within(values, p.values[t]):
                            wrong.append((type(e.regime).__name__, e.family, metric, t, values.mean(), p.values[t]))
    assert checked >= 300
    assert not wrong


def test_the_median_is_near_the_exponential_of_the_mean_logarithm(runs):
    replace = [i for i, e in enumerate(runs.experiments) if isinstance(e.regime, Replace) and e.family.estimator == "unbiased"]
    for i in replace:
        last = runs.records.filter((pl.col("experiment") == i) & (pl.col("generation") == 10))["log_variance"].to_numpy()
        # The median's standard error is 1.25 times the mean's; skewness moves it by less than a tenth of the spread.
        se = 1.25 * last.std() / np.sqrt(CHAINS)
        assert abs(np.median(last) - law.log_variance(np.full(11, 20), "unbiased")[10]) < 4 * se + 0.1 * last.std()


def test_samples_and_statistics_agree_in_distribution(runs):
    """Two-sample Kolmogorov–Smirnov tests (the arms are paired, which makes them conservative only at generation 0)."""

    def key(e):
        return (repr(e.regime), e.family.estimator)

    raw = {key(e): i for i, e in enumerate(runs.experiments) if e.family.statistics is False}
    pairs = [(raw[key(e)], i) for i, e in enumerate(runs.experiments) if e.family.statistics is None]
    assert len(pairs) == 10
    for a, b in pairs:
        for metric in ("trace_ratio", "mean_sq_error", "w2_sq"):
            x, y = (
                runs.records.filter((pl.col("experiment") == i) & (pl.col("generation") == 10))[metric].to_numpy() for i in (a, b)
            )
            assert ks_2samp(x, y).pvalue > 1e-4, (runs.experiments[a], metric)  # 30 tests: false alarm 0.3 %


def test_the_three_meanings_of_a_real_share_give_their_three_laws(tmp_path):
    """N · E μ² at a = 0.3 after 20 generations (the transient is 0.7^40): 1.96, 2.78 and 4.71, first order in 1/N = 1/1000."""
    base = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1, statistics=False), Replace(), 1000, 20)
    arms = cj.grid(base, regime=[Mix(0.7, 0.0, 0.3, kept=kept) for kept in ("fresh", "redrawn", "fixed")])
    done = cj.run(arms, chains=800, seed=2, out=tmp_path / "run")
    for i, (kept, limit) in enumerate(shares.LIMITS.items()):
        last = done.records.filter((pl.col("experiment") == i) & (pl.col("generation") == 20))["mean_sq_error"].to_numpy()
        assert within(1000 * last.astype(float), limit(0.3)), kept
    assert shares.fresh(0.3) < shares.redrawn(0.3) < shares.fixed(0.3)


def test_discrete_chains_follow_wright_and_fisher(tmp_path):
    base = cj.Experiment(cj.sources.Zipf(50, 1.0), cj.families.Discrete(50), Replace(), 100, 19)
    arms = [base, cj.varied(base, family=cj.families.Discrete(50, statistics=True)), cj.varied(base, regime=Accumulate())]
    done = cj.run(arms, chains=2000, seed=3, out=tmp_path / "run")
    theory = done.theory()
    for i in range(3):
        for t in (0, 4, 19):
            rows = done.records.filter((pl.col("experiment") == i) & (pl.col("generation") == t))
            for metric in ("heterozygosity", "tail_mass"):
                assert within(rows[metric].to_numpy().astype(float), theory[i][metric][0].values[t]), (i, metric, t)
    for t, tight in ((0, 0.002), (4, 0.03), (19, 0.06)):
        support = (
            done.records.filter((pl.col("experiment") == 0) & (pl.col("generation") == t))["support"].to_numpy().astype(float)
        )
        bound, se = theory[0]["support"][0].values[t], support.std() / np.sqrt(2000)
        assert bound - 4 * se <= support.mean() <= bound * (1 + tight) + 4 * se


@pytest.mark.parametrize("statistics", [False, True])
def test_two_states_fix_when_and_as_often_as_they_should(tmp_path, statistics):
    """p = (.7, .3), M = 20: the first state fixes with probability .7, after absorption_time fits; before, Seddik's bounds hold."""
    p, m, chains, fits = 0.7, 20, 4000, 400
    family = cj.families.Discrete(2, statistics=statistics)
    e = cj.Experiment(cj.sources.Categorical([p, 1 - p]), family, Replace(), m, fits - 1, metrics=["support", "tail_mass"])
    done = cj.run(e, chains=chains, seed=5, out=tmp_path / "run")
    rows = done.records.sort("chain", "generation")
    alive = rows["support"].to_numpy().reshape(chains, fits) == 2
    assert not alive[:, -1].any()  # 400 fits at M = 20: all but 1e-9 of chains are absorbed
    time = 1.0 + alive.sum(axis=1)
    assert within(time, discrete.absorption_time(p, m))
    assert abs(time.mean() / discrete.fixation_time(p, m) - 1) < 2 / m + 4 * time.std() / time.mean() / np.sqrt(chains)
    ended = done.params(0)[:, 0].astype(float)
    assert set(np.unique(ended)) == {0.0, 1.0} and within(ended, p)
    n = np.arange(1, fits + 1)
    low, high = discrete.not_absorbed(p, m, n)
    share = alive.mean(axis=0)
    error = lambda bound: 4 * np.sqrt(bound * (1 - bound) / chains) + 4 / chains  # a share of a few chains is Poisson
    assert (low - error(low) <= share).all() and (share <= high + error(high)).all()


def test_deviations_stay_below_their_bound(tmp_path):
    """P(σ_k > ε) <= exp(-k/4M)/ε for the standard deviation, on samples and on statistics (Suresh et al. 2412.17646)."""
    m, chains, fits = 5, 4000, 60
    base = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), Replace(), m, fits - 1, metrics=["log_variance"])
    arms = [base, cj.varied(base, family=cj.families.Gaussian(1, statistics=False))]
    done = cj.run(arms, chains=chains, seed=6, out=tmp_path / "run")
    for (_, rows), epsilon in itertools.product(done.records.group_by("experiment"), (0.1, 0.5)):
        log_sd = 0.5 * rows.sort("chain", "generation")["log_variance"].to_numpy().reshape(chains, fits)
        share = (log_sd > np.log(epsilon)).mean(axis=0)
        bound = law.deviation_bound(epsilon, np.arange(1, fits + 1), m)
        assert (share <= bound + 4 * np.sqrt(bound * (1 - bound) / chains)).all()
        assert share[-1] > 0.01 * bound[-1]  # the bound is near enough to be missed by a variance read as a deviation


def test_ten_thousand_generations_do_not_stall_on_samples_or_statistics(tmp_path):
    base = cj.Experiment(
        cj.sources.Normal(1), cj.families.Gaussian(1), Replace(), 10, 10_000, metrics=["log_variance", "mean_sq_error"]
    )
    arms = [base, cj.varied(base, family=cj.families.Gaussian(1, statistics=False))]
    done = cj.run(arms, chains=256, seed=4, out=tmp_path / "run")
    expected = law.log_variance(np.full(10_001, 10), "unbiased")[-1]
    rows = [done.records.filter(pl.col("experiment") == i) for i in (0, 1)]
    for arm in rows:
        last = arm.filter(pl.col("generation") == 10_000)["log_variance"].to_numpy()
        assert np.isfinite(last).all() and within(last.astype(float), expected), (last.mean(), expected)
    for generation in (2000, 10_000):
        for metric in ("log_variance", "mean_sq_error"):
            x, y = (arm.filter(pl.col("generation") == generation)[metric].to_numpy() for arm in rows)
            assert ks_2samp(x, y).pvalue > 1e-4, (metric, generation)  # 4 tests: false alarm 0.04 %
