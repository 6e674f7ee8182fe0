"""The network: causal, with a cache that changes nothing, learned and rotary positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.families import network

VOCABULARY, LENGTH = 11, 8


def shaped(positions="learned", dtype="float32"):
    return (VOCABULARY, 2, 16, 2, LENGTH, 2, positions, 0.0, jnp.dtype(dtype))


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_no_position_sees_what_comes_after_it(positions):
    shape = shaped(positions)
    params = network.initial(jax.random.key(0), shape)
    tokens = jax.random.randint(jax.random.key(1), (2, LENGTH), 0, VOCABULARY)
    run = jax.jit(lambda tokens: network.hidden(params, shape, tokens))
    before = run(tokens)
    for t in range(LENGTH):
        after = run(tokens.at[:, t].set((tokens[:, t] + 1) % VOCABULARY))
        np.testing.assert_array_equal(before[:, :t], after[:, :t])
        assert (np.abs(before[:, t:] - after[:, t:]).max(axis=(0, 2)) > 0).all()


@pytest.mark.parametrize(
    "positions, dtype, tolerance", [("learned", "float32", 2e-5), ("rotary", "float32", 2e-5), ("learned", "bfloat16", 0.1)]
)
def test_the_cache_gives_what_the_whole_sequence_gives(positions, dtype, tolerance):
    shape = shaped(positions, dtype)
    params = network.initial(jax.random.key(0), shape)
    tokens = jax.random.randint(jax.random.key(1), (3, LENGTH), 0, VOCABULARY)
    model = network.bound(params, shape)

    def step(cache, t):
        h, cache = model.step(tokens[:, t], cache, t)
        return cache, h

    _, stepped = jax.jit(lambda: jax.lax.scan(step, network.empty_cache(shape, 3, LENGTH), jnp.arange(LENGTH)))()
    whole = network.hidden(params, shape, tokens)
    assert stepped.dtype == whole.dtype == jnp.dtype(dtype)
    np.testing.assert_allclose(np.asarray(jnp.swapaxes(stepped, 0, 1), np.float32), np.asarray(whole, np.float32), atol=tolerance)


def test_parameters_are_a_plain_tree_of_float32():
    params = network.initial(jax.random.key(0), shaped(dtype="bfloat16"))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert network.output(params).shape == (VOCABULARY, 16)
    weights = np.concatenate([np.ravel(params["tokens"]["embedding"]), np.ravel(params["layers"][0]["up"]["kernel"])])
    assert abs(weights.std() - 0.02) < 4 * 0.02 / np.sqrt(2 * len(weights))
    assert (np.asarray(params["norm"]["scale"]) == 1).all() and (np.asarray(params["layers"][1]["out"]["bias"]) == 0).all()
