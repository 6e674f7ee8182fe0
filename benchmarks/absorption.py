"""Discrete chains, K = M = 1,000 equally likely states, until one is left, against a NumPy loop: python benchmarks/absorption.py

Both sides in one process, one after the other; ours is the engine's program of many chains on all CPU devices, compilation apart,
visit after visit until every chain is absorbed, so that the fast ones wait for the slowest.
"""

import json
import os
import time

import jax
import numpy as np
from visits import Visits

import collapse_jax as cj

STATES = SAMPLES = 1000
CHAINS, STRIDE, LOOPS = 256, 200, 6


def numpy_loop(rng: np.random.Generator) -> tuple[float, float]:
    """Seconds and fits a chain: draw, divide, until one state has everything."""
    start, fits = time.perf_counter(), 0
    for _ in range(LOOPS):
        p = np.full(STATES, 1 / STATES)
        while p.max() < 1:
            p = rng.multinomial(SAMPLES, p) / SAMPLES
            fits += 1
    return (time.perf_counter() - start) / LOOPS, fits / LOOPS


def ours() -> tuple[float, float]:
    """Seconds a chain, and generations until the slowest is absorbed."""
    family = cj.families.Discrete(STATES)
    e = cj.Experiment(cj.sources.Zipf(STATES, 0.0), family, cj.regimes.Replace(), SAMPLES, 50 * STRIDE, metrics=["support"])
    visit, start = Visits(e, CHAINS, STRIDE), time.perf_counter()
    while True:
        _, records = visit(STRIDE)
        if np.asarray(records["support"])[: visit.plan.used, STRIDE - 1].max() <= 1:
            return (time.perf_counter() - start) / CHAINS, visit.t


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    peer, fits = numpy_loop(rng)
    mine, generations = ours()
    again, _ = numpy_loop(rng)
    numpy_ms = 500 * (peer + again)
    result = {"case": "absorption", "numpy ms a chain": round(numpy_ms, 2), "fits": fits, "ours ms a chain": round(1e3 * mine, 2)}
    result |= {"generations": generations, "ratio": round(numpy_ms / (1e3 * mine), 2)}
    print(json.dumps(result | {"devices": len(jax.devices()), "cores": len(os.sched_getaffinity(0))}))
