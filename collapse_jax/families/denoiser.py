"""Networks that flow matching and diffusion share: from a noisy sample, a time and a class to a direction of the sample's shape."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Array = jax.Array
FREQUENCIES = 16


def clock(t: Array) -> Array:
    """Sines and cosines of times t [n] in [0, 1], at periods from 1 down to 1/1000: [n, 32]."""
    angle = 2 * np.pi * t[:, None] * jnp.logspace(0, 3, FREQUENCIES, dtype=t.dtype)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1)


class Dense(nnx.Module):
    """Points: `layers` hidden layers, the time and the class added to the first."""

    def __init__(self, shape: tuple[int, ...], classes: int, width: int, layers: int, heads: int, patch: int, rngs: nnx.Rngs):
        size = int(np.prod(shape))
        self.inward, self.time = nnx.Linear(size, width, rngs=rngs), nnx.Linear(2 * FREQUENCIES, width, rngs=rngs)
        self.label = nnx.Embed(classes + 1, width, rngs=rngs) if classes else None
        self.hidden = nnx.List([nnx.Linear(width, width, rngs=rngs) for _ in range(layers - 1)])
        self.out = nnx.Linear(width, size, rngs=rngs)

    def __call__(self, x: Array, t: Array, label: Array) -> Array:
        h = self.inward(x) + self.time(clock(t))
        h = h if self.label is None else h + self.label(label)
        for layer in self.hidden:
            h = layer(jax.nn.silu(h))
        return self.out(jax.nn.silu(h))


class Block(nnx.Module):
    """Attention and MLP whose norms and gates depend on the condition, closed at first (adaLN-Zero, Peebles & Xie 2023)."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
        self.heads = heads
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.qkv, self.mixed = nnx.Linear(width, 3 * width, rngs=rngs), nnx.Linear(width, width, rngs=rngs)
        self.up, self.down = nnx.Linear(width, 4 * width, rngs=rngs), nnx.Linear(4 * width, width, rngs=rngs)
        self.zero_modulation = nnx.Linear(width, 6 * width, rngs=rngs)

    def __call__(self, x: Array, condition: Array) -> Array:
        n, places, width = x.shape
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = jnp.split(self.zero_modulation(condition)[:, None], 6, axis=-1)
        h = (self.norm(x) * (1 + scale_1) + shift_1).reshape(-1, width)
        q, k, v = (part.reshape(n, places, self.heads, -1) for part in jnp.split(self.qkv(h), 3, axis=-1))
        attended = jax.nn.dot_product_attention(q, k, v).reshape(-1, width)
        x = x + gate_1 * self.mixed(attended).reshape(x.shape)
        h = (self.norm(x) * (1 + scale_2) + shift_2).reshape(-1, width)
        return x + gate_2 * self.down(jax.nn.gelu(self.up(h))).reshape(x.shape)


class Patches(nnx.Module):
    """Images: a transformer over patches (DiT)."""

    def __init__(self, shape: tuple[int, ...], classes: int, width: int, layers: int, heads: int, patch: int, rngs: nnx.Rngs):
        self.shape, self.patch = shape, patch
        height, breadth, channels = shape
        places, inside = (height // patch) * (breadth // patch), patch * patch * channels
        self.inward, self.place = nnx.Linear(inside, width, rngs=rngs), nnx.Embed(places, width, rngs=rngs)
        self.time, self.time_2 = nnx.Linear(2 * FREQUENCIES, width, rngs=rngs), nnx.Linear(width, width, rngs=rngs)
        self.label = nnx.Embed(classes + 1, width, rngs=rngs) if classes else None
        self.blocks = nnx.List([Block(width, heads, rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.zero_last, self.zero_out = nnx.Linear(width, 2 * width, rngs=rngs), nnx.Linear(width, inside, rngs=rngs)

    def __call__(self, x: Array, t: Array, label: Array) -> Array:
        (height, breadth, channels), p = self.shape, self.patch
        tall, broad, n = height // p, breadth // p, x.shape[0]
        patches = x.reshape(n, tall, p, broad, p, channels).transpose(0, 1, 3, 2, 4, 5).reshape(n, tall * broad, -1)
        condition = self.time_2(jax.nn.silu(self.time(clock(t))))
        condition = jax.nn.silu(condition if self.label is None else condition + self.label(label))
        h = self.inward(patches) + self.place(jnp.arange(tall * broad))
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = jnp.split(self.zero_last(condition)[:, None], 2, axis=-1)
        out = self.zero_out(self.norm(h) * (1 + scale) + shift)
        return out.reshape(n, tall, broad, p, p, channels).transpose(0, 1, 3, 2, 4, 5).reshape(n, -1)


ARCHITECTURES: dict[str, Any] = {"mlp": Dense, "dit": Patches}
