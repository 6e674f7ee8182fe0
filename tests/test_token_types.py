"""Token types of text: frequencies and tails against collections.Counter, NumPy and SciPy, by hand, with noise, and in runs."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats
from zipf_text import DEFAULT, KEPT, LENGTH, TYPES, P, draws, zipf

import collapse_jax as cj
from collapse_jax.engine.inputs import record_shapes
from collapse_jax.engine.work import Settings, Work, first
from collapse_jax.metrics import chosen
from collapse_jax.metrics.registry import of_kind
from collapse_jax.metrics.token_types import frequencies, tail_types, tails, type_counts

FREQUENCIES = ("missing_mass", "chao1", "zipf_mle", "zipf_slope", "token_support")
TAILS = tuple(f"tail_{kind}_{p}" for p in (1, 5, 10) for kind in ("mass", "coverage"))
OF_TYPES, OF_TAILS = jax.jit(frequencies, static_argnums=2), jax.jit(tails)


def text(rows=60, length=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.choice(200, (rows, length), p=P[:200] / P[:200].sum()).astype(np.int32), rng.integers(0, 3, rows)


def counted(x, weight):
    """Counts of types, sequences repeated as often as their weight says."""
    return Counter(x.repeat(weight, axis=0).reshape(-1).tolist())


def rarest(count, share):
    """The types of a Counter that are its tail, by exact fractions: taken by rising count while all of one count still fit."""
    total, held, kept = sum(count.values()), 0, []
    for times in sorted(set(count.values())):
        tied = [token for token, c in count.items() if c == times]
        held += times * len(tied)
        if held > share * total + 1e-5 * total:
            break
        kept += tied
    return kept


def of(x, weight=None, rare=None):
    weight = jnp.ones(len(x)) if weight is None else jnp.asarray(weight, jnp.float32)
    found = OF_TYPES(jnp.asarray(x), weight, 200) if rare is None else OF_TAILS(jnp.asarray(x), weight, jnp.asarray(rare))
    return {name: float(value) for name, value in found.items()}


def test_frequencies_are_those_of_a_counter_and_scipy():
    x, weight = text()
    count = np.sort(list(counted(x, weight).values()))[::-1]
    once, twice, log_rank = (count == 1).sum(), (count == 2).sum(), np.log(np.arange(1, len(count) + 1))
    loss = lambda s: s * count @ log_rank + count.sum() * np.log(np.exp(-s * log_rank).sum())
    expected = {
        "missing_mass": once / count.sum(),
        "chao1": len(count) + once**2 / (2 * twice),
        "zipf_mle": optimize.minimize_scalar(loss, bounds=(0, 5), method="bounded", options={"xatol": 1e-10}).x,
        "zipf_slope": -stats.linregress(log_rank, np.log(count)).slope,
        "token_support": len(count),
    }
    found = of(x, weight)
    assert set(found) == set(FREQUENCIES) and once > 3 and twice > 3
    assert found == pytest.approx(expected, rel=2e-4)
    assert of(x.repeat(weight, axis=0)) == pytest.approx(found, rel=1e-5)
    order = np.random.default_rng(1).permutation(len(x))
    assert of(x[order], weight[order]) == pytest.approx(found, rel=1e-5)


def test_frequencies_by_hand_and_of_little():
    x = np.int32([[0, 0, 1, 1], [0, 3, 5, 9]])
    found = of(x)
    assert found["token_support"] == 5 and found["missing_mass"] == 3 / 8
    assert found["chao1"] == 5 + 9 / 2 and np.isclose(of(x[:1])["zipf_mle"], 0, atol=1e-3)
    assert of(x, [0, 0]) == {"missing_mass": 1, "chao1": 0, "zipf_mle": 0, "zipf_slope": 0, "token_support": 0}
    assert of(np.full((3, 4), 7)) == {"missing_mass": 0, "chao1": 1, "zipf_mle": 0, "zipf_slope": 0, "token_support": 1}
    assert of(x, [0, 1])["token_support"] == 4
    np.testing.assert_array_equal(type_counts(jnp.asarray(x), jnp.asarray([1.0, 2.0]), 6), [4, 2, 0, 2, 0, 2])


def test_tails_are_those_of_a_counter_of_the_real_text():
    real, (x, weight) = text(800, seed=1)[0], text(12, seed=2)
    count, own = Counter(real.reshape(-1).tolist()), counted(x, weight)
    rare = tail_types(real, 200)
    found = of(x, weight, rare)
    assert set(found) == set(TAILS)
    for share, mask in zip((0.01, 0.05, 0.1), rare, strict=True):
        types, p = rarest(count, share), round(100 * share)
        assert sorted(types) == np.flatnonzero(mask).tolist() and types
        assert found[f"tail_mass_{p}"] == pytest.approx(sum(own[token] for token in types) / sum(own.values()), abs=1e-6)
        assert found[f"tail_coverage_{p}"] == pytest.approx(np.mean([own[token] > 0 for token in types]), abs=1e-6)
    assert of(x.repeat(weight, axis=0), rare=rare) == pytest.approx(found, abs=1e-6)
    assert 0 < found["tail_coverage_10"] < 1 and 0 < found["tail_mass_1"] < found["tail_mass_10"]
    whole = of(real, rare=rare)
    for p in (1, 5, 10):
        assert whole[f"tail_coverage_{p}"] == 1 and whole[f"tail_mass_{p}"] <= p / 100 + 1e-5


def test_tails_by_hand():
    """Of 100 tokens, type 2 has four, 3 and 4 three each, 5 none: a twentieth has 3 and 4 outside, where both would hold .06."""
    real = np.repeat([0, 1, 2, 3, 4], [80, 10, 4, 3, 3])[None]
    rare = tail_types(real, 6)
    assert [np.flatnonzero(row).tolist() for row in rare] == [[], [], [2, 3, 4]]
    found = of(np.int32([[0, 3], [3, 5]]), rare=rare)
    assert found["tail_mass_10"] == 0.5 and np.isclose(found["tail_coverage_10"], 1 / 3)
    assert found["tail_mass_5"] == 0 and found["tail_coverage_5"] == 1  # there is no tail
    assert of(np.int32([[3, 3]]), [0], rare)["tail_coverage_10"] == of(np.int32([[3, 3]]), [0], rare)["tail_mass_10"] == 0
    # A token beyond what the table knows is in no tail, and counts among all tokens.
    assert of(np.int32([[4, 9]]), rare=rare)["tail_mass_10"] == 0.5
    assert not tail_types(np.zeros((0, 4), int), 6).any()


def simulated(n, laws, times, seed):
    """Both kinds of columns of texts of n sequences of each law, p [types]: name -> [times, laws]."""
    rare = jnp.asarray(tail_types(zipf(jax.random.key(99), 2000), TYPES))
    edges = jnp.asarray([np.cumsum(p / p.sum()) for p in laws], jnp.float32)

    def one(key, edges):
        x = jnp.minimum(jnp.searchsorted(edges, jax.random.uniform(key, (n, LENGTH))), TYPES - 1)
        return frequencies(x, jnp.ones(n), TYPES) | tails(x, jnp.ones(n), rare)

    found = draws(lambda key: jax.lax.map(lambda edges: one(key, edges), edges), times, seed)
    return {name: np.asarray(value, float) for name, value in found.items()}


def test_bias_and_noise_are_as_stated():
    stated = {
        "missing_mass": (0.0003, 0.0001),
        "chao1": (1000, 2.0),
        "zipf_mle": (1.003, 0.0025),
        "zipf_slope": (1.077, 0.0096),
        "token_support": (998, 1.4),
    }
    found = simulated(DEFAULT, [P], 100, 0)
    for name, (mean, spread) in stated.items():
        value = found[name][:, 0]
        assert abs(value.mean() - mean) < 4 * spread / 10 + 5e-4 * mean, (name, value.mean())
        assert abs(value.std() / spread - 1) < 4 / 200**0.5, (name, value.std())
    few = simulated(16, [P], 100, 0)
    assert abs(few["chao1"].mean() - 739) < 4 * few["chao1"].std() / 10
    assert abs(few["zipf_mle"].mean() - 0.906) < 4 * few["zipf_mle"].std() / 10


def test_from_the_least_size_on_lost_types_and_steeper_laws_are_told_from_noise():
    """3 standard deviations, but for the errors of 100 texts."""
    (least,) = {of_kind("tokens")[name].least for name in (*FREQUENCIES, *TAILS)}
    found = simulated(least, [P, P * (np.arange(TYPES) < KEPT), np.arange(1.0, TYPES + 1) ** -1.1], 100, 1)
    for name, value in found.items():
        changed = value[:, 2 if name.startswith("zipf") else 1]
        assert abs(changed.mean() - value[:, 0].mean()) > 2.4 * value[:, 0].std(), name


LANGUAGE = cj.sources.ZipfLanguage(300, 16, order=1)


def experiment(source, family, **fields):
    return cj.Experiment(source, family, cj.regimes.Replace(), 64, 1, metrics=[*FREQUENCIES, *TAILS], **fields)


def test_a_run_records_them_as_a_counter_has_them():
    e = cj.resolve(experiment(LANGUAGE, cj.families.NGram(1, 300)))
    shared = Work([e], Settings(chains=1), jax.local_devices()).shared(e)
    count = LANGUAGE.law()
    # About a million tokens were drawn: the rarest 5 % of the law's types, but for those whose counts chance exchanges.
    true = np.cumsum(np.sort(count)) <= 0.05
    assert abs(int(shared["rare_types"][1].sum()) - true.sum()) <= 2
    chain, record = cj.advance(e, shared, cj.initial_chain(e, shared, jax.random.key(0)), 0)
    new = np.asarray(chain.store.samples if hasattr(chain.store, "samples") else chain.store.current.samples)
    own = Counter(new.reshape(-1).tolist())
    assert record["token_support"] == len(own) and np.isclose(
        record["missing_mass"], sum(c == 1 for c in own.values()) / new.size
    )
    types = np.flatnonzero(shared["rare_types"][2])
    assert np.isclose(record["tail_mass_10"], sum(own[t] for t in types) / new.size)
    assert np.isclose(record["tail_coverage_10"], np.mean([own[t] > 0 for t in types]))
    assert set(chosen.extra(cj.resolve(cj.varied(e, metrics="all")))) >= {*FREQUENCIES, *TAILS}


def test_text_is_ranked_by_its_whole_training_split_and_transformers_record_them(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("".join(f"line {i} of a text that says little, {i * 7919 % 1000}\n" for i in range(200)))
    source = cj.sources.Text("text_files", cj.sources.Bytes(), 16, files=(str(file),), data_dir=str(tmp_path / "tfds"))
    family = cj.families.Transformer(source.vocabulary, 16, 1, 8, 1, budget=cj.families.Steps(2), batch=8, test_blocks=8)
    work = Work([experiment(source, family)], Settings(chains=1), jax.local_devices())
    e = first(work.groups[0].experiments)
    shared = work.shared(e)
    count = Counter(np.asarray(shared["train"]).reshape(-1).tolist())
    for share, mask in zip((0.01, 0.05, 0.1), np.asarray(shared["rare_types"]), strict=True):
        assert sorted(rarest(count, share)) == np.flatnonzero(mask).tolist()
    assert {*FREQUENCIES, *TAILS} <= set(record_shapes(e, shared))
