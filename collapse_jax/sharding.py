"""A model over several devices: hints of where arrays lie on the mesh axis `fsdp`, which do nothing where there is none."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec as P

Array = jax.Array
AXIS = "fsdp"
LEAST = 2**12  # numbers: smaller arrays lie whole on every device
GATHERED = "gathered"  # weights brought together for one layer; never kept for the backward pass


def parts() -> int:
    """Devices that share one chain in the program that is being traced: 1 outside of a mesh with the axis."""
    return int(dict(jax.sharding.get_abstract_mesh().shape).get(AXIS, 1))


def spec(shape: Sequence[int], n: int) -> P:
    """Where an array of parameters is cut into n: along its longest axis that n divides; one too small, or without such an axis, is not."""
    size = 1
    for length in shape:
        size *= length
    axes = [axis for axis, length in enumerate(shape) if length % n == 0 and length >= n]
    if n == 1 or size < LEAST or not axes:
        return P()
    longest = max(axes, key=lambda axis: shape[axis])
    return P(*(AXIS if axis == longest else None for axis in range(len(shape))))


def split(params: Any) -> Any:
    """A tree of parameters, or of what an optimiser keeps of them, each cut as `spec` says."""
    n = parts()
    return params if n == 1 else jax.tree.map(lambda x: constrained(x, spec(x.shape, n)), params)


def rows(x: Any, axis: int = 0) -> Any:
    """An array of which every device of a chain has the same number of rows, where they can be shared out."""
    n = parts()
    return x if n == 1 or x.shape[axis] % n else constrained(x, P(*[None] * axis, AXIS))


def heads(x: Any) -> Any:
    """A cache [batch, heads, ...] of which every device has as many heads, or all of them where they cannot be shared out."""
    return rows(x, 1) if x.shape[1] % parts() == 0 else whole(x)


def columns(x: Any) -> Any:
    """A matrix of which every device of a chain has about the same number of columns."""
    return x if parts() == 1 else constrained(x, P(None, AXIS))


def whole(x: Any) -> Any:
    """An array (or a tree of them) that every device of a chain has all of."""
    return x if parts() == 1 else jax.tree.map(lambda leaf: constrained(leaf, P()), x)


def gathered(weights: Any, dtype: Any) -> Any:
    """A layer's weights brought together on every device, matrices in the type they are used in, and made again going backward."""
    if parts() == 1:
        return weights
    cast = jax.tree.map(lambda x: x.astype(dtype) if x.ndim > 1 else x, weights)
    return jax.tree.map(lambda x: checkpoint_name(constrained(x, P()), GATHERED), cast)


def layerwise(body: Any) -> Any:
    """The body of a loop over layers whose backward pass keeps all but what was `gathered`."""
    if parts() == 1:
        return body
    return jax.checkpoint(body, policy=jax.checkpoint_policies.save_anything_except_these_names(GATHERED))


def anywhere(condition: Array) -> Array:
    """Whether it holds in any of the chains that are computed at this moment.

    What several devices do together they do in step with all others: a loop or a branch that communicates must go the same way in
    every chain, or those that take it wait for ever for those that do not (seen on CPUs, with a collective permutation).
    """
    return condition if parts() == 1 else jax.lax.pmax(condition.astype(jnp.int32), "chain") > 0


def while_loop(goes_on: Callable[[Any], Array], step: Callable[[Any], Any], begin: Any) -> Any:
    """`jax.lax.while_loop`; over several devices a chain that is done waits, unchanged, for the others."""
    if parts() == 1:
        return jax.lax.while_loop(goes_on, step, begin)

    def one(carry: Any) -> Any:
        own, state = goes_on(carry[1]), carry[1]
        state = jax.tree.map(lambda new, old: jnp.where(own, new, old), step(state), state)
        return anywhere(goes_on(state)), state

    return jax.lax.while_loop(lambda carry: carry[0], one, (anywhere(goes_on(begin)), begin))[1]


def constrained(x: Any, where: P) -> Any:
    return jax.lax.with_sharding_constraint(x, where)
