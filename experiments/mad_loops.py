"""Model autophagy: three loops of data, each with honest and with biased sampling, for Gaussians and mixtures.

Claim (Alemohammad et al. 2307.01850): the fully synthetic loop loses variety or quality; a fixed real set only delays it; enough
fresh real data stops it. Sampling bias λ < 1 buys quality for variety: E Σ_t = λ^t Σ_0 in the fully synthetic loop, and a limit
in the fresh data loop (theory.shares).
Command: collapse run experiments/mad_loops.py --chains 200
Hardware and time: 2 CPU cores (AMD EPYC), 47 s on a busy machine with a cold compile cache.
Expect trace_ratio at generation 40 for λ = 1, .9, .8: Gaussian, fully synthetic 1.03, .0152, .0001 (λ^40: 1, .0148, .00013), augmented by
one real set 1.00, .91, .84, fresh real 1.01, .91, .84 (exact recursion of theory.shares); mixture, fully synthetic .84, .78, .78.
"""

from typing import Literal

import collapse_jax as cj
from collapse_jax.cli import script


def main(
    model: Literal["gaussian", "mixture", "both"] = "both",
    biases: tuple[float, ...] = (1.0, 0.9, 0.8),
    samples: int = 200,
    real: int = 200,
    generations: int = 40,
) -> list[cj.Experiment]:
    """Model autophagy: three loops of data, each with honest and with biased sampling.

    Args:
        model: Two-dimensional Gaussians, mixtures on eight Gaussians, or both.
        biases: Sampling biases λ.
        samples: Synthetic samples a generation.
        real: Real samples a generation beside them: always the same (augmentation) or new ones (fresh data).
        generations: Synthetic generations.
    """
    share = real / max(real + samples, 1)
    families = {
        "gaussian": (cj.sources.Normal(2), cj.families.Gaussian(2)),
        "mixture": (cj.sources.EightGaussians(std=0.3), cj.families.GaussianMixture(8, 2, "full", tol=1e-4)),
    }
    # A training set of real + samples, of which `real` are the first set's own; generation 0 has as many, all of them real.
    loops = {
        "fully synthetic": (cj.regimes.Replace(), samples),
        "augmented by one real set": (cj.regimes.Mix(1 - share, 0.0, share, kept="fixed"), samples + real),
        "fresh real": (cj.regimes.Fresh(real), samples),
    }
    return [
        cj.Experiment(
            source,
            family,
            regime,
            size,
            generations,
            decoding=cj.decoding.SamplingBias(lam),
            metrics=["trace_ratio", "mean_sq_error", "log_det_ratio"] if name == "gaussian" else ["trace_ratio", "l2_sq", "nll"],
            label=f"{name}, {loop}, λ = {lam:g}",
        )
        for name, (source, family) in families.items()
        if model in (name, "both")
        for loop, (regime, size) in loops.items()
        for lam in biases
    ]


if __name__ == "__main__":
    script(main)
