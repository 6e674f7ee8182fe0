"""The crossing from flax NNX modules to pure functions of a plain tree of parameters, and what networks of samples share."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from collapse_jax.errors import ConfigError

Array = jax.Array
Build = Callable[..., Any]  # a module's class; called with its shape and rngs


@functools.lru_cache(maxsize=256)
def structure(build: Build, shape: tuple[Any, ...]) -> tuple[Any, Any]:
    """The graph of a module of this shape, and its parameters' abstract state."""
    return nnx.split(nnx.eval_shape(lambda: build(*shape, rngs=nnx.Rngs(0))))


def bound(build: Build, shape: tuple[Any, ...], params: Any) -> Any:
    """The module that has these parameters; for use within one pure function."""
    graph, abstract = structure(build, shape)
    return nnx.merge(graph, jax.tree.unflatten(jax.tree.structure(abstract), jax.tree.leaves(params)))


def abstract_params(build: Build, shape: tuple[Any, ...]) -> Any:
    """Shapes of a module's parameters: nested dictionaries."""
    return nnx.to_pure_dict(structure(build, shape)[1])


def initial(key: Array, build: Build, shape: tuple[Any, ...]) -> Any:
    """Random parameters: nested dictionaries of float32 arrays, all from one draw (a sampler for each takes long to compile).

    Weights and biases are uniform within 1/√fan-in, as PyTorch's layers start; embeddings normal with deviation 0.02; what is
    called "scale" is 1, "zero…" 0. A layer's bias is bounded by its own kernel's fan-in.
    """
    tree = abstract_params(build, shape)
    leaves, form = jax.tree_util.tree_flatten_with_path(tree)
    fans = {path[:-1]: int(np.prod(leaf.shape[:-1])) for path, leaf in leaves if path[-1].key == "kernel"}
    uniform = jax.random.uniform(key, (sum(leaf.size for _, leaf in leaves),), jnp.float32, -1.0, 1.0)
    made, at = [], 0
    for path, leaf in leaves:
        name, some = path[-1].key, uniform[at : at + leaf.size].reshape(leaf.shape)
        at += leaf.size
        if any(str(part.key).startswith("zero") for part in path):
            some = jnp.zeros(leaf.shape, jnp.float32)
        elif name == "scale":
            some = jnp.ones(leaf.shape, jnp.float32)
        elif name == "embedding":
            some = 0.02 * math.sqrt(2) * jax.lax.erf_inv(some)
        else:
            some = some / math.sqrt(fans[path[:-1]]) if path[:-1] in fans else jnp.zeros(leaf.shape, jnp.float32)
        made.append(some)
    return jax.tree_util.tree_unflatten(form, made)


def same_shape(shape: tuple[int, ...] | None, source: Any) -> None:
    """Raise ConfigError unless samples of this shape are the source's."""
    dim = getattr(source, "dim", None)
    if dim is None:
        raise ConfigError("source", type(source).__name__, "a source of points or images")
    theirs = getattr(source, "shape", None) or (dim,)
    if shape != tuple(theirs):
        raise ConfigError("family.shape", repr(shape), f"the source's {tuple(theirs)}")


def in_slices(function: Callable[[Array], Array], x: Array, size: int) -> Array:
    """`function` of x [n, ...], `size` rows at a time, so that its intermediates stay small."""
    n = x.shape[0]
    if n <= size:
        return function(x)
    parts = -(-n // size)
    padded = jnp.concatenate([x, jnp.zeros((parts * size - n, *x.shape[1:]), x.dtype)]).reshape(parts, size, *x.shape[1:])
    out = jax.lax.map(function, padded)
    return out.reshape(parts * size, *out.shape[2:])[:n]
