"""A regime with real samples in place of synthetic ones: which training sets its control chains have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.controlled import Controlled
from collapse_jax.experiment import advance, initial_chain, resolve
from collapse_jax.struct import replace

r = cj.regimes


def experiment(**fields):
    fields = {"source": cj.sources.Normal(1), "family": cj.families.Gaussian(1), "regime": r.Replace(), "samples": 20} | fields
    return cj.Experiment(**{"generations": 12} | fields)


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
