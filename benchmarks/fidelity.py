"""Precision, recall, density and coverage against the prdc package and scikit-learn: .venv-peers/bin/python benchmarks/fidelity.py [POINTS] [DIM]

All sides run in this process in turns, ours on one CPU device; one line of JSON, the ratios of the medians of turns. The others
hold three whole matrices of float32 distances: `partition` takes the k-th smallest by np.partition; `prdc` is the package of that
name (benchmarks/requirements.txt), by np.argpartition and with n_jobs=8.
"""

import contextlib
import io
import json
import os
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from prdc import compute_prdc
from sklearn.metrics import pairwise_distances

from collapse_jax.metrics.fidelity import NEIGHBOURS, manifold

TURNS = 7


def commonly(x: np.ndarray, y: np.ndarray, k: int = NEIGHBOURS) -> dict[str, float]:
    """The four metrics of generated x [n, dim] against real y [m, dim], as they are commonly written."""
    radius = lambda z: np.partition(pairwise_distances(z, z), k, axis=-1)[:, k]
    real, own, apart = radius(y), radius(x), pairwise_distances(y, x)
    return {
        "precision": (apart < real[:, None]).any(axis=0).mean(),
        "recall": (apart < own).any(axis=1).mean(),
        "density": (apart < real[:, None]).sum(axis=0).mean() / k,
        "coverage": (apart.min(axis=1) < real).mean(),
    }


def packaged(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The same by the package, which prints how many there are."""
    with contextlib.redirect_stdout(io.StringIO()):
        return compute_prdc(real_features=y, fake_features=x, nearest_k=NEIGHBOURS)


def main(points: int = 10_000, dim: int = 64) -> None:
    drawn = [np.random.default_rng(seed).normal(size=(points, dim)).astype(np.float32) for seed in (0, 1)]
    x, y = map(jnp.asarray, drawn)
    weight = jnp.ones(points)
    sides = {
        "ours": lambda: jax.block_until_ready(manifold(x, weight, y)),
        "partition": lambda: commonly(*drawn),
        "prdc": lambda: packaged(*drawn),
    }
    found = {name: side() for name, side in sides.items()}
    for name, value in found["ours"].items():
        for side in ("partition", "prdc"):
            np.testing.assert_allclose(value, found[side][name], rtol=1e-3)
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
