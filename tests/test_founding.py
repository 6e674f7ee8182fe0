"""Generation 0, founded once for all arms: it is what a chain by itself would have begun with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine import founding as made
from collapse_jax.engine import parallel
from collapse_jax.engine.grid import founding
from collapse_jax.experiment import advance, found, initial_chain


@pytest.mark.parametrize("statistics", [False, True])
def test_a_founded_chain_goes_on_as_one_by_itself(statistics):
    family = cj.families.Gaussian(2, statistics=statistics)
    e = cj.resolve(cj.Experiment(cj.sources.Normal(2), family, cj.regimes.Replace(), 12, 2))
    origin, key = jax.tree.map(jnp.asarray, founding(e)), jax.random.key(5)
    params, info, summary = made.founded(origin, {}, key)
    real = None if statistics else made.real(origin, {}, key)
    chain = made.begun(e, {}, key, real, params, info, summary)
    shapes = made.found_shapes(e, {}, key)
    assert jax.tree.structure(jax.eval_shape(lambda: made.founded(origin, {}, key))) == jax.tree.structure(tuple(shapes[1:]))
    _, own, _ = found(origin, {}, key)
    for a, b in zip(jax.tree.leaves(chain.params), jax.tree.leaves(own), strict=True):
        np.testing.assert_array_equal(a, b)
    if not statistics:  # the same real data, and so the same first record
        alone = initial_chain(e, {}, key)
        np.testing.assert_array_equal(chain.store.samples[:12], alone.store.samples[:12])
        (_, a), (_, b) = (advance(e, {}, one, 0) for one in (chain, alone))
        np.testing.assert_allclose(a["trace_ratio"], b["trace_ratio"], rtol=1e-5)


def test_padding_repeats_the_first_chain():
    plan = parallel.layout([3], 2, ["a", "b"], "shard_map")
    out = made.padded(jnp.arange(plan.used * 2), plan)
    assert out.shape == (plan.chunks, 2) and out.ravel()[:4].tolist() == [0, 1, 2, 3] and not out.ravel()[4:].any()
