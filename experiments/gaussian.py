"""Gaussian chains under six regimes, against theory.

Claim: replace loses its variance (median exp(-n/(M-1))), accumulate and real data stop the loss (Shumailov et al. 2024).
Command: collapse run experiments/gaussian.py --chains 1024
Hardware and time: 2 CPU cores, under a minute.
Expect: median trace_ratio of replace near 0.36 at generation 100 (M = 100); accumulate near 1.
"""

import collapse_jax as cj
from collapse_jax.cli import script


def main(samples: int = 100, generations: int = 100, dim: int = 1, estimator: str = "unbiased") -> list[cj.Experiment]:
    """Gaussian chains under six regimes, against theory.

    Args:
        samples: Size M of each generation's data set.
        generations: Synthetic generations.
        dim: Dimensions.
        estimator: unbiased or mle.
    """
    base = cj.Experiment(
        source=cj.sources.Normal(dim),
        family=cj.families.Gaussian(dim, estimator),
        regime=cj.regimes.Replace(),
        samples=samples,
        generations=generations,
    )
    return cj.grid(
        base,
        regime=[
            cj.regimes.Replace(),
            cj.regimes.Accumulate(),
            cj.regimes.AccumulateSubsample(),
            cj.regimes.Mix(0.9, 0.0, 0.1, kept="fresh"),
            cj.regimes.Fresh(max(1, samples // 10)),
            cj.regimes.Weighted(0.618),
        ],
    )


if __name__ == "__main__":
    script(main)
