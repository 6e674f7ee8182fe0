"""Counting states by sorting, missing mass, Chao's richness and Zipf exponents: by hand and against SciPy."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from collapse_jax.metrics.frequencies import STEEPEST, chao1, counted, missing_mass, zipf_mle, zipf_slope
from collapse_jax.metrics.registry import of_kind

OF_COUNTS = {"missing_mass": missing_mass, "chao1": chao1, "zipf_mle": zipf_mle, "zipf_slope": zipf_slope}
single = lambda z: jnp.asarray(z, jnp.float32)
JITTED = {name: jax.jit(f) for name, f in OF_COUNTS.items()}
every = pytest.mark.parametrize("name", OF_COUNTS)
ZIPF = 1 / np.arange(1.0, 1001)


def sample(seed, n=300):
    return np.random.default_rng(seed).choice(1000, n, p=ZIPF / ZIPF.sum())


def sampled(name, x, weight=None):
    weight = np.ones(len(x)) if weight is None else weight
    x = jnp.asarray(x)
    return float(jax.jit(of_kind("states")[name].function)(x, single(weight), x, jax.random.key(0)))


def test_states_are_counted_with_weights_as_repetition_and_masks_as_deletion():
    x, weight = sample(0), np.random.default_rng(1).integers(0, 4, 300)
    found = np.asarray(counted(jnp.asarray(x), single(weight)))
    expected = Counter(x.repeat(weight).tolist())
    assert sorted(found[found > 0].tolist()) == sorted(expected.values())
    assert np.asarray(counted(jnp.zeros(3, int), jnp.zeros(3))).tolist() == [0, 0, 0]


def test_missing_mass_and_richness_by_hand():
    counts = single([5, 2, 2, 1, 1, 1, 0, 0])
    assert np.isclose(missing_mass(counts), 3 / 12)
    assert np.isclose(chao1(counts), 6 + 9 / 4)
    assert np.isclose(chao1(single([5, 1, 1, 1, 0])), 4 + 3)  # no state was seen twice
    assert float(chao1(single([5, 3, 0]))) == 2 and float(missing_mass(single([5, 3, 0]))) == 0


def test_missing_mass_is_unbiased_but_for_one_sample_in_all():
    """E N1 / N = E of the mass that N - 1 samples miss (Good 1953): of 400 samples, within four standard errors."""
    p = ZIPF[:50] / ZIPF[:50].sum()
    counts = np.random.default_rng(0).multinomial(40, p, size=400)
    found = np.asarray(jax.vmap(missing_mass)(single(counts)))
    assert abs(found.mean() - (p * (1 - p) ** 39).sum()) < 4 * found.std() / 20


def test_richness_of_equally_likely_states_is_their_number():
    counts = np.random.default_rng(0).multinomial(200, np.full(200, 1 / 200), size=400)
    found = np.asarray(jax.vmap(chao1)(single(counts)))
    # Chao's bound is met by equal probabilities; its mean is about f1² / 2 f2 · (1 / f2) too high, f2 about 37.
    assert abs(found.mean() - 200) < 4 * found.std() / 20 + 200 / 37


def test_the_exponent_has_scipys_greatest_likelihood():
    counts = np.sort(np.random.default_rng(0).multinomial(500, ZIPF[:80] / ZIPF[:80].sum()))[::-1]
    seen = counts[counts > 0]
    log_rank = np.log(np.arange(1, len(seen) + 1))
    loss = lambda s: s * seen @ log_rank + seen.sum() * np.log(np.exp(-s * log_rank).sum())
    expected = optimize.minimize_scalar(loss, bounds=(0, 5), method="bounded", options={"xatol": 1e-10}).x
    np.testing.assert_allclose(zipf_mle(single(np.random.default_rng(1).permutation(counts))), expected, rtol=1e-4)


@pytest.mark.parametrize("s", [0.5, 1.0, 1.8])
def test_exact_frequencies_give_their_exponent_back(s):
    exact = 1e6 * np.arange(1.0, 101) ** -s
    np.testing.assert_allclose(zipf_mle(single(exact)), s, rtol=1e-4)
    np.testing.assert_allclose(zipf_slope(single(exact)), s, rtol=1e-4)


def test_the_slope_is_scipys():
    counts = np.sort(np.random.default_rng(0).multinomial(500, ZIPF[:80] / ZIPF[:80].sum()))[::-1]
    seen = counts[counts > 0]
    expected = -stats.linregress(np.log(np.arange(1, len(seen) + 1)), np.log(seen)).slope
    np.testing.assert_allclose(zipf_slope(single(counts[::-1].copy())), expected, rtol=1e-4)


def test_exponents_of_two_states_and_of_one():
    assert np.isclose(zipf_mle(single([8, 2])), 2, atol=1e-4) and np.isclose(zipf_slope(single([8, 2])), 2, rtol=1e-5)
    assert np.isclose(zipf_mle(single([3, 3])), 0, atol=1e-3) and float(zipf_slope(single([3, 3]))) == 0
    assert np.isclose(zipf_mle(single([2**20, 1])), STEEPEST)


@every
def test_the_registered_are_those_of_counts_whatever_the_order_and_the_slots(name):
    x, weight = sample(2), np.random.default_rng(3).integers(0, 3, 300)
    counts = np.bincount(x, weights=weight, minlength=1000)
    expected = float(JITTED[name](single(counts)))
    np.testing.assert_allclose(sampled(name, x, weight), expected, rtol=1e-5)
    np.testing.assert_allclose(sampled(name, x.repeat(weight)), expected, rtol=1e-5)
    np.testing.assert_allclose(sampled(name, 7 * x[::-1] + 3, weight[::-1]), expected, rtol=1e-5)
    assert of_kind("states")[name].kind == "states"


@every
def test_empty_lone_and_equal_samples_have_a_value(name):
    empty, lone, equal = {"missing_mass": (1, 1, 0), "chao1": (0, 1, 1)}.get(name, (0, 0, 0))
    assert sampled(name, sample(0, 9), np.zeros(9)) == empty
    assert sampled(name, [4]) == lone and sampled(name, [4, 4, 4], [1, 0, 0]) == lone
    assert sampled(name, [4, 4, 4]) == equal
    assert np.isfinite(sampled(name, np.arange(9)))


NULL = {"missing_mass": (0.292, 0.019), "chao1": (578, 96), "zipf_mle": (0.853, 0.024), "zipf_slope": (0.707, 0.024)}
LOST = {"missing_mass": 0.215, "chao1": 371, "zipf_mle": 0.896, "zipf_slope": 0.801}


def simulated(name, n, samples):
    """The metric of samples of n from Zipf's law, and from that law without the rarer half of its states."""
    function = jax.jit(jax.vmap(OF_COUNTS[name]))
    draws = [np.random.default_rng(9).multinomial(n, p / p.sum(), size=samples) for p in (ZIPF, ZIPF * (np.arange(1000) < 500))]
    return [np.asarray(function(single(counts))) for counts in draws]


@every
def test_bias_and_spread_are_as_the_docstrings_say(name):
    """Of 200 samples of 512: means within four standard errors, the spread within 25 % (4 / √400, and skew)."""
    (null, lost), (mean, spread) = simulated(name, 512, 200), NULL[name]
    assert abs(null.mean() - mean) < 4 * spread / np.sqrt(200) + 0.0005 and abs(null.std() / spread - 1) < 0.25
    assert abs(lost.mean() - LOST[name]) < 4 * lost.std() / np.sqrt(200) + 0.0005


@every
def test_from_its_least_size_on_lost_states_are_told_from_noise(name):
    null, lost = simulated(name, of_kind("states")[name].least, 200)
    assert abs(lost.mean() - null.mean()) > 2.6 * null.std()  # 3, but for the errors of 200 samples
