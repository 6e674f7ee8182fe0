"""Discrete chains over Zipf's law: rare states vanish first.

Claim: under replace the support shrinks as Suresh et al. (2412.17646) bound it; accumulate keeps it.
Command: collapse run experiments/discrete.py --chains 200
Hardware and time: 2 CPU cores (AMD EPYC), 12 s with a cold compile cache.
Expect (K = M = 1000, exponent 1): support 334 of 1,000 at generation 0; at generation 50 28.5 under replace, 334 under
accumulate, 159 with a tenth of the first real set drawn anew.
"""

import collapse_jax as cj
from collapse_jax.cli import script


def main(states: int = 1000, exponent: float = 1.0, samples: int = 1000, generations: int = 50) -> list[cj.Experiment]:
    """Discrete chains over Zipf's law: rare states vanish first.

    Args:
        states: Number of states K.
        exponent: Of Zipf's law.
        samples: Size M of each generation's data set.
        generations: Synthetic generations.
    """
    base = cj.Experiment(
        source=cj.sources.Zipf(states, exponent),
        family=cj.families.Discrete(states),
        regime=cj.regimes.Replace(),
        samples=samples,
        generations=generations,
    )
    return cj.grid(base, regime=[cj.regimes.Replace(), cj.regimes.Accumulate(), cj.regimes.Mix(0.9, 0.0, 0.1, kept="redrawn")])


if __name__ == "__main__":
    script(main)
