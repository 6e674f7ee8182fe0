"""The fused cross-entropy against the plain one: value and gradients."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.families.entropy import nll, weighted_nll


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
