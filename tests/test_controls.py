"""Control chains: real data alone, fresh or repeated, in the very program of the experiment they stand beside."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import collapse_jax as cj
from collapse_jax.controlled import Controlled
from collapse_jax.engine import parallel
from collapse_jax.engine.controls import Control, controls_of
from collapse_jax.engine.grid import settle
from collapse_jax.experiment import advance, initial_chain, resolve
from collapse_jax.onset import onset
from collapse_jax.struct import replace

r = cj.regimes


def experiment(**fields):
    fields = {"source": cj.sources.Normal(1), "family": cj.families.Gaussian(1), "regime": r.Replace(), "samples": 20} | fields
    return cj.Experiment(**{"generations": 12} | fields)


def values(run, number, metric, generations=13):
    rows = run.records.filter(run.records["experiment"] == number).sort("chain", "generation")
    return rows[metric].to_numpy().reshape(-1, generations)


def test_controls_never_drift_and_show_when_chains_do(tmp_path):
    grid = cj.grid(experiment(), regime=[r.Replace(), r.AccumulateSubsample()])
    run = cj.run(grid, chains=150, seed=2, out=tmp_path / "run", controls=120)
    assert run.finished and len(run.experiments) == 2 and run.records["experiment"].unique().to_list() == [0, 1]
    aside = run.controls
    assert len(aside.experiments) == 2 and aside.records["label"].unique().sort().to_list() == [
        "control: fresh real data",
        "control: repeated real data",
    ]
    fresh, repeated = (run.control_of(0, kind) for kind in ("fresh", "repeated"))
    assert fresh == run.control_of(1) != repeated  # one law, one control
    errors = values(aside, fresh, "mean_sq_error")
    assert errors.shape == (120, 13)
    # E ‖μ - 0‖² = 1/M in every generation, of new data each time; the repeated real data is one set, and so is its error.
    assert abs(errors.mean() - 1 / 20) < 4 * errors.std() / np.sqrt(errors.size)
    assert abs(np.corrcoef(errors[:, 3], errors[:, 4])[0, 1]) < 0.4
    same = values(aside, repeated, "mean_sq_error")
    np.testing.assert_allclose(same, np.broadcast_to(same[:, :1], same.shape), rtol=1e-4, atol=1e-9)
    replaced = onset(values(run, 0, "mean_sq_error"), errors)
    assert replaced.verdict == "yes" and replaced.direction == "up" and 1 <= replaced.generation <= 4
    # Chains and controls have other real data.
    assert not np.isin(values(run, 0, "mean_sq_error")[:, 0], errors[:, 0]).any()
    variance = jnp.exp(2 * aside.params(fresh).factor.log_scale[:, 0])
    assert variance.shape == (120,) and 0.8 < np.mean(variance) < 1.2


def test_they_run_in_their_experiments_program_and_resume_to_the_bit(tmp_path, monkeypatch):
    compiled, compile_program = [], parallel.compile_program

    def counted(*arguments, **options):
        compiled.append(bool(options.get("donate")))
        return compile_program(*arguments, **options)

    monkeypatch.setattr(parallel, "compile_program", counted)
    e = experiment(family=cj.families.Gaussian(1, statistics=False))
    run = cj.run(e, chains=4, seed=2, out=tmp_path / "run", controls=9, stride=3)
    assert compiled == [False, False, True]  # generation 0, real data, and one program for the chains and both controls
    assert [g["indices"] for g in run.config["groups"]] == [[0, 1, 2]]
    before = run.records, run.controls.records
    assert [len(rows) for rows in before] == [4 * 13, 2 * 9 * 13]
    for part in (run.folder / "records").rglob("*.parquet"):  # all but what the first checkpoints hold
        if "012" in part.name or "11" in part.name:
            part.unlink()
    again = cj.resume(run.folder)
    assert again.finished and again.records.equals(before[0]) and again.controls.records.equals(before[1])
    with pytest.raises(cj.ConfigError, match="controls: 9, now 6"):
        cj.run(e, chains=4, seed=2, out=tmp_path / "run", controls=6)


def sizes_seen(e, kind, steps=3):
    """The weights and origins of the training sets of generations 0 … steps - 1 of a control chain, and the sets."""
    e = resolve(replace(e, family=replace(e.family, statistics=False)))
    e = replace(e, regime=Controlled(e.regime, jnp.int32(kind)))
    shared = e.source.load(None)
    chain, found = initial_chain(e, shared, jax.random.key(0)), []
    for t in range(steps):
        around = {"source": e.source, "family": e.family, "sizes": e.samples, "slots": e.regime.slots(20, 20 * 13)}
        found.append(e.regime.training_set(chain.store, {**around, "frame": None}))
        chain, _ = advance(e, shared, chain, t)
    return found


@pytest.mark.parametrize(
    "regime, sizes, other",
    [
        (r.Replace(), [20, 20, 20], [0, 20, 20]),
        (r.Accumulate(), [20, 40, 60], [0, 20, 40]),
        (r.AccumulateSubsample(), [20, 20, 20], [0, 20, 20]),
        (r.Mix(0.5, 0.25, 0.25), [20, 20, 20], [0, 20, 20]),
        (r.Fresh(5), [20, 25, 25], [0, 25, 25]),
        (r.Weighted(0.5), [20, 40, 40], [0, 40, 40]),
    ],
)
def test_a_control_is_its_regime_on_real_samples_alone(regime, sizes, other):
    """`sizes` of the first training sets, and how many `other` samples than generation 0's the fresh ones hold."""
    e = experiment(regime=regime)
    fresh, again = (sizes_seen(e, kind) for kind in (1, 2))
    once = np.sort(np.asarray(fresh[0].absolute()[:20, 0]))
    for t, (train, size) in enumerate(zip(fresh, sizes, strict=True)):
        used = np.asarray(train.weight) > 0
        assert used.sum() == size and not np.asarray(train.origin)[used].any()
        assert len(np.setdiff1d(np.asarray(train.absolute())[used], once)) == other[t]
    for t, train in enumerate(again):
        used = np.asarray(train.weight) > 0
        assert used.sum() == (20 if isinstance(regime, r.Fresh) else sizes[t])
        kept = np.sort(np.asarray(train.absolute())[used][:, 0])
        np.testing.assert_allclose(kept, np.sort(np.resize(once, used.sum())), rtol=1e-5, atol=1e-6)
    model = sizes_seen(e, 0)
    assert np.asarray(model[1].origin)[np.asarray(model[1].weight) > 0].max() == 1


