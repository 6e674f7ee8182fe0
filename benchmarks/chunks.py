"""How many chains to vmap together: chain-generations a second by chunk, from which `Family.chunk` was chosen. python benchmarks/chunks.py"""

import json

import jax
from visits import Visits

import collapse_jax as cj
from collapse_jax.engine.work import Settings, Work

r, f, s = cj.regimes, cj.families, cj.sources
CHUNKS = (1, 4, 16, 64, 256)


def gaussian(samples: int, statistics: bool, dim: int = 1) -> cj.Experiment:
    return cj.Experiment(s.Normal(dim), f.Gaussian(dim, statistics=statistics), r.Replace(), samples, 1000)


def discrete(states: int, samples: int) -> cj.Experiment:
    return cj.Experiment(s.Zipf(states), f.Discrete(states), r.Replace(), samples, 1000)


CASES = {
    "gaussian, statistics": (gaussian(100, True), 2048, CHUNKS),
    "gaussian, 10 samples": (gaussian(10, False), 2048, CHUNKS),
    "gaussian, 100 samples": (gaussian(100, False), 2048, CHUNKS),
    "gaussian, 1,000 samples": (gaussian(1000, False), 512, CHUNKS),
    "gaussian, 100 samples of 10 dimensions (LAPACK: never vmapped on CPUs)": (gaussian(100, False, 10), 512, (1, 16)),
    "discrete, 1,000 states, 1,000 samples": (discrete(1000, 1000), 512, CHUNKS),
    "discrete, 1,000 states, 10,000 samples": (discrete(1000, 10_000), 256, CHUNKS),
    "discrete, 100 states, 100,000 samples as counts": (discrete(100, 100_000), 512, CHUNKS),
}


def rate(experiment: cj.Experiment, chains: int, chunk: int) -> float:
    """Chain-generations a second over all devices, compilation apart: the best of three visits of about a third of a second."""
    visit, steps, best = Visits(experiment, chains, 400, chunk), 2, 0.0
    for _ in range(5):
        seconds, _ = visit(steps)
        best = max(best, steps * chains / seconds)
        steps = int(max(2, min(400, steps * 0.33 / seconds)))
    return best


if __name__ == "__main__":
    for name, (experiment, chains, chunks) in CASES.items():
        rates = {chunk: round(rate(experiment, chains, chunk)) for chunk in chunks}
        chosen = Work([experiment], Settings(chains), jax.devices()).chunk(cj.resolve(experiment))
        print(json.dumps({"case": name, "chains": chains, "by chunk": rates, "family's": chosen}), flush=True)
