"""The network: causal, with a cache that changes nothing, for every architecture, looped or written out, recomputed or not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.families import Transformer, network

pytestmark = pytest.mark.usefixtures("lightly")

VOCABULARY, LENGTH = 11, 8
SMALL = {"vocabulary": VOCABULARY, "block": LENGTH, "layers": 2, "width": 16, "heads": 2}
FAMILIES = {
    "own": Transformer(**SMALL),
    "rotary": Transformer(**SMALL, positions="rotary"),
    "opt": Transformer.of("opt", **SMALL),
    "gpt2": Transformer.of("gpt2", **SMALL),
    "llama": Transformer.of("llama", **SMALL, kv_heads=1, hidden=24, head=6),
    "half": Transformer(**SMALL, dtype="bfloat16"),
}
TOKENS = jax.random.randint(jax.random.key(1), (3, LENGTH), 0, VOCABULARY)


@pytest.mark.parametrize("name", ["own", "rotary", "opt", "llama"])
def test_no_position_sees_what_comes_after_it(name):
    shape = FAMILIES[name].shape
    params = network.initial(jax.random.key(0), shape)
    run = jax.jit(lambda tokens: network.hidden(params, shape, tokens))
    before = run(TOKENS)
    for t in range(LENGTH):
        after = run(TOKENS.at[:, t].set((TOKENS[:, t] + 1) % VOCABULARY))
        np.testing.assert_array_equal(before[:, :t], after[:, :t])
        assert (np.abs(before[:, t:] - after[:, t:]).max(axis=(0, 2)) > 0).all()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("read", [0, 3])
def test_the_cache_gives_what_the_whole_sequence_gives(name, read):
    """Token by token from an empty cache, or from that of the first three, read in one pass."""
    shape = FAMILIES[name].shape
    params = network.initial(jax.random.key(0), shape)
    outer, layers = network.ends(params, shape), network.layers(params, shape)

    def step(cache, t):
        x, kept = outer.embed(TOKENS[:, t], t), []
        for layer, held in zip(layers, cache, strict=True):
            x, held = layer.step(x, held, t)
            kept.append(held)
        return tuple(kept), outer.norm(x)

    def stepped():
        cache = network.empty_cache(shape, 3, LENGTH)
        if read:
            cache = network.filled_cache(network.read(params, shape, TOKENS[:, :read], kept=True)[1], shape, LENGTH)
        return jax.lax.scan(step, cache, jnp.arange(read, LENGTH))[1]

    found, whole = jnp.swapaxes(jax.jit(stepped)(), 0, 1), network.hidden(params, shape, TOKENS)[:, read:]
    assert found.dtype == whole.dtype == shape.dtype
    tolerance = 0.1 if name == "half" else 2e-5
    np.testing.assert_allclose(np.asarray(found, np.float32), np.asarray(whole, np.float32), atol=tolerance)


def test_a_loop_over_layers_and_recomputing_them_change_no_more_than_rounding(monkeypatch):
    family = Transformer(**{**SMALL, "layers": 3})
    params = family.init(jax.random.key(0), {})
    value = lambda family: jax.jit(jax.value_and_grad(lambda p: family.loss(p, TOKENS)))(params)
    plain, recomputed = value(family), value(dataclasses.replace(family, remat=True))
    monkeypatch.setattr(network, "UNROLLED", 2)
    looped = value(family)
    for other in (recomputed, looped):
        for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    memory = [
        jax.jit(jax.grad(lambda p, f=f: f.loss(p, jnp.zeros((64, LENGTH), jnp.int32)))).lower(params).compile().memory_analysis()
        for f in (family, dataclasses.replace(family, remat=True))
    ]
    assert memory[1].temp_size_in_bytes < memory[0].temp_size_in_bytes


def test_parameters_are_a_plain_tree_of_float32():
    shape = FAMILIES["half"].shape
    params = network.initial(jax.random.key(0), shape)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert network.output(params, shape).shape == (VOCABULARY, 16) and params["tokens"]["embedding"].shape == (VOCABULARY + 1, 16)
    weights = np.concatenate([np.ravel(params["tokens"]["embedding"]), np.ravel(params["layers"]["up"]["kernel"])])
    assert abs(weights.std() - 0.02) < 4 * 0.02 / np.sqrt(2 * len(weights))
    assert (np.asarray(params["norm"]["scale"]) == 1).all() and (np.asarray(params["layers"]["out"]["bias"]) == 0).all()


def test_rotary_frequencies_are_scaled_as_published():
    """Llama 3.1's rule by hand, on heads of 8: fast pairs stay, slow ones are divided, between them it is linear."""
    shape = dataclasses.replace(FAMILIES["llama"].shape, head=8, theta=10000.0)
    plain = network.frequencies(shape)
    np.testing.assert_allclose(plain, [1, 0.1, 0.01, 0.001], rtol=1e-6)
    np.testing.assert_allclose(network.frequencies(dataclasses.replace(shape, scaling=("linear", 4.0))), plain / 4, rtol=1e-6)
    scaled = network.frequencies(dataclasses.replace(shape, scaling=("llama3", 8.0, 1.0, 4.0, 1000.0)))
    turns = 1000 * 0.01 / (2 * np.pi)  # 1.59: the third pair lies between 1 and 4
    smooth = (turns - 1) / 3
    np.testing.assert_allclose(scaled, [1, 0.1, 0.01 * (smooth + (1 - smooth) / 8), 0.001 / 8], rtol=1e-5)
