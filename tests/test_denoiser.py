"""The networks of flow matching and diffusion: they see time and class, and a transformer that starts closed can learn."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.families import Flow
from collapse_jax.families.denoiser import clock
from collapse_jax.families.denoising import direction

KEY = jax.random.key(0)


def test_images_have_a_transformer_of_patches():
    family = Flow(width=16, layers=1, heads=2, patch=2, shape=(4, 6, 1), architecture="dit", limits=(0.0, 1.0), sampling_steps=2)
    params = family.init(KEY, {})
    x = jax.jit(lambda: family.sample(KEY, params, 5))()
    assert x.shape == (5, 24) and float(x.min()) >= 0 and float(x.max()) <= 1
    slope = jax.jit(jax.grad(lambda net: jnp.sum(direction(family, net, x - 0.5, jnp.float32(0.5), jnp.zeros(5, jnp.int32)))))(
        params["net"]
    )
    assert float(jnp.max(jnp.abs(slope["zero_out"]["kernel"]))) > 0  # it starts at 0 and can learn


def test_time_and_class_are_seen():
    family = Flow(width=16, layers=2, shape=(2,), classes=3, architecture="mlp")
    net, x = family.init(KEY, {})["net"], jax.random.normal(KEY, (4, 2))
    say = lambda t, label: np.asarray(direction(family, net, x, jnp.float32(t), jnp.full(4, label, jnp.int32)))
    assert say(0.1, 0).shape == (4, 2)
    assert not np.allclose(say(0.1, 0), say(0.9, 0)) and not np.allclose(say(0.1, 0), say(0.1, 1))
    np.testing.assert_array_equal(say(0.1, 2), say(0.1, 2))


def test_the_clock_tells_times_apart():
    found = np.asarray(clock(jnp.linspace(0, 1, 500, endpoint=False)))
    assert found.shape == (500, 32) and np.abs(found).max() <= 1
    assert np.linalg.norm(found[1:] - found[:-1], axis=1).min() > 0.05
