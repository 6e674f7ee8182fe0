"""Control chains: real data alone, fresh or repeated, in a run of their own beside the run."""

import shutil

import numpy as np
import pytest
from killing import bits

import collapse_jax as cj
from collapse_jax.engine.controls import control, controls_of, settings_of
from collapse_jax.engine.work import Settings
from collapse_jax.onset import onset

r = cj.regimes


def experiment(**fields):
    fields = {"source": cj.sources.Normal(1), "family": cj.families.Gaussian(1), "regime": r.Replace(), "samples": 20} | fields
    return cj.Experiment(**{"generations": 12} | fields)


def values(run, number, metric, generations=13):
    rows = run.records.filter(run.records["experiment"] == number).sort("chain", "generation")
    return rows[metric].to_numpy().reshape(-1, generations)


def test_controls_never_drift_and_show_when_chains_do(tmp_path):
    grid = cj.grid(experiment(generations=12), regime=[r.Replace(), r.Accumulate()])
    run = cj.run(grid, chains=150, seed=2, out=tmp_path / "run", controls=120)
    assert run.finished and len(run.experiments) == 2
    aside = run.controls
    assert len(aside.experiments) == 2 and aside.config["settings"]["chains"] == 120  # both arms have the same two controls
    fresh, repeated = (run.control_of(0, kind) for kind in ("fresh", "repeated"))
    assert fresh == run.control_of(1) != repeated
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


def test_controls_that_are_gone_are_made_again_to_the_bit(tmp_path):
    run = cj.run(experiment(), chains=4, seed=2, out=tmp_path / "run", controls=5)
    before = bits(run.folder / "controls")
    shutil.rmtree(run.folder / "controls")
    assert not cj.load(run.folder).finished and cj.load(run.folder).controls is None
    again = cj.resume(run.folder)
    assert again.finished and bits(again.folder / "controls") == before
    with pytest.raises(cj.ConfigError, match="chains: 5, now 6"):
        cj.run(experiment(), chains=4, seed=2, out=tmp_path / "run", controls=6)


def test_what_a_control_is():
    fresh = control(experiment(regime=r.Fresh(5), curation=(cj.curation.Likelihood(),), oversample=2.0), "fresh")
    assert fresh.samples == 25 and fresh.curation == () and fresh.oversample == 1 and fresh.regime.kept == "fresh"
    # Reused inputs want Replace or Accumulate: no control, and no failure.
    task = cj.sources.LinearTask(2)
    reused = experiment(source=task, family=cj.families.LinearRegression(2, reuse_inputs=True))
    grid, places = controls_of([experiment(), reused, experiment(samples=30)])
    assert [e.samples for e in grid] == [20, 20, 30, 30] and places == [
        {"fresh": 0, "repeated": 1},
        {},
        {"fresh": 2, "repeated": 3},
    ]
    made = settings_of(Settings(chains=9, seed=5, controls=7))
    assert (made.chains, made.controls) == (7, 0) and made.seed != 5
    with pytest.raises(cj.ConfigError, match="controls = -1"):
        cj.run(experiment(), chains=2, out="/nowhere", controls=-1)


def test_a_plan_counts_them():
    rows = cj.plan(experiment(), chains=4, controls=6)
    assert [row["chains"] for row in rows] == [4, 6, 6]
