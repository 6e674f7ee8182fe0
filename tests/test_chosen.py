"""Metrics of samples by name: asked for, refused, made every few generations, and the same in a run and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine.work import Settings, Work
from collapse_jax.metrics import chosen, registry

FIELDS = {"formula": "x", "unit": "", "span": "", "direction": "up", "cost": "n", "source": "here"}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Three metrics for this test alone: mean of x less mean of y; one that wants many samples; one of states."""
    monkeypatch.setattr(registry, "REGISTERED", {})
    mean = lambda x, weight, y, key: jnp.sum(weight * x[:, 0]) / jnp.sum(weight) - jnp.mean(y[:, 0])
    registry.metric("shift", "points", least=8, **FIELDS)(mean)
    registry.metric("wants_many", "points", least=4000, **FIELDS)(mean)
    registry.metric("commonest", "states", least=1, **FIELDS)(lambda x, weight, y, key: jnp.max(jnp.bincount(x, length=9)))


def experiment(**fields):
    fields = {"source": cj.sources.Normal(2), "family": cj.families.Gaussian(2, statistics=False), "samples": 40} | fields
    return cj.Experiment(**{"regime": cj.regimes.Replace(), "generations": 5} | fields)


def test_a_named_metric_is_made_in_its_generations_and_empty_in_others(tmp_path):
    run = cj.run(experiment(metrics=["trace_ratio", "shift@2"]), chains=3, seed=1, out=tmp_path / "run")
    rows = run.records.sort("chain", "generation")
    assert {"trace_ratio", "shift"} <= set(rows.columns) and "mean_sq_error" not in rows.columns
    assert rows["shift"].is_null().to_list() == [False, True, False, True, False, True] * 3
    assert np.isfinite(rows["shift"].drop_nulls().to_numpy()).all()
    e = cj.resolve(experiment(metrics=["shift@2"]))
    chain = cj.initial_chain(e, {}, jax.random.key(0))
    chain, record = cj.advance(e, e.source.load(None), chain, 0)
    assert set(record) == {"shift", "failed"} and abs(float(record["shift"])) < 1.5
    assert np.isnan(float(cj.advance(e, {}, chain, 1)[1]["shift"]))


def test_all_metrics_are_those_that_so_many_samples_can_carry(tmp_path):
    run = cj.run(experiment(metrics="all"), chains=2, seed=1, out=tmp_path / "all")
    assert {"trace_ratio", "shift"} <= set(run.records.columns) and "wants_many" not in run.records.columns
    assert "shift" not in cj.run(experiment(), chains=2, seed=1, out=tmp_path / "default").records.columns


def test_chains_on_statistics_draw_samples_for_it(tmp_path):
    run = cj.run(experiment(family=cj.families.Gaussian(2), metrics=["shift"]), chains=400, seed=1, out=tmp_path / "run")
    first = run.records.filter(run.records["generation"] == 0)["shift"].to_numpy()
    error = lambda x: x.std() / np.sqrt(len(x))
    assert abs(first.mean()) < 4 * np.hypot(error(first), 1 / np.sqrt(512)) and 0.1 < first.std() < 0.3  # √(1/40 + 1/512) = .16
    states = experiment(source=cj.sources.Zipf(9), family=cj.families.Discrete(9, statistics=True), metrics=["commonest"])
    assert cj.run(states, chains=2, seed=1, out=tmp_path / "states").records["commonest"].min() > 512 / 9


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["shift@0"], "metrics = shift@0"),
        (["shift@x"], "metrics = shift@x"),
        (["wants_many"], "metrics = wants_many: used with at least 4000 samples"),
        (["commonest"], "metrics = commonest: among "),
        (["shift", "trace_ratio", "shift@5"], "metrics = shift: each metric once"),
        (["trace_ratio@2"], "metrics = trace_ratio@2: trace_ratio: it is measured anyway"),
        ("some", "metrics = some"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(metrics, message):
    with pytest.raises(cj.ConfigError, match=message):
        cj.plan(experiment(metrics=metrics), chains=2)


def test_names_are_parsed():
    assert chosen.parsed("mmd") == ("mmd", 1) and chosen.parsed("mmd@12") == ("mmd", 12)
    with pytest.raises(ValueError):
        registry.metric("shift", "points", least=8, **FIELDS)(lambda x: x)
    with pytest.raises(ValueError):
        registry.metric("other", "sounds", least=8, **FIELDS)(lambda x: x)


def test_chains_whose_metrics_call_lapack_are_never_vmapped(monkeypatch):
    """Vmapped LAPACK on several CPU devices waits for ever."""
    registry.metric("by_lapack", "points", least=1, lapack=True, **FIELDS)(
        lambda x, weight, y, key: jnp.linalg.eigvalsh(x.T @ x)[0]
    )
    for names, vmapped in ((["by_lapack"], False), (["shift"], True)):
        work = Work([experiment(metrics=names, family=cj.families.KernelDensity(2, 0.5))], Settings(64, chunk=4), jax.devices())
        assert work.layout(work.groups[0]).vmapped is vmapped and work.layout(work.groups[0]).chunk > 1


def test_parts_of_one_function_are_computed_once(tmp_path):
    calls = []

    def both(x, weight, y, key):
        calls.append(1)
        return {"low": jnp.min(x), "high": jnp.max(x)}

    for part in ("low", "high"):
        registry.metric(part, "points", least=1, part=part, **FIELDS)(both)
    e = cj.resolve(experiment(metrics=["low", "high", "shift"]))
    chain = cj.initial_chain(e, {}, jax.random.key(0))
    shared = e.source.load(None)
    record = cj.advance(e, shared, chain, 0)[1]
    assert len(calls) == 1 and float(record["low"]) < float(record["high"])
    # What else is asked for changes no value; another rhythm is another computation.
    alone = cj.advance(cj.resolve(experiment(metrics=["high"])), shared, chain, 0)[1]
    assert float(alone["high"]) == float(record["high"])
    calls.clear()
    cj.advance(cj.resolve(experiment(metrics=["low", "high@2"])), shared, chain, 0)
    assert len(calls) == 2
