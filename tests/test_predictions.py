"""Which predictions an experiment gets, and how far each can be tested."""

import numpy as np
import pytest

from collapse_jax.curation import Likelihood
from collapse_jax.decoding import SamplingBias
from collapse_jax.experiment import Experiment, resolve
from collapse_jax.families.discrete import Discrete
from collapse_jax.families.gaussian import Gaussian
from collapse_jax.regimes import Accumulate, AccumulateSubsample, Fresh, Mix, Replace, Weighted
from collapse_jax.schedules import Power
from collapse_jax.sources.analytic import Categorical, Normal, Zipf
from collapse_jax.theory import gaussian, predict, shares


def experiment(regime, samples=20, generations=10, **changes):
    whole = {"source": Normal(dim=1), "family": Gaussian(dim=1), "regime": regime, "samples": samples, "generations": generations}
    return Experiment(**whole | changes)


REGIMES = [Accumulate(), AccumulateSubsample(), Fresh(5), Mix(0.5, 0.2, 0.3), Mix(kept="fixed"), Weighted(0.6, "fixed")]


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: f"{type(regime).__name__}-{getattr(regime, 'kept', '')}")
def test_every_regime_has_a_mean_and_a_variance_resolved_or_not(regime):
    e = experiment(regime, family=Gaussian(dim=3), source=Normal(dim=3))
    found = predict(e)
    variance, error = shares.carried(regime, np.full(11, 20))
    assert np.allclose(found["trace_ratio"][0].values, variance)
    assert np.allclose(found["mean_sq_error"][0].values, 3 * error)
    again = predict(resolve(e))
    assert all(np.allclose(again[name][0].values, found[name][0].values, rtol=1e-6) for name in found)


def test_means_of_the_unbiased_fit_are_tested_only_while_they_can_be_sampled():
    found = predict(experiment(Replace(), samples=10, generations=99), chains=1024)
    mean, median = found["trace_ratio"]
    # 2 (t + 1) / 10 <= ln(1024) / 4 = 1.73 up to t = 7.
    assert np.flatnonzero(mean.testable).tolist() == list(range(8))
    assert (mean.statistic, mean.kind, median.statistic, median.kind) == ("mean", "exact", "median", "asymptotic")
    assert np.isclose(median.values[99], 1.03e-5, atol=2e-7) and median.testable is None
    assert found["log_variance"][0].testable is None


def test_sizes_that_grow_fast_enough_keep_the_error_bounded():
    found = predict(experiment(Replace(), samples=Power(10, 2.0), generations=200))
    assert found["mean_sq_error"][0].values[-1] < np.pi**2 / 6 / 10
    assert found["mean_sq_error"][0].testable.all()


def test_sampling_bias_and_small_samples():
    biased = predict(experiment(Replace(), decoding=SamplingBias(0.9)))
    assert np.allclose(biased["trace_ratio"][0].values, 0.9 ** np.arange(11))
    assert np.allclose(biased["log_variance"][0].values, gaussian.log_variance(np.full(11, 20), "unbiased", 0.9))
    thin = predict(experiment(Replace(), samples=3, source=Normal(dim=3), family=Gaussian(dim=3)))
    assert "log_det_ratio" not in thin and np.allclose(thin["trace_ratio"][0].values, 1)


def test_discrete_columns():
    zipf = {"source": Zipf(states=50), "family": Discrete(states=50)}
    found = predict(experiment(Replace(), 100, 19, **zipf))
    exact, bound = found["support"]
    assert (exact.kind, bound.kind) == ("exact", "bound")
    assert np.allclose(exact.values[[0, 4, 19]], [31.77, 16.84, 7.21], atol=5e-3) and (bound.values < exact.values).all()
    assert np.isclose(found["heterozygosity"][0].values[19] / found["heterozygosity"][0].values[0], 0.99**19)
    assert 0 < found["tail_mass"][0].values[7] <= 0.1 and np.isclose(np.ptp(found["tail_mass"][0].values), 0)
    assert [p.kind for p in predict(experiment(Replace(), 5000, 2, **zipf))["support"]] == ["bound"]
    # Accumulation never loses a state of the first real set.
    kept = predict(experiment(Accumulate(), 100, 19, **zipf))
    assert np.isclose(kept["support"][0].values[19], found["support"][0].values[0])
    even = predict(experiment(Replace(), 4, 2, source=Categorical([0.5, 0.5]), family=Discrete(states=2)))
    assert even["tail_mass"][0].values[0] == 0 and not even["tail_mass"][0].testable.any() and "tail_coverage" not in even


def test_nothing_is_said_of_what_theory_does_not_know():
    assert predict(experiment(Replace(), curation=(Likelihood(0.1, 0.9),))) == {}
    assert "support" not in predict(experiment(Fresh(5), 100, 3, source=Zipf(states=50), family=Discrete(states=50)))
