"""Linear regression chains against a NumPy loop, side by side in one process: python benchmarks/regression.py

d = 10, T = 50, 100 generations under replace and under accumulate; alternating rounds, medians, one line of JSON. Ours is the
engine's program of many chains on all devices, compilation apart, for what a chain of it keeps: the fits alone ("refits"), X'X and
X'y ("gram"), the samples themselves ("samples"); under accumulate X'X and X'y. Generation 0, which all arms share, is made
beforehand by the engine, once: its time stands apart and, for the fits, in a ratio of its own.
"""

import json
import os
import statistics
import time

import jax
import numpy as np
from visits import Visits

import collapse_jax as cj

REPLACE = cj.regimes.Replace()
DIM, SAMPLES, GENERATIONS, ROUNDS, LOOPS = 10, 50, 100, 5, 50


def numpy_chain(rng: np.random.Generator, accumulate: bool = False) -> list[float]:
    """One chain as a plain loop: draw X and labels, np.linalg.lstsq on the new or on all of them; the excess of every fit."""
    truth = np.full(DIM, 1 / np.sqrt(DIM))
    weights, excess = truth, []
    data = np.empty((SAMPLES * GENERATIONS, DIM + 1))
    for t in range(GENERATIONS):
        x = rng.normal(size=(SAMPLES, DIM))
        y = x @ weights + rng.normal(size=SAMPLES)
        if accumulate:
            data[t * SAMPLES : (t + 1) * SAMPLES, :DIM], data[t * SAMPLES : (t + 1) * SAMPLES, DIM] = x, y
            x, y = data[: (t + 1) * SAMPLES, :DIM], data[: (t + 1) * SAMPLES, DIM]
        weights = np.linalg.lstsq(x, y, rcond=None)[0]
        excess.append(float(np.sum((weights - truth) ** 2)))
    return excess


def numpy_loop(rng: np.random.Generator, loops: int = LOOPS, accumulate: bool = False) -> float:
    """Seconds a chain."""
    start = time.perf_counter()
    for _ in range(loops):
        numpy_chain(rng, accumulate)
    return (time.perf_counter() - start) / loops


class Ours:
    """The engine's program for `chains` chains; every visit goes GENERATIONS further."""

    def __init__(self, chains: int, regime: cj.regimes.Regime = REPLACE, **fields):
        family = cj.families.LinearRegression(DIM, **fields)
        source, visits = cj.sources.LinearTask(DIM, noise=1.0), ROUNDS + 1
        experiment = cj.Experiment(source, family, regime, SAMPLES, visits * GENERATIONS, metrics=["excess_risk"])
        self.visits = Visits(experiment, chains, GENERATIONS)
        self.visit()

    def visit(self) -> float:
        """Seconds a chain."""
        return self.visits(GENERATIONS)[0] / self.visits.chains

    def founding(self) -> float:
        """Seconds a chain for its real data and generation 0."""
        work = self.visits.work
        work.founded.clear()
        start = time.perf_counter()
        jax.block_until_ready(work.foundation(0))
        return (time.perf_counter() - start) / self.visits.chains


def main() -> dict:
    """Median microseconds a chain of both sides, and NumPy's over ours, round by round."""
    rng = np.random.default_rng(0)
    numpy_loop(rng)
    sides = {"refits": Ours(16_384), "gram": Ours(2048, refits=False), "samples": Ours(2048, statistics=False)}
    rounds = [(numpy_loop(rng), {name: side.visit() for name, side in sides.items()}) for _ in range(ROUNDS)]
    micro = lambda values: round(1e6 * statistics.median(values), 2)
    grown = Ours(2048, cj.regimes.Accumulate())
    pairs = [(numpy_loop(rng, 2, True), grown.visit()) for _ in range(ROUNDS)]
    founding = statistics.median(sides["refits"].founding() for _ in range(3))
    return {
        "numpy us": micro([peer for peer, _ in rounds]),
        **{f"{name} us": micro([ours[name] for _, ours in rounds]) for name in sides},
        **{f"{name} ratio": round(statistics.median([peer / ours[name] for peer, ours in rounds]), 1) for name in sides},
        "accumulate numpy us": micro([peer for peer, _ in pairs]),
        "accumulate us": micro([mine for _, mine in pairs]),
        "accumulate ratio": round(statistics.median([peer / mine for peer, mine in pairs]), 1),
        "generation 0 us": micro([founding]),
        "refits ratio with generation 0": round(
            statistics.median([peer / (ours["refits"] + founding) for peer, ours in rounds]), 1
        ),
    }


if __name__ == "__main__":
    case = {"case": "regression", "dim": DIM, "samples": SAMPLES, "generations": GENERATIONS}
    print(json.dumps(case | main() | {"devices": len(jax.devices()), "cores": len(os.sched_getaffinity(0))}))
