"""Convolutions that halve an image's side and their transposes, as matrix products where those are faster than XLA's own."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

Array = jax.Array
DIMENSIONS = ("NHWC", "HWIO", "NHWC")
PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # of the four 2×2 blocks of pixels under a 4×4 kernel


def is_native() -> bool:
    """Whether the backend's own convolution is used: everywhere but on CPUs, where XLA's is slow inside a loop."""
    return jax.default_backend() != "cpu"


def as_blocks(kernel: Array) -> Array:
    """A kernel [4, 4, in, out] as [16 in, out]: four blocks, each of 2×2 pixels."""
    c, out = kernel.shape[2:]
    return kernel.reshape(2, 2, 2, 2, c, out).transpose(0, 2, 1, 3, 4, 5).reshape(16 * c, out)


def halve(x: Array, kernel: Array, native: bool | None = None) -> Array:
    """Convolution with kernel [4, 4, in, out], stride 2, padding 1: x [n, h, w, in] -> [n, h/2, w/2, out]; h and w are even."""
    if is_native() if native is None else native:
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=DIMENSIONS)
    n, h, w, c = x.shape
    blocks = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(n, h // 2 + 1, 2, w // 2 + 1, 2, c)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2 + 1, w // 2 + 1, 4 * c)
    patches = jnp.concatenate([blocks[:, i : i + h // 2, j : j + w // 2] for i, j in PLACES], axis=-1)
    return jnp.matmul(patches.reshape(-1, 16 * c), as_blocks(kernel)).reshape(n, h // 2, w // 2, -1)


def double(x: Array, kernel: Array, native: bool | None = None) -> Array:
    """Its transpose, with kernel [4, 4, out, in] (so that it is `halve`'s own): x [n, h, w, in] -> [n, 2h, 2w, out]."""
    if is_native() if native is None else native:
        flipped = kernel[::-1, ::-1].swapaxes(2, 3)
        return jax.lax.conv_general_dilated(
            x, flipped, (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), dimension_numbers=DIMENSIONS
        )
    n, h, w, c = x.shape
    out = kernel.shape[2]
    parts = jnp.matmul(x.reshape(-1, c), as_blocks(kernel).T).reshape(n, h, w, 4, 4 * out)
    blocks = sum(jnp.pad(parts[:, :, :, q], ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0))) for q, (i, j) in enumerate(PLACES))
    grown = blocks.reshape(n, h + 1, w + 1, 2, 2, out).transpose(0, 1, 3, 2, 4, 5)  # type: ignore[union-attr]
    return grown.reshape(n, 2 * h + 2, 2 * w + 2, out)[:, 1:-1, 1:-1]


class Halve(nnx.Module):
    """`halve` and a bias."""

    def __init__(self, inward: int, outward: int, rngs: nnx.Rngs):
        self.kernel = nnx.Param(jnp.zeros((4, 4, inward, outward)))
        self.bias = nnx.Param(jnp.zeros(outward))

    def __call__(self, x: Array) -> Any:
        return halve(x, self.kernel[...]) + self.bias[...]


class Double(nnx.Module):
    """`double` and a bias."""

    def __init__(self, inward: int, outward: int, rngs: nnx.Rngs):
        self.kernel = nnx.Param(jnp.zeros((4, 4, outward, inward)))
        self.bias = nnx.Param(jnp.zeros(outward))

    def __call__(self, x: Array) -> Any:
        return double(x, self.kernel[...]) + self.bias[...]
