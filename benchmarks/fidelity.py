"""Precision, recall, density and coverage against the usual NumPy and scikit-learn code: python benchmarks/fidelity.py [POINTS] [DIM]

All sides run in this process in turns, ours on one CPU device; one line of JSON, the ratios of the medians of turns. The others
hold three whole matrices of float32 distances: `partition` takes the k-th smallest by np.partition; `prdc` does as the package of
that name, by np.argpartition and with n_jobs=8.
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


def theirs(x: np.ndarray, y: np.ndarray, jobs: int | None = None, k: int = NEIGHBOURS) -> dict[str, float]:
    """The four metrics of generated x [n, dim] against real y [m, dim], as they are commonly written; with `jobs`, as prdc does."""

    def radius(z: np.ndarray) -> np.ndarray:
        apart = pairwise_distances(z, z, n_jobs=jobs)
        if jobs is None:
            return np.partition(apart, k, axis=-1)[:, k]
        return np.take_along_axis(apart, np.argpartition(apart, k + 1, axis=-1)[:, : k + 1], axis=-1).max(axis=-1)

    real, own, apart = radius(y), radius(x), pairwise_distances(y, x, n_jobs=jobs)
    return {
        "precision": (apart < real[:, None]).any(axis=0).mean(),
        "recall": (apart < own).any(axis=1).mean(),
        "density": (apart < real[:, None]).sum(axis=0).mean() / k,
        "coverage": (apart.min(axis=1) < real).mean(),
    }


def main(points: int = 10_000, dim: int = 64) -> None:
    drawn = [np.random.default_rng(seed).normal(size=(points, dim)).astype(np.float32) for seed in (0, 1)]
    x, y = map(jnp.asarray, drawn)
    weight = jnp.ones(points)
    sides = {
        "ours": lambda: jax.block_until_ready(manifold(x, weight, y)),
        "partition": lambda: theirs(*drawn),
        "prdc": lambda: theirs(*drawn, jobs=8),
    }
    found = {name: side() for name, side in sides.items()}
    for name, value in found["ours"].items():
        np.testing.assert_allclose(value, found["partition"][name], rtol=1e-3)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(TURNS):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - start)
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    result = {f"{name} s": round(value, 4) for name, value in middle.items()}
    ratios = {f"{name} ratio": round(middle[name] / middle["ours"], 2) for name in ("partition", "prdc")}
    print(json.dumps({"points": points, "dim": dim, **result, **ratios, "cores": len(os.sched_getaffinity(0))}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
