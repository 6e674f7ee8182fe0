"""Precision, recall, density and coverage against the usual NumPy and scikit-learn code: python benchmarks/fidelity.py [POINTS] [DIM]

Both sides run in this process in turns, ours on one CPU device; one line of JSON, the ratio of the medians of turns. The other
side holds three whole matrices of distances, in the precision it is faster in (float32 and float64 are both timed).
"""

import json
import os
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import pairwise_distances

from collapse_jax.metrics.fidelity import NEIGHBOURS, manifold

TURNS = 7


def theirs(x: np.ndarray, y: np.ndarray, k: int = NEIGHBOURS) -> dict[str, float]:
    """The four metrics of generated x [n, dim] against real y [m, dim], as they are commonly written."""
    radius = lambda z: np.partition(pairwise_distances(z, z), k, axis=-1)[:, k]
    real, own, apart = radius(y), radius(x), pairwise_distances(y, x)
    inside = apart < real[:, None]
    return {
        "precision": inside.any(axis=0).mean(),
        "recall": (apart < own).any(axis=1).mean(),
        "density": inside.sum(axis=0).mean() / k,
        "coverage": (apart.min(axis=1) < real).mean(),
    }


def main(points: int = 10_000, dim: int = 64) -> None:
    wide = [np.random.default_rng(seed).normal(size=(points, dim)) for seed in (0, 1)]
    narrow = [z.astype(np.float32) for z in wide]
    x, y = map(jnp.asarray, narrow)
    weight = jnp.ones(points)
    sides = {
        "ours": lambda: jax.block_until_ready(manifold(x, weight, y)),
        "float32": lambda: theirs(*narrow),
        "float64": lambda: theirs(*wide),
    }
    found = {name: side() for name, side in sides.items()}
    for name, value in found["ours"].items():
        np.testing.assert_allclose(value, found["float64"][name], rtol=1e-3)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(TURNS):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - start)
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    result = {f"{name} s": round(value, 4) for name, value in middle.items()}
    ratio = min(middle["float32"], middle["float64"]) / middle["ours"]
    print(json.dumps({"points": points, "dim": dim, **result, "ratio": round(ratio, 2), "cores": len(os.sched_getaffinity(0))}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
