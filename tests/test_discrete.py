"""The discrete family: draws, fits, and chains of raw samples against chains of exact counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.data import Slots
from collapse_jax.decoding import Greedy
from collapse_jax.draws import scaled_down
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment, advance, initial_chain, resolve
from collapse_jax.families.counts import Counts
from collapse_jax.families.discrete import Discrete, categorical
from collapse_jax.regimes import Mix, Replace
from collapse_jax.sources.analytic import Normal, Zipf
from collapse_jax.theory import predict

KEY = jax.random.key(5)


def chains(experiment, number, seed=0):
    """Records [number, generations + 1] of every metric."""
    e = resolve(experiment)
    shared = e.source.load(None)

    def run(key):
        step = lambda chain, t: advance(e, shared, chain, t)
        return jax.lax.scan(step, initial_chain(e, shared, key), jnp.arange(e.generations + 1))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(seed), number)))


def test_a_state_without_probability_is_never_drawn():
    # Rounding is worst where a sum of float32 has many terms and ends in impossible states.
    weight = np.random.default_rng(0).exponential(size=3001) ** 3
    weight[[0, 1, 1500, 1501, 2999, 3000]] = 0
    weight[1000:1200] = 0
    p = jnp.asarray(weight / weight.sum(), jnp.float32)
    drawn = np.asarray(categorical(KEY, p, 500_000))
    assert drawn.min() >= 2 and drawn.max() <= 2998
    assert (weight[drawn] > 0).all()
    assert (np.asarray(categorical(KEY, jnp.array([0.0, 1.0, 0.0]), 1000)) == 1).all()


def test_rare_states_keep_their_probability_after_common_ones():
    # A float32 cumulative sum near 1 moves in steps of 6e-8: these would be off by more than a half.
    rare = 1e-7
    p = jnp.concatenate([jnp.array([1 - 2000 * rare]), jnp.full(2000, rare)])
    n = 2**22
    drawn = np.asarray(categorical(KEY, p, n))
    expected = 2000 * rare * n
    assert abs((drawn > 0).sum() - expected) < 4 * np.sqrt(expected)
    quarters = np.bincount((drawn[drawn > 0] - 1) // 500, minlength=4)
    assert stats.chisquare(quarters).pvalue > 1e-4


def test_scaling_of_random_bits_is_exact():
    bits = np.array([0, 1, 2**16, 2**31, 2**32 - 1, 3_141_592_653], np.uint32)
    for total in (1, 3, 2**16 + 1, 2**31 - 5, 2**31 + 17):
        exact = [int(b) * total >> 32 for b in bits]
        assert np.asarray(scaled_down(jnp.asarray(bits), jnp.uint32(total))).tolist() == exact


def test_fit_is_the_weighted_frequency():
    slots = Slots(jnp.array([2, 0, 2, 1]), jnp.array([1.0, 2.0, 1.0, 0.0]), jnp.zeros(4, jnp.int32))
    family = Discrete(states=4)
    params, _ = family.fit(KEY, family.init(KEY, {}), slots, {})
    assert np.asarray(params).tolist() == [0.5, 0, 0.5, 0]
    same, _ = family.fit(KEY, params, Counts(jnp.array([2.0, 0, 2, 0])), {})
    assert np.asarray(same).tolist() == [0.5, 0, 0.5, 0]


def test_log_probability():
    found = np.asarray(Discrete(states=3).log_prob(jnp.array([0.5, 0.5, 0]), jnp.array([0, 2]), {}))
    assert np.isclose(found[0], np.log(0.5)) and found[1] == -np.inf


def test_raw_samples_and_counts_agree_in_law_and_with_theory():
    number, e = 2000, Experiment(Zipf(states=8), Discrete(states=8, statistics=False), Replace(), 24, 12)
    raw = chains(e, number)
    exact = chains(Experiment(Zipf(states=8), Discrete(states=8, statistics=True), Replace(), 24, 12), number, seed=1)
    for name in ("heterozygosity", "support", "entropy", "kl", "tv"):
        for t in (0, 1, 12):
            assert stats.ks_2samp(raw[name][:, t], exact[name][:, t]).pvalue > 1e-4, (name, t)
    for records in (raw, exact):
        follows(records, e)


def follows(records, e):
    """The records' means are what theory predicts, within 4 standard errors where that can be tested."""
    for column, predictions in predict(e, len(records["tv"])).items():
        values = records[column]
        error = np.maximum(values.std(axis=0) / np.sqrt(len(values)), 1e-6)  # float32 where nothing varies
        for prediction in predictions:
            excess = (values.mean(axis=0) - prediction.values) / error
            right = excess > -4 if prediction.kind == "bound" else np.abs(excess) < 4
            assert right[prediction.testable].all(), (column, prediction.kind, excess)


def test_counts_serve_fresh_real_samples():
    e = Experiment(Zipf(states=8), Discrete(states=8, statistics=True), Mix(model=0.75, real=0.25, kept="fresh"), 24, 6)
    follows(chains(e, 1000), e)


def test_counts_are_kept_where_samples_outnumber_states():
    def kept(samples):
        return resolve(Experiment(Zipf(states=10), Discrete(states=10), Replace(), samples, 1)).family.statistics

    assert kept(320) and not kept(319)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"family": Discrete(states=1)}, "family.states"),
        ({"family": Discrete(states=11)}, "family.states"),
        ({"source": Normal(dim=1)}, "family.states"),
        ({"decoding": Greedy()}, "decoding"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, field):
    whole = {"source": Zipf(states=10), "family": Discrete(states=10), "regime": Replace(), "samples": 10, "generations": 1}
    with pytest.raises(ConfigError, match=field):
        resolve(Experiment(**whole | change))
