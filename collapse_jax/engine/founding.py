"""Generation 0 of one chain, which arms share: how it is made, and how a chain is begun with it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.data import Slots
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


def joined(work: Any, group: Any) -> Any:
    """Chains of a group of `engine.work.Work` before generation 0, for families whose models are large: leaves [chunks, chunk, ...].

    They come by way of the host's memory, for no device has room for all of them.
    """
    plan = work.layout(group)
    blocks = [(work.real(i), *work.foundation(i)) for i in group.indices]
    most = max(block[0].samples.shape[1] for block in blocks)
    blocks = [(filled_up(real, most), *rest) for real, *rest in blocks]
    ids = np.split(plan.chain_ids, np.cumsum(plan.per_experiment)[:-1] * plan.chunk)
    keys = jnp.concatenate([work.keys(own, work.seed_of(i)) for own, i in zip(ids, group.indices, strict=True)])

    def wide(*leaves: Any) -> np.ndarray:
        rows = np.concatenate([leaf[own] for leaf, own in zip(leaves, ids, strict=True)])
        rows = rows[np.where(np.arange(plan.chunks * plan.chunk) < len(rows), np.arange(plan.chunks * plan.chunk), 0)]
        return rows.reshape(plan.chunks, plan.chunk, *rows.shape[1:])

    real, params, *rest = jax.tree.map(wide, *blocks)
    inputs = jax.device_put(padded(keys, plan), plan.sharding), jax.device_put(real, plan.sharding)
    inputs = *inputs, jax.device_put(params, plan.of_params(params)), *jax.device_put(rest, plan.sharding)
    experiments, shared, owner = work.arguments(group, None)[:3]

    def make(mine: Experiment, shared: Any, inputs: Any) -> Chain:
        return parallel.over_chains(lambda own, _: begun(mine, shared, *own), plan)(inputs, 0)

    program, arguments = parallel.spread(make, plan), (experiments, shared, owner, inputs)
    out = plan.of_chains(jax.eval_shape(program, *arguments)) if plan.fsdp > 1 else None
    return parallel.compile_program(program, arguments, out=out)(*arguments)


def filled_up(real: Slots, slots: int) -> Slots:
    """Real data of chains [chains, n, ...] with empty slots up to so many."""
    pad = lambda x: np.pad(x, [(0, 0), (0, slots - x.shape[1]), *[(0, 0)] * (x.ndim - 2)])
    return dataclasses.replace(real, samples=pad(real.samples), weight=pad(real.weight), origin=pad(real.origin))
