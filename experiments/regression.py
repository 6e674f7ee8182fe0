"""Linear regression chains: replace against accumulate, with new and with reused inputs, and with a ridge.

Claim (Dohmatob et al. 2402.07712; Gerstgrasser et al. 2404.01413; Kazdan et al. 2410.16713): under replace the excess error grows
by σ² d/(T - d - 1) every generation; under accumulate it stays below π²/6 of its first value; a ridge trades that variance for
bias, so that the best one grows with the number of generations (adaptive: chosen by cross-validation on what is at hand).
Command: collapse run experiments/regression.py --chains 1024
Hardware and time: 2 CPU cores (AMD EPYC), 38 s on a busy machine with a cold compile cache.
Expect excess_risk at σ² = 1, generations 0, 10, 99 (theory .256, 2.82, 25.6 under replace): replace .267 2.80 25.5; accumulate .267 .391
.405; with inputs reused .267 2.78 24.7 and .267 .409 .426; replace with ridge 0.1 .213 1.37 1.91, adaptive ridge .225 1.05
1.04, which is the risk of predicting nothing.
"""

import collapse_jax as cj
from collapse_jax.cli import script


def main(
    variances: tuple[float, ...] = (0.1, 1.0, 10.0), dim: int = 10, samples: int = 50, generations: int = 99
) -> list[cj.Experiment]:
    """Linear regression chains: replace against accumulate, with new and with reused inputs, and with a ridge.

    Args:
        variances: Variances σ² of the labels' noise.
        dim: Features d.
        samples: Samples T a generation.
        generations: Synthetic generations.
    """
    plain = cj.families.LinearRegression(dim)
    reused = cj.families.LinearRegression(dim, reuse_inputs=True)
    arms = {
        "replace": (plain, cj.regimes.Replace()),
        "accumulate": (plain, cj.regimes.Accumulate()),
        "replace, inputs reused": (reused, cj.regimes.Replace()),
        "accumulate, inputs reused": (reused, cj.regimes.Accumulate()),
        "replace, ridge 0.1": (cj.families.LinearRegression(dim, ridge=0.1), cj.regimes.Replace()),
        "replace, adaptive ridge": (cj.families.LinearRegression(dim, adaptive=True), cj.regimes.Replace()),
    }
    return [
        cj.Experiment(cj.sources.LinearTask(dim, noise=v**0.5), family, regime, samples, generations, label=f"σ² = {v:g}, {name}")
        for v in variances
        for name, (family, regime) in arms.items()
    ]


if __name__ == "__main__":
    script(main)
