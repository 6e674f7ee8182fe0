"""Nature 2024's one-dimensional Gaussians at the official settings: four sample sizes, 1,000 generations, two regimes.

Claim (Shumailov et al. 2024, and Gerstgrasser et al. 2024 for the second regime): under replace the variance dies out at a rate
of 1/M a generation while the mean wanders; under accumulate both stay. Maximum likelihood: E σ² = (1 - 1/M)^(t+1) under replace,
sin(π/√M)/(π/√M) in the limit of accumulate.
Command: collapse run experiments/gaussian_nature.py --chains 1024
Hardware and time: 2 CPU cores (AMD EPYC), 35 s on a busy machine with a cold compile cache.
Expect at generation 999, E σ² with its standard error (theory in brackets): replace M = 500 .127 ± .019 (.135), 1,000 .358 ± .026
(.368), 10,000 .905 ± .013 (.905); M = 100 has died out: median 1.8e-9 (1.7e-9). Accumulate: .983 ± .006 (.984) at M = 100,
.9997 (.9998) at 10,000.
"""

import collapse_jax as cj
from collapse_jax.cli import script


def main(samples: tuple[int, ...] = (100, 500, 1000, 10_000), generations: int = 999) -> list[cj.Experiment]:
    """Nature 2024's one-dimensional Gaussians at the official settings.

    Args:
        samples: Samples per generation.
        generations: Synthetic generations; 999 make 1,000 fits.
    """
    base = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1, "mle"), cj.regimes.Replace(), 1, generations)
    return cj.grid(base, samples=samples, regime=[cj.regimes.Replace(), cj.regimes.Accumulate()])


if __name__ == "__main__":
    script(main)
