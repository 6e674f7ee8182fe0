"""Generation 0, founded once for all arms: it is what a chain by itself would have begun with."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.engine import founding as made
from collapse_jax.engine import parallel
from collapse_jax.engine.grid import founding
from collapse_jax.experiment import advance, found, initial_chain

pytestmark = pytest.mark.usefixtures("lightly")


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


def test_large_models_are_joined_from_arms_of_other_sizes(tmp_path):
    """A grid whose arms begin with 8 and 12 blocks and may hold 12: the records of each arm alone, but for what rounding allows."""
    family = cj.families.Transformer(32, 8, 1, 16, 1, batch=4, budget=cj.families.Steps(3), test_blocks=8)
    base = cj.Experiment(cj.sources.ZipfLanguage(32, 8), family, cj.regimes.Replace(), 8, 2)
    arms = [cj.varied(base, samples=cj.schedules.Linear(*sizes), label=str(sizes)) for sizes in ((8, 2), (12, -2))]
    together = cj.run(arms, chains=3, out=tmp_path / "both").records
    for arm in arms:
        alone = cj.run(arm, chains=3, out=tmp_path / arm.label).records
        mine = together.filter(pl.col("label") == arm.label)
        for metric in ("perplexity", "train_loss", "distinct_2"):
            np.testing.assert_allclose(mine[metric], alone[metric], rtol=1e-5, err_msg=metric)
    real = made.filled_up(Slots(np.ones((3, 4, 8)), np.ones((3, 4)), np.full((3, 4), 2)), 6)
    assert real.samples.shape == (3, 6, 8) and real.weight.tolist() == [[1, 1, 1, 1, 0, 0]] * 3 and not real.origin[:, 4:].any()
