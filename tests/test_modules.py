"""Modules crossed to plain trees: their first weights, and work done in slices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from collapse_jax.errors import ConfigError
from collapse_jax.families.modules import bound, in_slices, initial, same_shape
from collapse_jax.sources import Normal, Zipf

KEY = jax.random.key(0)


class Pair(nnx.Module):
    """A layer, a layer that starts at zero, a norm and an embedding."""

    def __init__(self, inward, outward, rngs):
        self.layer, self.zero_layer = nnx.Linear(inward, outward, rngs=rngs), nnx.Linear(outward, outward, rngs=rngs)
        self.norm, self.table = nnx.LayerNorm(outward, rngs=rngs), nnx.Embed(50, outward, rngs=rngs)

    def __call__(self, x):
        return self.zero_layer(self.norm(self.layer(x)))


def test_first_weights_are_what_their_names_say():
    params = initial(KEY, Pair, (400, 30))
    kernel = np.asarray(params["layer"]["kernel"])
    assert np.abs(kernel).max() <= 1 / 20 and abs(kernel.var() * 3 * 400 - 1) < 4 * np.sqrt(0.8 / kernel.size)
    assert 0 < np.abs(params["layer"]["bias"]).max() <= 1 / 20
    assert (np.asarray(params["zero_layer"]["kernel"]) == 0).all() and (np.asarray(params["norm"]["scale"]) == 1).all()
    assert abs(np.asarray(params["table"]["embedding"]).std() / 0.02 - 1) < 4 / np.sqrt(2 * 1500)
    x, pair = jnp.ones((2, 400)), bound(Pair, (400, 30), params)
    assert (np.asarray(pair(x)) == 0).all()
    np.testing.assert_allclose(pair.layer(x), np.asarray(x) @ kernel + params["layer"]["bias"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 70])
def test_slices_of_samples_change_nothing(n):
    x = jax.random.normal(KEY, (n, 3))
    np.testing.assert_array_equal(in_slices(lambda x: 2 * x, x, 32), 2 * x)


def test_another_shape_than_the_sources_is_refused():
    same_shape((2,), Normal(2))
    for shape, source, field in (((3,), Normal(2), "family.shape"), (None, Normal(2), "family.shape"), ((2,), Zipf(3), "source")):
        with pytest.raises(ConfigError) as error:
            same_shape(shape, source)
        assert error.value.field == field
