"""What a grid would take: compiled programs, chunks, memory a device from the compiler's own analysis, and disk."""

import re
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from collapse_jax.engine import devices as machine
from collapse_jax.engine.founding import founded
from collapse_jax.engine.inputs import record_bytes
from collapse_jax.engine.run import base_of
from collapse_jax.engine.runner import saved_shape
from collapse_jax.engine.work import Settings, Work, first, listed
from collapse_jax.experiment import Experiment


def plan(
    experiments: Experiment | Iterable[Experiment],
    *,
    chains: int = 8,
    seed: int = 0,
    devices: int | None = None,
    parallelism: str = "shard_map",
    stride: int | None = None,
    keep: str | None = None,
    chunk: int | None = None,
    base: Any = None,
    controls: int = 0,
    fsdp: int = 1,
    topology: str | None = None,
) -> list[dict[str, Any]]:
    """One row a group: experiments, chains of each, control chains, chunk, devices, chunks a device, stride, generations, and in bytes

    state (chains on one device), founding and memory (arguments, results and temporaries on one device, less what is updated in
    place, of the compiled programs that make generation 0 and all others), limit (what a device has, where that is known),
    checkpoint (one, on disk), disk (all that are kept, and records before compression); and whether it fits, with the compiler's
    words in `refusal` where that is what said no.
    topology: a TPU slice that need not be here, such as "v5e:2x4" or "v4:2x2x1": programs are compiled for its devices, by libtpu.
    Compiles every group's program; runs nothing and writes nothing. Raises ConfigError as `run` does.
    """
    there = None if topology is None else machine.of_topology(topology, devices)
    machine.prepare(devices if there is None else None)
    grid = listed(experiments)
    settings = Settings(chains, seed, parallelism, stride, keep, chunk, controls, fsdp)
    work = Work(grid, settings, there or machine.select(devices), described=there is not None, **base_of(base))
    work.load()
    rows = []
    for group in work.groups:
        layout, e = work.layout(group), first(group.experiments)
        state = work.abstract_chains(group)
        limit, refusal = machine.memory(work.devices), ""
        needed: list[Any] = []
        for made in (
            lambda group=group: work.founding_program(founded, group.indices[0])[0],
            lambda group=group, state=state: work.program(group, work.arguments(group, state)),
        ):
            try:
                needed.append(held(made().memory_analysis()))
            except jax.errors.JaxRuntimeError as error:
                refusal = refusal_of(error)
                needed.append(None)
        arms = sum(i < len(work.experiments) for i in group.indices)
        checkpoint = sum(size(leaf) for leaf in jax.tree.leaves(saved_shape(work, group)))
        steps = group.experiments.generations + 1
        kept = kept_checkpoints(work.keep(group), steps, work.buffer(group))
        rows.append(
            {
                "group": group.name,
                "experiments": arms,
                "chains": work.settings.chains,
                "controls": sum(layout.counts) - arms * work.settings.chains,
                "chunk": layout.chunk,
                "devices": len(layout.devices),
                "chunks_per_device": layout.chunks // layout.teams,
                "stride": work.buffer(group),
                "generations": steps,
                "fsdp": layout.fsdp,
                "state": sum(on_one(leaf) for leaf in jax.tree.leaves(state)),
                "founding": needed[0],
                "memory": needed[1],
                "limit": limit,
                "fits": not refusal and (limit is None or max(needed) <= limit),
                "refusal": refusal,
                "checkpoint": checkpoint,
                "disk": checkpoint * kept + record_bytes(e, work.shared(e)) * steps * sum(layout.counts),
            }
        )
    return rows


def held(analysis: Any) -> int:
    """Bytes that a compiled program has on one device."""
    whole = analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    return int(whole - analysis.alias_size_in_bytes)


def refusal_of(error: Exception) -> str:
    """What a compiler says of a program that needs more memory than its device has, in a line. Other errors are raised."""
    text = " ".join(str(error).split())
    if "RESOURCE_EXHAUSTED" not in text:
        raise error
    sizes = re.findall(r"\d+(?:\.\d+)?[KMGT]\b", text)
    return f"{sizes[0]} of {sizes[1]}" if len(sizes) > 1 else text[:120]


def on_one(leaf: Any) -> int:
    """Bytes of an array that one of its devices has."""
    return size(jax.ShapeDtypeStruct(leaf.sharding.shard_shape(leaf.shape), leaf.dtype))


def kept_checkpoints(keep: str, generations: int, stride: int) -> int:
    """How many checkpoints are on disk at the end, at most."""
    kind, _, number = keep.partition(":")
    visits = -(-generations // stride) if kind == "all" else generations
    return visits if kind == "all" else int(number) if kind == "last" else generations // int(number) + 2


def size(leaf: Any) -> int:
    """Bytes of an array of this shape and dtype; a key has two words."""
    itemsize = 8 if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.dtype.itemsize
    return int(np.prod(leaf.shape)) * itemsize
