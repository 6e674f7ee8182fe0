"""The fused cross-entropy against the plain one: value and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.families.entropy import nll, rows_of, tile_of, weighted_nll


def plain(hidden, matrix, targets, weight):
    scores = jax.nn.log_softmax(hidden @ matrix.T)
    return -jnp.sum(weight * jnp.take_along_axis(scores, targets[:, None], axis=1)[:, 0])


def test_value_and_gradients_are_those_of_the_plain_formula():
    keys = jax.random.split(jax.random.key(0), 4)
    hidden, matrix = jax.random.normal(keys[0], (96, 8)), jax.random.normal(keys[1], (50, 8))
    targets, weight = jax.random.randint(keys[2], (96,), 0, 50), jax.random.uniform(keys[3], (96,))
    ours = jax.value_and_grad(weighted_nll, (0, 1))(hidden, matrix, targets, weight)
    theirs = jax.value_and_grad(plain, (0, 1))(hidden, matrix, targets, weight)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, theirs)
    np.testing.assert_allclose(jnp.sum(weight * nll(hidden, matrix, targets)), theirs[0], rtol=1e-5)


def test_extreme_logits_stay_finite():
    hidden, matrix = jnp.full((4, 2), 300.0), jnp.asarray([[1.0, 1.0], [-1.0, -1.0]])
    loss, slope = jax.value_and_grad(weighted_nll)(hidden, matrix, jnp.asarray([0, 0, 1, 1]), jnp.ones(4))
    assert float(loss) == 2 * 1200 and bool(jnp.isfinite(slope).all())


@pytest.mark.parametrize(("vocabulary", "tile"), [(9000, 3000), (50272, 3142), (50257, 1733), (8209, 8209), (1024, 1024)])
def test_tiles_divide_a_vocabulary(vocabulary, tile):
    assert tile_of(vocabulary) == tile and rows_of(2016, 512) == 504 and rows_of(2016) == 252


@pytest.mark.parametrize(("dtype", "near"), [("float32", 2e-5), ("bfloat16", 2e-2)])
def test_a_large_vocabulary_in_tiles_gives_what_the_plain_formula_does(dtype, near):
    """bfloat16 rounds hidden states, matrix and shares at 2^-9 each: a hundredth of the largest entry covers it."""
    keys = jax.random.split(jax.random.key(0), 4)
    hidden, matrix = jax.random.normal(keys[0], (1040, 8)).astype(dtype), jax.random.normal(keys[1], (9000, 8))
    targets, weight = jax.random.randint(keys[2], (1040,), 0, 9000), jax.random.uniform(keys[3], (1040,)) / 1000
    ours = jax.value_and_grad(weighted_nll, (0, 1))(hidden, matrix, targets, weight)
    theirs = jax.value_and_grad(plain, (0, 1))(hidden.astype("float32"), matrix.astype(dtype).astype("float32"), targets, weight)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=near)
    for mine, other in zip(ours[1], theirs[1], strict=True):
        mine, other = np.asarray(mine, "float32"), np.asarray(other, "float32")
        np.testing.assert_allclose(mine, other, rtol=0, atol=near * np.abs(other).max())
    assert ours[1][0].dtype == dtype and ours[1][1].dtype == np.float32
    np.testing.assert_allclose(jnp.sum(weight * nll(hidden, matrix, targets)), theirs[0], rtol=near)


def test_extreme_logits_of_a_large_vocabulary_stay_finite():
    """Logits of ±1,200, and rows whose first tiles are far below the last."""
    matrix = jnp.zeros((9000, 2)).at[:3000].set(-1.0).at[8999].set(1.0)
    loss, slope = jax.value_and_grad(weighted_nll)(
        jnp.full((4, 2), 600.0), matrix, jnp.asarray([0, 8999, 8999, 3000]), jnp.ones(4)
    )
    assert float(loss) == 2400 + 1200 and bool(jnp.isfinite(slope).all())
    broken = weighted_nll(jnp.full((4, 2), jnp.nan), matrix, jnp.zeros(4, int), jnp.ones(4))
    assert bool(jnp.isnan(broken))


@pytest.mark.parametrize("vocabulary", [8192, 8191])
def test_a_sure_model_loses_nothing_in_bfloat16(vocabulary):
    """Hidden states near the target's row: the exact loss is 1e-7; rounded logits may add 2^-9 of one near 64, but not take away."""
    matrix = jax.random.normal(jax.random.key(0), (vocabulary, 64))
    targets = jnp.arange(64) * 100
    hidden = matrix[targets].astype("bfloat16")
    losses = nll(hidden, matrix, targets)
    assert float(losses.min()) > -1e-4 and float(losses.mean()) < 0.05
