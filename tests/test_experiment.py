"""One chain: signatures, derived keys, the step, and what is refused at planning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax import schedules
from collapse_jax.engine.grid import signature
from collapse_jax.regimes import Accumulate, AccumulateSubsample, Fresh, Mix, Replace, Weighted

BASE = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), Replace(), 20, 3)


def chain(e, seed=0):
    """All records of one chain."""
    state, records = cj.initial_chain(e, {}, jax.random.key(seed)), []
    for t in range(e.generations + 1):
        state, record = cj.advance(e, {}, state, t)
        records.append(record)
    return state, records


def test_numbers_are_leaves_and_shapes_are_structure():
    same = [cj.varied(BASE, regime=Mix(0.9 - x, 0.0, 0.1 + x, kept="fresh"), samples=m) for x, m in ((0.0, 20), (0.2, 500))]
    assert signature(cj.resolve(same[0])) == signature(cj.resolve(same[1]))
    for change in ({"generations": 4}, {"regime": Accumulate()}, {"family": cj.families.Gaussian(1, "mle")}):
        assert signature(cj.resolve(BASE)) != signature(cj.resolve(cj.varied(BASE, **change)))
    labelled = cj.resolve(cj.varied(BASE, label="x"))
    assert signature(labelled) == signature(cj.resolve(BASE))


def test_resolving_twice_changes_nothing():
    for regime in (Replace(), Mix(None, 0.0, schedules.Linear(0.0, 0.1), kept="fresh"), Weighted(0.3)):
        once = cj.resolve(cj.varied(BASE, regime=regime))
        twice = cj.resolve(once)
        assert jax.tree.structure(once) == jax.tree.structure(twice)
        jax.tree.map(np.testing.assert_array_equal, once, twice)


def test_statistics_stand_in_exactly_where_they_may():
    kept = [Replace(), Accumulate(), Mix(0.9, 0.0, 0.1, kept="fresh"), Fresh(5), Weighted(0.5)]
    raw = [AccumulateSubsample(), Mix(), Mix(0.8, 0.1, 0.1, kept="fresh"), Weighted(0.5, "fixed")]
    assert all(cj.resolve(cj.varied(BASE, regime=r)).family.statistics for r in kept)
    assert not any(cj.resolve(cj.varied(BASE, regime=r)).family.statistics for r in raw)
    with pytest.raises(cj.ConfigError, match="family.statistics"):
        cj.resolve(cj.varied(BASE, regime=Mix(), family=cj.families.Gaussian(1, statistics=True)))


def test_a_run_is_one_step_again_and_again_and_the_record_is_plain():
    state, records = chain(BASE)
    assert set(records[0]) == set(records[3]) >= {"trace_ratio", "mean_sq_error", "log_det_ratio", "w2_sq", "log_variance"}
    assert all(np.shape(v) == () for v in records[0].values())
    _, again = chain(cj.resolve(BASE))
    assert all(float(a["trace_ratio"]) == float(b["trace_ratio"]) for a, b in zip(records, again, strict=True))
    _, other = chain(BASE, seed=1)
    assert float(other[0]["trace_ratio"]) != float(records[0]["trace_ratio"])


def test_a_longer_run_begins_with_the_shorter_one():
    for family in (cj.families.Gaussian(1), cj.families.Gaussian(1, statistics=False)):
        _, short = chain(cj.varied(BASE, family=family))
        _, long = chain(cj.varied(BASE, family=family, generations=5))
        for a, b in zip(short, long, strict=False):
            assert float(a["trace_ratio"]) == float(b["trace_ratio"])


def test_under_jit_and_scan_the_step_is_the_same():
    e = cj.resolve(BASE)
    start = cj.initial_chain(e, {}, jax.random.key(0))
    scanned = jax.jit(lambda c: jax.lax.scan(lambda c, t: cj.advance(e, {}, c, t), c, jnp.arange(4)))(start)[1]
    _, records = chain(BASE)
    np.testing.assert_allclose(scanned["trace_ratio"], [r["trace_ratio"] for r in records], rtol=1e-5)


def test_metrics_may_be_chosen():
    _, records = chain(cj.varied(BASE, metrics=["trace_ratio"]))
    assert set(records[0]) == {"trace_ratio", "failed"}


def test_a_filter_sees_generation_zero_and_reports_what_it_kept():
    rule = cj.curation.Likelihood(0.25, 0.75)
    e = cj.varied(BASE, curation=(rule,), oversample=2.0, samples=400)
    state, records = chain(e)
    # Half of generation 0's own samples lie between its quartiles; 800 candidates and 400 reference samples: s.e. 0.03.
    assert abs(float(records[0]["kept"]) - 0.5) < 4 * 0.031
    assert float(records[1]["trace_ratio"]) < 0.5
    np.testing.assert_array_equal(state.first.mean, chain(cj.varied(e, generations=0))[0].first.mean)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"source": 3}, "source"),
        ({"family": None}, "family"),
        ({"regime": "replace"}, "regime"),
        ({"generations": -1}, "generations"),
        ({"generations": 2.5}, "generations"),
        ({"samples": 1}, "samples"),
        ({"samples": 0}, "samples"),
        ({"oversample": 0.5}, "oversample"),
        ({"oversample": float("nan")}, "oversample"),
        ({"start": "warm"}, "start"),
        ({"start": "previous"}, "start"),
        ({"budget": cj.families.Steps(3)}, "budget"),
        ({"metrics": 3}, "metrics"),
        ({"metrics": "trace_ratio"}, "metrics"),
        ({"family": cj.families.Gaussian(2)}, "family.dim"),
        ({"family": cj.families.Gaussian(0)}, "family.dim"),
        ({"family": cj.families.Gaussian(1, "map")}, "family.estimator"),
        ({"curation": (cj.curation.Likelihood(0.9, 0.1),)}, "curation"),
        ({"curation": (cj.curation.Repetition(),)}, "curation"),
        ({"decoding": cj.decoding.Greedy()}, "decoding"),
        ({"regime": Mix(0.5, 0.5, 0.5)}, "regime"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(change, field):
    with pytest.raises(cj.ConfigError) as error:
        cj.resolve(cj.varied(BASE, **change))
    assert error.value.field.startswith(field)
