"""Discrete chains, K = M = 1,000 equally likely states, until one is left, against a NumPy loop: python benchmarks/absorption.py

Both sides in one process, in turn; ours is the engine's programs on all CPU devices (engine.absorption), compilation apart. Chains
differ in length, so that both are compared by the fit; milliseconds a chain are for the mean of all our chains.
"""

import json
import os
import time

import jax
import numpy as np

import collapse_jax as cj
from collapse_jax.engine.absorption import Absorption

STATES = SAMPLES = 1000
CHAINS, LOOPS, TURNS = 32_768, 50, 3


def numpy_loop(rng: np.random.Generator) -> float:
    """Seconds a fit: draw, divide, until one state has everything."""
    start, fits = time.perf_counter(), 0
    for _ in range(LOOPS):
        p = np.full(STATES, 1 / STATES)
        while p.max() < 1:
            p = rng.multinomial(SAMPLES, p) / SAMPLES
            fits += 1
    return (time.perf_counter() - start) / fits


def main() -> None:
    """Three turns of each side; the ratio of the medians, and of every turn."""
    e = cj.Experiment(cj.sources.Zipf(STATES, 0.0), cj.families.Discrete(STATES), cj.regimes.Replace(), SAMPLES, 0)
    chains, rng, turns, lengths = Absorption(e, CHAINS), np.random.default_rng(0), [], []
    chains.fits(0)
    for seed in range(1, TURNS + 1):
        peer, start = numpy_loop(rng), time.perf_counter()
        lengths.append(chains.fits(seed))
        turns.append((peer, (time.perf_counter() - start) / lengths[-1].sum()))
    (peer, ours), mean = np.median(turns, axis=0), np.mean(lengths)
    result = {"case": "absorption", "chains": CHAINS, "fits a chain": round(float(mean), 1)}
    result |= {"numpy ms a chain": round(1e3 * peer * mean, 2), "ours ms a chain": round(1e3 * ours * mean, 3)}
    result |= {"ratio": round(peer / ours, 1), "by turn": [round(a / b, 1) for a, b in turns]}
    print(json.dumps(result | {"devices": len(jax.devices()), "cores": len(os.sched_getaffinity(0))}))


if __name__ == "__main__":
    main()
