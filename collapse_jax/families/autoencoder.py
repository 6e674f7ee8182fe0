"""The networks of a variational autoencoder: convolutions for images, dense layers for points."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from collapse_jax.families.convolution import Double, Halve

Array = jax.Array
CHANNELS = 64  # of the first convolution; the second has twice as many


class Convolutional(nnx.Module):
    """Two convolutions (kernel 4, stride 2) to a code and back: 647,081 parameters for 28×28×1 and a latent of 20."""

    def __init__(self, shape: tuple[int, ...], latent: int, hidden: tuple[int, ...], spread: bool, rngs: nnx.Rngs):
        height, width, channels = shape
        self.small = (height // 4, width // 4, 2 * CHANNELS)
        flat = self.small[0] * self.small[1] * self.small[2]
        self.shape = shape
        self.halve_1, self.halve_2 = Halve(channels, CHANNELS, rngs), Halve(CHANNELS, 2 * CHANNELS, rngs)
        self.code = nnx.Linear(flat, 2 * latent, rngs=rngs)
        self.grow = nnx.Linear(latent, flat, rngs=rngs)
        self.double_1, self.double_2 = Double(2 * CHANNELS, CHANNELS, rngs), Double(CHANNELS, channels, rngs)
        self.zero_log_scale = nnx.Param(jnp.zeros(())) if spread else None

    def encode(self, x: Array) -> tuple[Array, Array]:
        h = jax.nn.relu(self.halve_1(x.reshape(-1, *self.shape)))
        h = jax.nn.relu(self.halve_2(h)).reshape(x.shape[0], -1)
        mean, log_variance = jnp.split(self.code(h), 2, axis=1)
        return mean, log_variance

    def decode(self, z: Array) -> Array:
        h = jax.nn.relu(self.double_1(self.grow(z).reshape(-1, *self.small)))
        return self.double_2(h).reshape(z.shape[0], -1)


class Dense(nnx.Module):
    """Hidden layers of the given widths to a code, and the same back."""

    def __init__(self, shape: tuple[int, ...], latent: int, hidden: tuple[int, ...], spread: bool, rngs: nnx.Rngs):
        size = 1
        for side in shape:
            size *= side
        down, up = (size, *hidden), (latent, *reversed(hidden))
        chain = lambda widths: nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(widths[:-1], widths[1:], strict=True)])
        self.down, self.up = chain(down), chain(up)
        self.code, self.out = nnx.Linear(down[-1], 2 * latent, rngs=rngs), nnx.Linear(up[-1], size, rngs=rngs)
        self.zero_log_scale = nnx.Param(jnp.zeros(())) if spread else None

    def encode(self, x: Array) -> tuple[Array, Array]:
        for layer in self.down:
            x = jax.nn.relu(layer(x))
        mean, log_variance = jnp.split(self.code(x), 2, axis=1)
        return mean, log_variance

    def decode(self, z: Array) -> Array:
        for layer in self.up:
            z = jax.nn.relu(layer(z))
        return self.out(z)


ARCHITECTURES: dict[str, Any] = {"conv": Convolutional, "mlp": Dense}
