"""Generation 0 of one chain, which arms share: how it is made, and how a chain is begun with it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.engine import parallel
from collapse_jax.engine.grid import founding
from collapse_jax.experiment import Chain, Experiment, begin, found, initial_chain


def founded(e: Experiment, shared: Any, key: Any) -> tuple[Any, Any, Any]:
    """Generation 0 of one chain, with the statistics of its real data where the family has a use for them."""
    real, params, info = found(e, shared, key)
    return params, info, e.family.summarise(real) if hasattr(e.family, "summarise") else None


def real(e: Experiment, shared: Any, key: Any) -> Any:
    """The real data of one chain's generation 0."""
    return initial_chain(e, shared, key).store


def found_shapes(e: Experiment, shared: Any, key: Any) -> tuple[Any, Any, Any, Any]:
    """Shapes of what a chain of `e` is begun with: real data (None with statistics), parameters, report, statistics."""
    origin = jax.tree.map(jnp.asarray, founding(e))
    return None if getattr(e.family, "statistics", False) else real(origin, shared, key), *founded(origin, shared, key)


def begun(e: Experiment, shared: Any, key: Any, real: Any, params: Any, info: Any, statistics: Any) -> Chain:
    """A founded chain of experiment `e`."""
    if getattr(e.family, "statistics", False):
        return begin(e, shared, key, statistics, params, info)
    index = jnp.arange(e.samples.capacity)
    fits = index < real.samples.shape[0]
    taken = real.take(jnp.minimum(index, real.samples.shape[0] - 1))
    taken = dataclasses.replace(taken, weight=jnp.where(fits, taken.weight, 0.0))
    return begin(e, shared, key, taken, params, info)


def padded(chains: Any, plan: parallel.Layout) -> Any:
    """Leaves [used * chunk, ...] as [chunks, chunk, ...]; the padding repeats the first chain and is never computed."""

    def pad(x: Any) -> Any:
        index = np.arange(plan.chunks * plan.chunk)
        return x[jnp.asarray(np.where(index < x.shape[0], index, 0))].reshape(plan.chunks, plan.chunk, *x.shape[1:])

    return jax.tree.map(pad, chains)