@pytest.mark.parametrize("regime, expected", [(r.Replace(), 1 / 20), (r.Accumulate(), 1 / 60), (r.Fresh(5), 1 / 25)])
def test_statistics_give_the_same_controls_in_law(tmp_path, regime, expected):
    """E ‖μ‖² of the third generation is 1/N, N the size of its training set, from 400 chains."""
    run = cj.run(experiment(regime=regime, generations=2), chains=2, out=tmp_path / "r", controls=400)
    errors = values(run.controls, run.control_of(0), "mean_sq_error", 3)[:, 2]
    assert abs(errors.mean() - expected) < 4 * errors.std() / np.sqrt(len(errors))
    assert abs(np.median(errors) - 0.4549 * expected) < 4 * 1.3 * errors.std() / np.sqrt(len(errors))


def test_which_controls_a_grid_has():
    task = cj.sources.LinearTask(2)
    # Reused inputs want their own data in their own slots: no control, and no failure.
    reused = experiment(source=task, family=cj.families.LinearRegression(2, reuse_inputs=True))
    filtered = experiment(curation=(cj.curation.Likelihood(),), oversample=2.0)
    growing = experiment(samples=cj.schedules.Linear(20, 40))
    grid = [
        experiment(),
        reused,
        experiment(regime=r.Mix(label := 0.5, 0.0, 0.5)),
        experiment(regime=r.Accumulate()),
        filtered,
        growing,
    ]
    found, places = controls_of(grid, settle(grid))
    assert label == 0.5 and places == [
        {"fresh": 0, "repeated": 1},
        {},
        {"fresh": 0, "repeated": 1},
        {"fresh": 2, "repeated": 3},
        {"fresh": 4, "repeated": 5},
        {"fresh": 6},  # generation 0's real data is not enough for what grows
    ]
    assert found[3] == Control(3, 2)
    with pytest.raises(cj.ConfigError, match="controls = -1"):
        cj.run(experiment(), chains=2, out="/nowhere", controls=-1)


def test_a_plan_counts_them():
    (row,) = cj.plan(experiment(), chains=4, controls=6)
    assert (row["experiments"], row["chains"], row["controls"]) == (1, 4, 12)


def test_language_models_and_kernels_have_them_too(tmp_path):
    kde = experiment(family=cj.families.KernelDensity(1), generations=2)
    zipf = experiment(source=cj.sources.Zipf(10), family=cj.families.Discrete(10), generations=2)
    text = cj.sources.ZipfLanguage(vocabulary=16, block=8)
    family = cj.families.Transformer(16, 8, 1, 8, 1, batch=8, budget=cj.families.Steps(2), test_blocks=8)
    words = experiment(source=text, family=family, regime=r.AccumulateSubsample(), generations=2)
    run = cj.run([kde, zipf, words], chains=3, out=tmp_path / "r", controls=4)
    assert run.finished and len(run.controls.experiments) == 6 and len(run.controls.records) == 6 * 4 * 3
    for number in range(6):
        rows = run.controls.records.filter(pl.col("experiment") == number)
        assert not rows["failed"].any()
