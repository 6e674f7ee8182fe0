"""Any number of samples from one model in bounded memory: they go to the host while the next ones are decoded."""

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import whole
from collapse_jax.data import Slots
from collapse_jax.engine.run import Run, readable
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import real_data, resolve, surroundings
from collapse_jax.struct import replace

Array = jax.Array
EXTRA = 2**31  # folded into a chain's key: none of its generations' numbers


def stream(run: Run, count: int, experiment: int, chain: int, generation: int | None, seed: int, together: int) -> Iterator[Any]:
    """Parts of `count` samples [up to together, ...] of one chain's model at a checkpointed generation (None: the newest).

    They are drawn as the run draws them: by its decoding and, where it has prompts, behind this chain's real ones, one after the
    other. The device holds one part and the one before it. Raises ConfigError where the run has no such model, or a number is out of range.
    """
    whole("count", count, 1, 2**40)
    whole("together", together, 1, 2**20)
    whole("seed", seed, 0, 2**32 - 1)
    if not 0 <= experiment < len(run.experiments):
        raise ConfigError("experiment", experiment, f"from 0 to {len(run.experiments) - 1}")
    chains = run.config["settings"]["chains"]
    whole("chain", chain, 0, chains - 1, ", the run's chains")
    e, shared, blocks = run.experiments[experiment], {}, 1
    if e.family.self_shaped and e.prompts is None:  # its model is enough
        e = replace(e, decoding=e.decoding.settled() if hasattr(e.decoding, "settled") else e.decoding)
    else:
        e, work = resolve(e), readable(run)
        if getattr(e.family, "statistics", False):
            raise ConfigError("experiment", experiment, "one that keeps samples; this one keeps statistics")
        work.load()
        shared, blocks = work.shared(e), max(1, int(np.asarray(e.samples.counts)[0]))
    params = run.params(experiment, generation, chain)
    own = jax.random.fold_in(jax.random.key(run.config["settings"]["seed"]), chain)

    @jax.jit
    def part(params: Any, i: Array, start: Array) -> Array:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(own, EXTRA), seed), i)
        if e.prompts is None:
            drawn = e.family.sample(key, params, together, e.decoding)
        else:
            real = real_data(e, surroundings(e, shared, params), own)
            places = (start + jnp.arange(together)) % jnp.maximum(real.count, 1)
            drawn = e.prompts.continued(key, e.family, params, together, e.decoding, real.take(places))
        return Slots.of(drawn, 0, e.family.frame(params)).absolute()

    made = overlapped(lambda i: part(params, jnp.uint32(i), jnp.int32(i * together % blocks)), -(-count // together))
    yield from (samples[: count - i * together] for i, samples in enumerate(made))


def overlapped(make: Callable[[int], Any], parts: int) -> Iterator[np.ndarray]:
    """The arrays make(0) … make(parts - 1) in the host's memory; each is waited for when the next is on its way."""
    coming = make(0)
    for i in range(1, parts + 1):
        made, coming = coming, make(i) if i < parts else None
        yield np.asarray(made)


def write_texts(
    run: Run, out: Path | None, count: int, experiment: int, chain: int, generation: int | None, seed: int, together: int
) -> None:
    """Text of `stream`'s samples, a JSON line each, to a file or to standard output. Raises ConfigError also where there is no text."""
    if 0 <= experiment < len(run.experiments) and not hasattr(run.experiments[experiment].source, "decode"):
        raise ConfigError("experiment", experiment, "one whose samples are text")
    inside = out is not None and run.folder.resolve() in out.resolve().parents
    if out is not None and (inside or out.is_dir() or not out.parent.is_dir()):
        raise ConfigError("out", out, "a file in a folder that exists, but for the run's own")
    parts = stream(run, count, experiment, chain, generation, seed, together)
    first = next(parts)  # whatever cannot be, before the file is opened
    source = run.experiments[experiment].source
    with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as file:
        for samples in itertools.chain([first], parts):
            file.writelines(json.dumps({"text": source.decode(tokens, run.folder)}) + "\n" for tokens in samples)
            file.flush()
