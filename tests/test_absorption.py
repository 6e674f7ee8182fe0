"""Chains followed until one state is left: as many fits as plain Wright–Fisher chains take, and as theory says."""

import numpy as np
import pytest
from scipy import stats

import collapse_jax as cj
from collapse_jax.engine.absorption import Absorption
from collapse_jax.theory import discrete

CHAINS = 4000


def plain(p0, m, chains=CHAINS):
    """Fits until one state is left, by NumPy: [chains]."""
    rng, p = np.random.default_rng(0), np.broadcast_to(p0, (chains, len(p0)))
    found, k = np.zeros(chains, int), 0
    while not found.all():
        k += 1
        p = rng.multinomial(m, p) / m
        found[(found == 0) & ((p > 0).sum(axis=1) == 1)] = k
    return found


def experiment(source, samples, **fields):
    states = getattr(source, "states", 2)
    return cj.Experiment(
        **dict(source=source, family=cj.families.Discrete(states), regime=cj.regimes.Replace(), samples=samples, generations=0)
        | fields
    )


def test_chains_end_when_plain_ones_do_and_their_number_is_no_matter_of_chunks():
    p0 = np.array([0.4, 0.2, 0.15, 0.1, 0.05, 0.05, 0.03, 0.02])
    e = experiment(cj.sources.Categorical(p0), 12)
    absorption = Absorption(e, CHAINS)
    found = absorption.fits(seed=1)
    assert found.shape == (CHAINS,) and found.min() >= 1
    assert stats.ks_2samp(found, plain(p0, 12)).pvalue > 1e-4
    assert (absorption.fits(seed=1) == found).all() and (absorption.fits(seed=2) != found).any()
    assert (cj.fits_to_absorption(e, 37, seed=1) == found[:37]).all()


def test_chains_end_when_those_of_a_run_do(tmp_path):
    e = experiment(cj.sources.Zipf(6), 8, generations=150)
    records = cj.run(e, chains=500, seed=3, out=tmp_path / "run").records
    support = records.sort("generation", "chain")["support"].to_numpy().reshape(151, 500)
    assert (support[-1] == 1).all()
    assert stats.ks_2samp(cj.fits_to_absorption(e, CHAINS), 1 + (support > 1).sum(axis=0)).pvalue > 1e-4


def test_many_states_take_as_many_fits_as_theory_says():
    p0 = np.full(70, 1 / 70)  # programs of 70 states, 64, ... 2
    found = cj.fits_to_absorption(experiment(cj.sources.Categorical(p0), 20), 2000)
    assert abs(found.mean() - discrete.absorption_time(p0, 20)) < 4 * found.std() / np.sqrt(len(found))


def test_two_states_take_the_exact_mean():
    found = cj.fits_to_absorption(experiment(cj.sources.Categorical([0.3, 0.7]), 20), CHAINS)
    assert abs(found.mean() - discrete.absorption_time(0.3, 20)) < 4 * found.std() / np.sqrt(CHAINS)


def test_one_sample_is_one_state():
    assert (cj.fits_to_absorption(experiment(cj.sources.Zipf(9), 1), 50) == 1).all()


@pytest.mark.parametrize(
    ("fields", "chains", "field"),
    [
        (dict(source=cj.sources.Normal(1), samples=10, family=cj.families.Gaussian(1)), 10, "family"),
        (dict(source=cj.sources.Zipf(5), samples=10, regime=cj.regimes.Accumulate()), 10, "regime"),
        (dict(source=cj.sources.Zipf(5), samples=cj.schedules.Linear(10, 20)), 10, "samples"),
        (dict(source=cj.sources.Zipf(1), samples=10), 10, "source.states"),
        (dict(source=cj.sources.Zipf(5), samples=0), 10, "samples"),
        (dict(source=cj.sources.Zipf(5), samples=10), 0, "chains"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(fields, chains, field):
    with pytest.raises(cj.ConfigError) as error:
        cj.fits_to_absorption(experiment(**fields), chains)
    assert error.value.field == field
