"""Control chains: real data alone, fresh or repeated, in the very program of the experiment they stand beside."""

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import collapse_jax as cj
from collapse_jax.engine import parallel
from collapse_jax.engine.controls import Control, controls_of
from collapse_jax.engine.grid import settle
from collapse_jax.onset import onset

pytestmark = pytest.mark.usefixtures("lightly")

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
