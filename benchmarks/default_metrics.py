"""What the default metrics cost in the demo: a generation with all of them against one with a single cheap column.

python benchmarks/default_metrics.py: a line of JSON for each part of the demo (one arm, its chains on one CPU device, both sides
in turns); share = (with - without) / with, of medians of five turns.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import collapse_jax as cj
from collapse_jax.demo import CHAINS, gaussian, kjv, zipf

TURNS = 5
# A column that costs next to nothing; what is not recorded is not computed.
CHEAPEST = {"gaussian": ["mean_sq_error"], "zipf": ["support"], "kjv": ["steps"]}
GENERATIONS = {"gaussian": 100, "zipf": 50, "kjv": 1}


def generations(experiment: cj.Experiment, shared: Any, metrics: Any, chains: int, count: int) -> Callable[[], Any]:
    """A compiled run of `count` generations of all chains, as one call."""
    e = cj.resolve(cj.varied(experiment, metrics=metrics, generations=count))
    width = e.family.chunk(max(int(e.samples.capacity), 1), "cpu")

    def one(key: jax.Array) -> Any:
        step = lambda chain, t: cj.advance(e, shared, chain, t)
        return jax.lax.scan(step, cj.initial_chain(e, shared, key), jnp.arange(count))[1]

    keys = jax.random.split(jax.random.key(0), chains)
    run = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=min(width, chains)))
    return lambda: jax.block_until_ready(run(keys))


def main() -> None:
    parts = {"gaussian": gaussian()[0], "zipf": zipf()[0], "kjv": kjv(512, 288)[1]}
    for name, experiment in parts.items():
        shared = cj.resolve(experiment).source.load(None)
        sides = {
            "with": generations(experiment, shared, "default", CHAINS[name], GENERATIONS[name]),
            "without": generations(experiment, shared, CHEAPEST[name], CHAINS[name], GENERATIONS[name]),
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for side in sides.values():
            side()
        for _ in range(TURNS):
            for side, run in sides.items():
                start = time.perf_counter()
                run()
                seconds[side].append(time.perf_counter() - start)
        middle = {side: statistics.median(taken) for side, taken in seconds.items()}
        share = 1 - middle["without"] / middle["with"]
        facts = {"part": name, **{f"{side} s": round(x, 4) for side, x in middle.items()}, "share": round(share, 3)}
        print(json.dumps(facts | {"cores": len(os.sched_getaffinity(0))}))


if __name__ == "__main__":
    main()
