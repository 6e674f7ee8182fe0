"""Our side of the timings; every case runs in a process of its own and prints one line of JSON."""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from visits import Visits

import collapse_jax as cj
from collapse_jax.data import Slots
from collapse_jax.engine import parallel
from collapse_jax.engine.serial import load_file
from collapse_jax.engine.work import Settings, Work


def grid_of_the_paper() -> list[cj.Experiment]:
    return load_file(Path(__file__).parents[1] / "experiments" / "collapse_or_thrive_gaussian.py").main()


def gaussian_grid() -> dict:
    """Seconds of `cj.run` for the grid with 100 chains; the caller chooses a cold or a warm compile cache."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = cj.run(grid_of_the_paper(), chains=100, seed=0, out=Path(folder) / "run")
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "records": len(run.records)}


def on_all_devices(function, chains: int, family=None):
    """`function(family, key)` for many chains: mapped one after the other on every device, as the engine runs them."""
    plan = parallel.layout([chains], 1, jax.devices(), "shard_map")
    family = family or cj.families.Transformer()
    keys = jax.device_put(jax.random.split(jax.random.key(0), (plan.chunks, 1)), plan.sharding)
    owner = jax.device_put(plan.owner, plan.sharding)

    def one(experiment, shared, keys):
        return parallel.over_chains(lambda key, _: function(family, key), plan)(keys, 0)

    program = parallel.compile_program(parallel.spread(one, plan), ({}, {}, owner, keys))
    jax.block_until_ready(program({}, {}, owner, keys))
    start = time.perf_counter()
    jax.block_until_ready(program({}, {}, owner, keys))
    return time.perf_counter() - start


def training() -> dict:
    """Tokens a second over all chains: 4 chains, 2 layers, width 64, vocabulary 1,024, block 64, batch 32."""
    tokens = jax.random.randint(jax.random.key(1), (1024, 64), 0, 1024)

    def fit(family, key):
        family = cj.families.Transformer(budget=cj.families.Steps(64))
        return family.fit(key, family.init(key, {}), Slots.of(tokens, 0), {})[1]["train_loss"]

    return {"tokens_per_second": 4 * 64 * 32 * 64 / on_all_devices(fit, 4)}


def sampling() -> dict:
    """Tokens a second over all chains: 4 chains, batch 512, 64 tokens, temperature 1."""

    def sample(family, key):
        return jnp.sum(family.sample(key, family.init(key, {}), 512))

    return {"tokens_per_second": 4 * 512 * 64 / on_all_devices(sample, 4)}


def vae() -> dict:
    """Training steps a second over two chains, one a core: the published MNIST network, batch 256."""
    steps = 24
    family = cj.families.VAE("conv", 20, batch=256, shape=(28, 28, 1), emit="mean", budget=cj.families.Steps(steps), decay="l2")
    images = jax.random.uniform(jax.random.key(1), (1024, 784))

    def fit(family, key):
        return family.fit(key, family.init(key, {}), Slots.of(images, 0), {"t": jnp.int32(0)})[1]["train_loss"]

    return {"steps_per_second": 2 * steps / on_all_devices(fit, 2, family)}


def chains() -> dict:
    """Seconds for 2,048 Gaussian chains × 2,000 generations on the devices there are, compilation apart."""
    experiment = cj.Experiment(cj.sources.Normal(3), cj.families.Gaussian(3), cj.regimes.Replace(), 100, 2000)
    visit = Visits(experiment, 2048, 500, chunk=64)
    visit(500)
    return {"seconds": sum(visit(500)[0] for _ in range(3)), "devices": len(jax.devices())}


def programs() -> dict:
    """Compiled `advance` programs of the paper's grid, and its signatures."""
    work = Work(grid_of_the_paper(), Settings(4), jax.devices())
    work.load()
    for group in work.groups:
        work.program(group, work.arguments(group, work.abstract_chains(group)))
    compiled = [name for name in work.compiled if isinstance(name, str)]
    return {"programs": len(compiled), "signatures": len(work.groups), "experiments": len(work.experiments)}


if __name__ == "__main__":
    case = {f.__name__: f for f in (gaussian_grid, training, sampling, vae, chains, programs)}[sys.argv[1]]
    print(json.dumps(case() | {"cores": len(os.sched_getaffinity(0))}))
