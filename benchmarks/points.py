"""Chains of Gaussian mixtures and of kernel densities against scikit-learn's fit and sample: python benchmarks/points.py [CASE...]

Both sides run in this process in turns, ours on all CPU devices; one line of JSON a case, the ratio of the medians of turns.
scikit-learn runs as installed and, as `one_thread`, with its thread pools held to one thread, which is faster on data this small.
"""

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from threadpoolctl import threadpool_limits
from visits import Visits

import collapse_jax as cj

SAMPLES, GENERATIONS, TURNS = 1000, 100, 5
BLOB = cj.sources.Normal(2)


def ours(experiment: cj.Experiment, chains: int, steps: int) -> Iterator[float]:
    """Seconds a chain-generation, visit after visit of `steps` generations, by the engine's own program, compilation apart."""
    visit = Visits(experiment, chains, steps)
    visit(steps)
    while True:
        yield visit(steps)[0] / (chains * steps)


def theirs(model: Callable[[int], object], steps: int) -> Iterator[float]:
    """Seconds a generation of one chain of fits and samples, visit after visit."""
    x, seed = np.random.default_rng(0).normal(size=(SAMPLES, 2)), count()
    for visit in count():
        start = time.perf_counter()
        for _ in range(steps):
            drawn = model(next(seed)).fit(x).sample(SAMPLES)
            x = drawn[0] if isinstance(drawn, tuple) else drawn
        if visit:
            yield (time.perf_counter() - start) / steps


def compared(mine: Iterator[float], peer: Iterator[float], single: Iterator[float]) -> dict:
    """Medians over turns of all three, in turns, and the ratios."""
    turns = []
    for _ in range(TURNS):
        a, b = next(mine), next(peer)
        with threadpool_limits(1):
            turns.append((a, b, next(single)))
    a, b, c = (statistics.median(side) for side in zip(*turns, strict=True))
    return {"ours ms": a * 1e3, "sklearn ms": b * 1e3, "one_thread ms": c * 1e3, "ratio": b / a, "one_thread ratio": c / a}


def gmm() -> dict:
    """N = 1,000, two full components on one 2-D blob, tol 1e-5, at most 2,000 iterations, 64 chains × 20 generations a turn."""
    family = cj.families.GaussianMixture(2, 2, tol=1e-5, iterations=2000)
    experiment = cj.Experiment(BLOB, family, cj.regimes.Replace(), SAMPLES, GENERATIONS + 50)
    peer = lambda: theirs(lambda seed: GaussianMixture(2, tol=1e-5, max_iter=2000, random_state=seed), 20)
    return compared(ours(experiment, 64, 20), peer(), peer())


def kde() -> dict:
    """N = 1,000 in two dimensions, bandwidth ½, 256 chains × 100 generations a turn; moments recorded."""
    family = cj.families.KernelDensity(2, bandwidth=0.5)
    metrics = ("trace_ratio", "mean_sq_error")
    experiment = cj.Experiment(BLOB, family, cj.regimes.Replace(), SAMPLES, GENERATIONS * (TURNS + 1), metrics=metrics)
    peer = lambda: theirs(lambda seed: KernelDensity(bandwidth=0.5), 100)
    return compared(ours(experiment, 256, 100), peer(), peer())


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    cases = {f.__name__: f for f in (gmm, kde)}
    for name in sys.argv[1:] or cases:
        result = {key: round(value, 4) for key, value in cases[name]().items()}
        print(
            json.dumps({"case": name, **result, "devices": len(jax.devices()), "cores": len(os.sched_getaffinity(0))}), flush=True
        )
