"""The Collapse or Thrive Gaussian grid as straightforward NumPy: sampling and np.cov on a growing array, one process."""

import json
import sys
import time

import numpy as np

DIMS, SAMPLES, GENERATIONS = (1, 3, 10, 31, 100), (10, 32, 100, 316, 1000), 100


def one(dim: int, n: int, accumulate: bool, seed: int) -> list[tuple[float, ...]]:
    """One run of 100 iterations: (trace ratio, log variance, log det ratio, squared error of the mean) of every fit."""
    random = np.random.RandomState(seed)
    data = random.normal(size=(n, dim))
    records = []
    for _ in range(GENERATIONS):
        mean = data.mean(axis=0)
        covariance = np.atleast_2d(np.cov(data, rowvar=False, ddof=0))
        trace = np.trace(covariance) / dim
        with np.errstate(divide="ignore"):
            records.append((trace, np.log(trace), np.linalg.slogdet(covariance)[1], float(mean @ mean)))
        new = random.multivariate_normal(mean, covariance, n, check_valid="ignore")
        data = np.concatenate([data, new]) if accumulate else new
    return records


def main(seeds: int) -> None:
    """Time `seeds` seeds of all 50 cells; the grid has 100."""
    start = time.perf_counter()
    for seed in range(seeds):
        for dim in DIMS:
            for n in SAMPLES:
                for accumulate in (False, True):
                    one(dim, n, accumulate, seed)
    seconds = time.perf_counter() - start
    print(json.dumps({"seeds": seeds, "seconds": seconds, "seconds_for_100_seeds": seconds * 100 / seeds}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
