"""How fast language models are trained and decoded here: tokens a second, and their share of the measured peak of matrix products."""

import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from collapse_jax.checks import whole
from collapse_jax.engine import devices as machine
from collapse_jax.engine import parallel
from collapse_jax.engine.founding import founded
from collapse_jax.engine.grid import stack
from collapse_jax.engine.run import base_of
from collapse_jax.engine.work import Settings, Work, first, listed
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import SAMPLE, Experiment, drawing, initial_chain, phase_key, surroundings

SIDE = {"cpu": 2048}  # of the square matrices whose product is the peak; elsewhere:
LARGE = 8192


def throughput(
    experiments: Experiment | Iterable[Experiment],
    *,
    chains: int = 8,
    seed: int = 0,
    devices: int | None = None,
    parallelism: str = "shard_map",
    chunk: int | None = None,
    base: Any = None,
    fsdp: int = 1,
    repeats: int = 3,
) -> list[dict[str, Any]]:
    """One row a group: the fit of generation 0 and the decoding of one generation's samples, of all chains, by the run's own programs.

    train_tokens_per_second counts every token of the blocks that a fit reads, decode_tokens_per_second those that are drawn; both
    seconds are the least of `repeats`. The shares are of peak, the FLOP/s of one square matrix product on every device at once in
    the family's dtype, and count what the model asks for (`Transformer.flops`), not what is computed twice.
    Raises ConfigError as `run` does, or where an experiment's family is no Transformer.
    """
    whole("repeats", repeats)
    machine.prepare(devices)
    settings = Settings(chains, seed, parallelism, chunk=chunk, fsdp=fsdp)
    work = Work(listed(experiments), settings, machine.select(devices), **base_of(base))
    work.load()
    rows, peaks, seen = [], {}, set()
    for group in work.groups:
        e, plan = first(group.experiments), work.layout(group)
        if not hasattr(e.family, "flops"):
            raise ConfigError("family", type(e.family).__name__, "a Transformer: others have no tokens to count")
        alike = str(jax.tree.structure((e.source, e.family, e.decoding, e.prompts))), e.samples.capacity
        if alike in seen:  # an arm with another regime
            continue
        seen.add(alike)
        dtype = e.family.dtype
        if dtype not in peaks:
            peaks[dtype] = peak(plan, dtype, repeats)
        fit, arguments = work.founding_program(founded, group.indices[0])
        trained, (params, info, _) = timed(lambda fit=fit, arguments=arguments: fit(*arguments), repeats)
        drawn = timed(decoder(work, group.indices[0], params), repeats)[0]
        steps = np.asarray(info["steps"]).reshape(-1)[: work.settings.chains]
        block, n = e.family.block, work.settings.chains * e.samples.capacity
        tokens = {"train": int(steps.sum()) * e.family.batch * block, "decode": n * drawn_tokens(e)}
        flops = {"train": 3 * e.family.flops(block) * int(steps.sum()) * e.family.batch, "decode": n * decode_flops(e)}
        row = {"group": group.name, "family": snake_shape(e.family), "chains": work.settings.chains, "devices": len(plan.devices)}
        row |= {"device": plan.devices[0].device_kind, "dtype": dtype, "peak": peaks[dtype]}
        for name, seconds in (("train", trained), ("decode", drawn)):
            row |= {f"{name}_tokens": tokens[name], f"{name}_seconds": seconds, f"{name}_flops": flops[name]}
            row |= {f"{name}_tokens_per_second": tokens[name] / seconds, f"{name}_share": flops[name] / seconds / peaks[dtype]}
        rows.append(row)
    return rows


def snake_shape(family: Any) -> str:
    """A Transformer in a word."""
    return f"{family.layers} × {family.width}, V={family.vocabulary}, block {family.block}"


def drawn_tokens(e: Experiment) -> int:
    """Tokens that are drawn for a sample."""
    return int(e.family.block - (0 if e.prompts is None else e.prompts.given(e.family.block)))


def decode_flops(e: Experiment) -> float:
    """Floating-point operations that a sample takes: every drawn token behind all before it, once for every beam, and the prompt."""
    before = 0 if e.prompts is None else e.prompts.tokens(e.family.block)
    length = before + drawn_tokens(e)
    beams = getattr(e.decoding, "width", 1)
    return float(e.family.flops(before) + beams * (e.family.flops(length) - e.family.flops(before)))


def timed(action: Any, repeats: int) -> tuple[float, Any]:
    """Seconds of the fastest of so many runs after a first one, and the result."""
    out = jax.block_until_ready(action())
    best = np.inf
    for _ in range(repeats):
        began = time.monotonic()
        out = jax.block_until_ready(action())
        best = min(best, time.monotonic() - began)
    return best, out


def decoder(work: Work, i: int, params: Any) -> Any:
    """A function that draws one generation's samples of every chain of an experiment from parameters [chunks, chunk, ...]."""
    e, s = work.settled[i], work.settings
    plan = parallel.layout([s.chains], work.chunk(e), work.devices, s.parallelism, e.family.lapack, s.fsdp)

    def one(e: Experiment, shared: Any, item: Any) -> Any:
        key, params = item
        around = surroundings(e, shared, params)
        train = e.regime.training_set(initial_chain(e, shared, key).store, around)
        return drawing(e, around, key, train)(phase_key(key, 0, SAMPLE), params, e.samples.capacity)

    def draw(e: Experiment, shared: Any, items: Any) -> Any:
        return parallel.over_chains(lambda item, _: one(e, shared, item), plan)(items, 0)

    _, (_, shared, owner, keys) = work.founding_program(founded, i)
    stacked = work.place(stack([e]), plan.everywhere)
    program = parallel.compile_program(parallel.spread(draw, plan), (stacked, shared, owner, (keys, params)))
    return lambda: program(stacked, shared, owner, (keys, params))


def peak(plan: parallel.Layout, dtype: str, repeats: int) -> float:
    """FLOP/s of all devices together, of one square matrix product on each."""
    side, n = SIDE.get(plan.devices[0].platform, LARGE), len(plan.devices)
    mesh = jax.make_mesh((n,), ("each",), axis_types=(jax.sharding.AxisType.Auto,), devices=plan.devices)
    where = jax.sharding.NamedSharding(mesh, P("each"))
    make = jax.jit(lambda: jax.random.normal(jax.random.key(0), (n, side, side), dtype), out_shardings=where)
    product = jax.jit(jax.shard_map(lambda x: x @ x, mesh=mesh, in_specs=P("each"), out_specs=P("each")))
    x = make()
    return 2 * n * side**3 / timed(lambda: product(x), 3 * repeats)[0]
