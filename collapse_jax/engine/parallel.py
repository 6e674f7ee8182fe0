"""Placing chains on devices: chunks of vmapped chains, one after the other, on the mesh axis `chain`, and a chain's model on `fsdp`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from collapse_jax import sharding
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Chain, Experiment, advance
from collapse_jax.struct import replace

PARALLELISMS = ("shard_map", "pmap", "jit")


@dataclass(frozen=True)
class Layout:
    """How the chains of several experiments, `counts` of each, lie in chunks on devices.

    Every experiment's chains are padded to whole chunks, so that neither other experiments nor the number of devices
    change what is computed together; the chunks are padded to at least two a device.
    fsdp: devices that share the model of a chain, of which each then has a part, and one chunk at least; computing over these
    parts, results are equal within rounding only.
    """

    counts: tuple[int, ...]
    chunk: int
    devices: tuple[Any, ...]
    parallelism: str = "shard_map"
    vmapped: bool = True
    fsdp: int = 1

    @property
    def teams(self) -> int:
        """Devices, or sets of them that share a chain."""
        return len(self.devices) // self.fsdp

    @property
    def per_experiment(self) -> tuple[int, ...]:
        """Chunks of every experiment."""
        return tuple(math.ceil(count / self.chunk) for count in self.counts)

    @property
    def used(self) -> int:
        """Chunks that hold chains."""
        return sum(self.per_experiment)

    @property
    def chunks(self) -> int:
        """Chunks with the padding."""
        share = max(2 if self.fsdp == 1 else 1, math.ceil(self.used / self.teams))
        return share * self.teams

    @property
    def owner(self) -> np.ndarray:
        """The experiment of every chunk; -1 for padding: int32 [chunks]."""
        owner = np.full(self.chunks, -1, np.int32)
        owner[: self.used] = np.repeat(np.arange(len(self.counts)), self.per_experiment)
        return owner

    def rows(self, experiment: int) -> np.ndarray:
        """Where an experiment's chains lie among the places of all chunks, one after the other: int [counts[experiment]]."""
        first = sum(self.per_experiment[:experiment]) * self.chunk
        return np.arange(first, first + self.counts[experiment])

    @property
    def chain_ids(self) -> np.ndarray:
        """The chain number, in its experiment, in every used place: int32 [used * chunk]; in padding, the last chain's."""
        numbers = [
            np.minimum(np.arange(n * self.chunk), count - 1) for n, count in zip(self.per_experiment, self.counts, strict=True)
        ]
        return np.concatenate(numbers).astype(np.int32)

    @property
    def mesh(self) -> Mesh:
        axes = {"chain": self.teams} | ({sharding.AXIS: self.fsdp} if self.fsdp > 1 else {})
        return jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * len(axes), devices=self.devices)

    @property
    def sharding(self) -> Any:
        """Where a leaf [chunks, ...] lies."""
        if self.parallelism == "jit":
            return jax.sharding.SingleDeviceSharding(self.devices[0])
        return NamedSharding(self.mesh, P("chain"))

    @property
    def everywhere(self) -> Any:
        """Where what all chains share lies."""
        if self.parallelism == "jit":
            return jax.sharding.SingleDeviceSharding(self.devices[0])
        return NamedSharding(self.mesh, P())

    def of_params(self, params: Any, chains: bool = True) -> Any:
        """Where parameters lie: those of chains, leaves [chunks, chunk, ...], or those that all of them share."""
        if self.fsdp == 1:
            return jax.tree.map(lambda _: self.sharding if chains else self.everywhere, params)
        axes = ("chain", None) if chains else ()
        cut = lambda x: P(*axes, *sharding.spec(np.shape(x)[len(axes) :], self.fsdp))
        return jax.tree.map(lambda x: NamedSharding(self.mesh, cut(x)), params)

    def of_chains(self, chains: Chain) -> Chain:
        """Where chains [chunks, chunk, ...] lie."""
        there = jax.tree.map(lambda _: self.sharding, chains)
        return replace(there, params=self.of_params(chains.params), first=self.of_params(chains.first))

    def of_found(self, found: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        """Where generation 0 of every chain lies: its parameters, report and statistics."""
        return self.of_params(found[0]), *jax.tree.map(lambda _: self.sharding, found[1:])


def lying(x: Any, where: Any) -> jax.ShapeDtypeStruct:
    """The shape of an array, and where it lies."""
    return jax.ShapeDtypeStruct(np.shape(x), jnp.asarray(x).dtype if np.isscalar(x) else x.dtype, sharding=where)


def described(arguments: tuple[Any, ...], plan: Layout) -> tuple[Any, ...]:
    """Arguments (experiments, shared, owner, chains or their keys, numbers …) as shapes, with where they would lie."""
    experiments, shared, owner, chains, *numbers = arguments
    everywhere = lambda tree: jax.tree.map(lambda x: lying(x, plan.everywhere), tree)
    shared = {name: everywhere(table) for name, table in shared.items()}
    if "base" in shared:
        shared["base"] = jax.tree.map(lying, shared["base"], plan.of_params(shared["base"], chains=False))
    where = plan.of_chains(chains) if isinstance(chains, Chain) else plan.sharding
    chains = jax.tree.map(lying, chains, where)
    return everywhere(experiments), shared, lying(owner, plan.sharding), chains, *everywhere(numbers)


def layout(
    counts: Sequence[int], chunk: int, devices: Sequence[Any], parallelism: str, lapack: bool = False, fsdp: int = 1
) -> Layout:
    """A checked Layout for `counts` chains of each experiment; `parallelism="jit"` takes the first device only. Raises ConfigError.

    lapack: the chains call LAPACK on CPUs; there they are never vmapped, because vmapped LAPACK calls on several CPU devices
    wait for each other for ever (seen with JAX 0.10.2): a chunk's chains then run one after the other.
    """
    if parallelism not in PARALLELISMS:
        raise ConfigError("parallelism", parallelism, "one of " + ", ".join(PARALLELISMS))
    if chunk < 1:
        raise ConfigError("chunk", chunk, "at least 1")
    vmapped = chunk > 1 and not (lapack and getattr(devices[0], "platform", "") == "cpu")
    if fsdp > 1 and parallelism != "shard_map":
        raise ConfigError("parallelism", parallelism, f"shard_map, with fsdp={fsdp}")
    if len(devices) % fsdp:
        raise ConfigError("fsdp", fsdp, f"a divisor of the number of devices, {len(devices)}")
    return Layout(tuple(counts), chunk, tuple(devices[:1] if parallelism == "jit" else devices), parallelism, vmapped, fsdp)


def over_chains(function: Callable[..., Any], plan: Layout) -> Callable[..., Any]:
    """`function(chain, fixed)` over a leading axis of a chunk's chains: vmapped, or one after the other."""
    if plan.vmapped:
        return jax.vmap(function, in_axes=(0, None))
    if plan.chunk > 1:
        return lambda chains, fixed: jax.lax.map(lambda chain: function(chain, fixed), chains)

    def alone(chain: Any, fixed: Any) -> Any:
        out = function(jax.tree.map(lambda x: x[0], chain), fixed)
        return jax.tree.map(lambda x: x[None], out)

    return alone


def spread(function: Callable[..., Any], plan: Layout) -> Callable[..., Any]:
    """`function(experiment, shared, chunk of inputs, *fixed)` mapped over all chunks and devices.

    The result takes (stacked experiments, shared, owner [chunks], inputs [chunks, chunk, ...], *fixed) and gives outputs
    with the leading axis [chunks]. Chunks of padding are not computed. No program holds a collective. Where models are in parts,
    their devices communicate, all teams in step (see `sharding.anywhere`), and padding is computed too.
    """

    def on_device(experiments: Any, shared: Any, owner: Any, inputs: Any, *fixed: Any) -> Any:
        def one(item: Any) -> Any:
            e, chunk = item
            mine = jax.tree.map(lambda x: x[jnp.maximum(e, 0)], experiments)
            run = lambda: function(mine, shared, chunk, *fixed)
            if plan.fsdp > 1:  # all teams keep step, so that padding is computed too
                return run()
            shapes = jax.eval_shape(run)
            return jax.lax.cond(e >= 0, run, lambda: jax.tree.map(empty, shapes))

        return jax.lax.map(one, (owner, inputs))

    if plan.parallelism == "jit":
        return on_device
    if plan.parallelism == "pmap":
        return mapped_by_pmap(on_device, plan)

    def sharded(experiments: Any, shared: Any, owner: Any, inputs: Any, *fixed: Any) -> Any:
        specs = (P(), P(), P("chain"), P("chain"), *[P()] * len(fixed))
        names = {"axis_names": {"chain"}} if plan.fsdp > 1 else {}
        program = jax.shard_map(on_device, mesh=plan.mesh, in_specs=specs, out_specs=P("chain"), check_vma=False, **names)
        return program(experiments, shared, owner, inputs, *fixed)

    return sharded


def empty(shape: jax.ShapeDtypeStruct) -> Any:
    """Zeros, or for typed keys the key of zero."""
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), shape.shape)
    return jnp.zeros(shape.shape, shape.dtype)


