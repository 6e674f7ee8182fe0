"""Metrics that look at more than samples: known modes, densities, training data, training text, generation 0, a classifier."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.engine.work import Settings, Work
from collapse_jax.metrics import chosen
from collapse_jax.metrics.registry import REGISTERED

pytestmark = pytest.mark.usefixtures("lightly")

KEY = jax.random.key(0)
CENTRES = ((0.0, 0.0), (7.0, 0.0), (0.0, 7.0), (7.0, 7.0))


def experiment(source, family, **fields):
    return cj.Experiment(source, family, **{"regime": cj.regimes.Replace(), "samples": 256, "generations": 1} | fields)


def of(names, x, around, y=None):
    x = jnp.asarray(x)
    known = {name: m for (_, name), m in REGISTERED.items()}
    return {name: float(known[name](x, jnp.ones(len(x)), x if y is None else y, KEY, around)) for name in names}


def at_generation(run, t):
    rows = run.records.filter(run.records["generation"] == t)
    return lambda name: rows[name].to_numpy()


def test_a_model_that_copies_is_found_out_and_keeps_the_modes_and_outskirts(tmp_path):
    source, asked = cj.sources.EightGaussians(), ["mode_count", "mode_tv", "low_density_10", "memory_ratio", "copied_share"]
    copier = experiment(source, cj.families.KernelDensity(2, 1e-6), metrics=asked)
    honest = experiment(source, cj.families.KernelDensity(2, 0.3), metrics=asked)
    run = cj.run([copier, honest], chains=6, seed=0, out=tmp_path / "run")
    copied = run.records.filter((run.records["experiment"] == 0) & (run.records["generation"] == 0))
    other = run.records.filter((run.records["experiment"] == 1) & (run.records["generation"] == 0))
    assert copied["memory_ratio"].max() < 1e-3 and copied["copied_share"].min() == 1 and copied["mode_count"].min() == 8
    assert abs(copied["low_density_10"].mean() - 1) < 4 * 0.25 / np.sqrt(6)  # of 256 against 512: standard deviation .25
    # Kernels of .3 on modes of .1 throw most samples out.
    assert other["memory_ratio"].min() > 2 and other["copied_share"].max() < 0.05 and other["low_density_10"].min() > 3
    assert other["mode_tv"].max() < 0.35


def test_the_mode_histogram_is_a_list_in_the_records_where_it_is_named(tmp_path):
    source = cj.sources.EightGaussians()
    names = ["mode_histogram@2", "mode_quality", "mode_count"]
    e = experiment(source, cj.families.KernelDensity(2, 0.2), metrics=names, samples=128, generations=2)
    run = cj.run(e, chains=3, seed=0, out=tmp_path / "run")
    rows = run.records.sort("chain", "generation")
    assert rows.schema["mode_histogram"] == pl.List(pl.Float32)
    assert rows["mode_histogram"].is_null().to_list() == [False, True, False] * 3
    made = rows.filter(rows["mode_histogram"].is_not_null())
    shares = np.asarray(made["mode_histogram"].to_list())
    assert shares.shape == (6, 9)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(shares[:, :8].sum(axis=1), made["mode_quality"].to_numpy(), atol=1e-6)
    assert ((shares[:, :8] > 0).sum(axis=1) == made["mode_count"].to_numpy()).all()
    # Counted by NumPy, of one generation's samples.
    e = cj.resolve(dataclasses.replace(e, metrics=["mode_histogram"]))
    chain, record = cj.advance(e, {}, cj.initial_chain(e, {}, KEY), 0)
    x = np.asarray(getattr(chain.store, "current", chain.store).absolute())
    apart = np.linalg.norm(x[:, None] - np.asarray(source.centres()), axis=2) / np.asarray(source.scales())
    where = np.where(apart.min(axis=1) <= 3, apart.argmin(axis=1), 8)
    np.testing.assert_allclose(record["mode_histogram"], np.bincount(where, minlength=9) / len(x), atol=1e-6)
    assert "mode_histogram" not in chosen.extra(cj.resolve(dataclasses.replace(e, metrics="all")))


def test_low_density_is_the_source_s_own_and_empty_where_half_the_spread_is_left():
    e = experiment(cj.sources.Normal(2), cj.families.Gaussian(2))
    x, y = np.random.default_rng(0).normal(size=(2, 4096, 2))
    around = {"source": e.source}
    names = [f"low_density_{p}" for p in (1, 5, 10)]
    full, half = of(names, x, around, y), of(names, x / 2, around, y)
    for name, sd in zip(names, (0.21, 0.1, 0.065), strict=True):  # as documented for 512, by √8
        assert abs(full[name] - 1) < 4 * sd and half[name] < 0.05
    # ln p < c exactly where ‖x‖² > -2 ln(.1): the share of x there is 10 %.
    expected = (np.sum(x**2, axis=1) > np.quantile(np.sum(y**2, axis=1), 0.9)).mean() / 0.1
    assert abs(full["low_density_10"] - expected) < 0.02


def test_text_is_compared_with_the_real_training_text_alone(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("".join(f"line {i} of a text that says little, {i * 7919 % 1000}\n" for i in range(400)))
    source = cj.sources.Text("text_files", cj.sources.Bytes(), 16, files=(str(file),), data_dir=str(tmp_path / "tfds"))
    asked = ["novel_4", "copied_50", "verbatim", "perplexity_q50", "below_range", "above_range"]
    e = experiment(source, cj.families.NGram(2, source.vocabulary), metrics=asked, samples=512)
    work = Work([e], Settings(chains=1), jax.local_devices())
    shared = work.shared(work.settled[0])
    assert set(shared["grams"]) == {"novel", "copied", "verbatim"}
    train, names = np.asarray(shared["train"][:64]), asked[:3]
    assert of(names, train, shared) == {"novel_4": 0, "copied_50": 1, "verbatim": 1}
    mixed = train.copy()
    mixed[:32, 8] = 7  # a byte that no line has: 4 of 13 4-grams are new
    found = of(names, mixed, shared)
    assert np.isclose(found["novel_4"], 0.5 * 4 / 13) and found["verbatim"] == found["copied_50"] == 0.5
    run = cj.run(e, chains=6, seed=0, out=tmp_path / "run")
    first, second = at_generation(run, 0), at_generation(run, 1)
    for side in ("below_range", "above_range"):
        assert abs(first(side).mean() - 0.05) < 4 * 0.0135 / np.sqrt(6)  # of 512 on both sides: documented in metrics.sequences
    # Generation 1 is judged by generation 0, which it is drawn from: a bigram model forgets little of what is likely.
    assert (first("perplexity_q50") > 2).all() and (second("perplexity_q50") < 1.2 * first("perplexity_q50")).all()
    assert ((first("novel_4") > 0.05) & (first("novel_4") < 0.95)).all() and (first("verbatim") < 0.2).all()


def test_a_run_s_own_classifier_names_the_classes():
    e = experiment(cj.sources.Blobs(CENTRES, labels=True), cj.families.Flow(classes=4), metrics=["classifier_entropy"])
    work = Work([e], Settings(chains=1), jax.local_devices())
    shared = work.shared(work.settled[0])
    real = np.asarray(e.source.draw(KEY, 600, shared))
    assert abs(of(["classifier_entropy"], real[:, :2], shared)["classifier_entropy"] - np.log(4)) < 0.02
    one = real[real[:, 2] == 1][:, :2]
    assert of(["classifier_entropy"], one, shared)["classifier_entropy"] < 0.1


def test_memory_looks_at_the_training_set_of_this_generation():
    train = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    slots = Slots(jnp.asarray(train), jnp.asarray(np.arange(50) < 25, jnp.float32), jnp.zeros(50, jnp.int32))
    y = jnp.asarray(np.random.default_rng(1).normal(size=(60, 2)), jnp.float32)
    names = ["memory_ratio", "copied_share"]
    assert of(names, train[:25, :2], {"train": slots}, y) == {"memory_ratio": 0, "copied_share": 1}
    assert of(names, train[25:, :2], {"train": slots}, y)["memory_ratio"] > 0.3  # those are not there


def test_tails_of_states_are_the_model_s_own(tmp_path):
    names = ["tail_mass_1", "tail_coverage_5", "support"]
    e = experiment(cj.sources.Zipf(200), cj.families.Discrete(200), samples=300, metrics=names)
    run = cj.run(e, chains=4, seed=0, out=tmp_path / "run")
    assert run.records["tail_mass_1"].max() < 0.05 and 0 < run.records["tail_coverage_5"].min() < 0.9


@pytest.mark.parametrize(
    ("name", "source", "family"),
    [
        ("mode_count", cj.sources.Normal(2), cj.families.Gaussian(2)),
        ("memory_ratio", cj.sources.Normal(2), cj.families.Gaussian(2, statistics=True)),
        ("classifier_entropy", cj.sources.Blobs(CENTRES), cj.families.KernelDensity(2)),
        ("verbatim", cj.sources.ZipfLanguage(20, 8), cj.families.NGram(1, 20)),
        ("mauve", cj.sources.ZipfLanguage(20, 8), cj.families.NGram(1, 20)),
    ],
)
def test_what_an_experiment_does_not_have_is_refused_by_name_and_left_out_of_all(name, source, family):
    with pytest.raises(cj.ConfigError, match=f"metrics = {name}: among "):
        cj.plan(experiment(source, family, metrics=[name], samples=600), chains=2)
    assert name not in chosen.extra(cj.resolve(experiment(source, family, metrics="all", samples=600)))


def test_generation_0_is_remembered_only_where_it_is_asked_for():
    at = lambda metrics: cj.resolve(experiment(cj.sources.ZipfLanguage(20, 8), cj.families.NGram(1, 20), metrics=metrics))
    shared = cj.sources.ZipfLanguage(20, 8).load(None)
    assert cj.initial_chain(at("default"), shared, KEY).first is None
    assert cj.initial_chain(at(["perplexity_q50"]), shared, KEY).first is not None
