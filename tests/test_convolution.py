"""Convolutions as matrix products against XLA's own, forwards and backwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.families.convolution import double, halve


@pytest.mark.parametrize("height, width, inward, outward", [(8, 12, 5, 7), (2, 2, 4, 1)])
def test_both_ways_of_computing_give_one_value_and_one_gradient(height, width, inward, outward):
    keys = jax.random.split(jax.random.key(0), 4)
    x, kernel = jax.random.normal(keys[0], (3, height, width, inward)), jax.random.normal(keys[1], (4, 4, inward, outward))
    y = jax.random.normal(keys[2], (3, height // 2, width // 2, outward))
    # Sums of at most 16 channels × 16 products, of order 1, in float32.
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4, rtol=1e-4)
    for function, value in ((halve, x), (double, y)):
        weight = jax.random.normal(keys[3], function(value, kernel, True).shape)
        loss = lambda value, kernel, native, f=function, w=weight: jnp.sum(w * f(value, kernel, native) ** 2)
        both = jax.jit(
            lambda v, k, native, f=function, g=loss: (f(v, k, native), *jax.grad(g, (0, 1))(v, k, native)), static_argnums=2
        )
        for a, b in zip(both(value, kernel, True), both(value, kernel, False), strict=True):
            close(a / jnp.max(jnp.abs(a)), b / jnp.max(jnp.abs(a)))
    # One is the transpose of the other.
    np.testing.assert_allclose(jnp.sum(halve(x, kernel) * y), jnp.sum(x * double(y, kernel)), rtol=1e-3, atol=1e-2)


def test_no_convolution_is_left_in_a_program_for_cpus():
    x, kernel = jnp.zeros((2, 8, 8, 1)), jnp.zeros((4, 4, 1, 2))
    text = lambda native: jax.jit(lambda x, k: double(halve(x, k, native), k, native)).lower(x, kernel).as_text()
    assert "convolution" in text(True) and "convolution" not in text(None)