def mapped_by_pmap(on_device: Callable[..., Any], plan: Layout) -> Callable[..., Any]:
    """The same per-device function under `jax.pmap`, with the same arguments and results."""
    n = len(plan.devices)

    def split(x: Any) -> Any:
        return x.reshape(n, x.shape[0] // n, *x.shape[1:])

    def program(experiments: Any, shared: Any, owner: Any, inputs: Any, *fixed: Any) -> Any:
        axes = (None, None, 0, 0, *[None] * len(fixed))
        mapped = jax.pmap(on_device, in_axes=axes, devices=list(plan.devices))
        out = mapped(experiments, shared, split(owner), jax.tree.map(split, inputs), *fixed)
        return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), out)

    return program


def visit(plan: Layout, stride: int) -> Callable[..., Any]:
    """The program between two host visits: (experiments, shared, owner, chains, first, steps) -> (chains, records).

    Up to `stride` generations, `steps` of them from `first` on (both traced); records are [chunks, at least stride, chunk, ...].
    """

    @jax.jit  # for its cache alone: shapes are asked for several times, and the step is traced once
    def step(e: Experiment, shared: Any, chains: Any, t: Any) -> Any:
        return over_chains(lambda chain, t: split(*advance(e, shared, chain, t)), plan)(chains, t)

    def split(chain: Chain, record: Any) -> Any:
        return replace(chain, params=sharding.split(chain.params), first=sharding.split(chain.first)), record

    def generations(e: Experiment, shared: Any, chains: Any, first: Any, steps: Any) -> Any:
        shapes = jax.eval_shape(step, e, shared, chains, first)[1]
        # A loop and two rows even for a stride of 1: without them the compiler fuses the step otherwise, to other bits.
        buffer = jax.tree.map(lambda s: jnp.zeros((max(stride, 2), *s.shape), s.dtype), shapes)

        def body(i: Any, carry: Any) -> Any:
            chains, buffer = carry
            chains, record = step(e, shared, chains, first + i)
            return chains, jax.tree.map(lambda b, r: jax.lax.dynamic_update_index_in_dim(b, r, i, 0), buffer, record)

        return jax.lax.fori_loop(0, steps, body, (chains, buffer))

    return spread(generations, plan)


def compile_program(
    function: Callable[..., Any], arguments: Sequence[Any], donate: tuple[int, ...] = (), light: bool = False, out: Any = None
) -> Any:
    """The compiled program for arguments of these shapes and places. out: where its results lie (None: the compiler's choice).

    light: spare the CPU compiler's costlier passes, which vmapped closed forms do not need (a third less time to compile).
    """
    options: Any = {"xla_backend_optimization_level": 1} if light and jax.default_backend() == "cpu" else None
    places = {} if out is None else {"out_shardings": out}
    return jax.jit(function, donate_argnums=donate, **places).lower(*arguments).compile(options)
