"""How fast words vanish: Zipf–Mandelbrot chains of single states and of bigram language models, at Suresh et al.'s settings.

Claim (Suresh et al. 2412.17646): with M samples a generation, state i survives k fits with probability at least
1 - exp(-M p_i g_k), g_1 = 1, g_(k+1) = 1 - exp(-g_k), tightly: the support falls like Σ of these. Maximum-likelihood bigrams
lose their contexts' words in the same way.
Command: collapse run experiments/ngram_rates.py --chains 200
Hardware and time: 2 CPU cores (AMD EPYC), 17 s with a cold compile cache.
Expect, support at generations 0, 10, 50: states (1, 2.7) 390.6, 108.8, 33.1 (bound 390.0, 107.9, 32.7), states (2, 5) 121.7, 46.4,
20.1 (bound 121.0, 46.1, 19.9); bigrams (1, 2.7) 881.9, 156.9, 42.8; with 0.01 added to every count it stays at 368 for ever,
of which most is noise: perplexity 394 → 722.
"""

import collapse_jax as cj
from collapse_jax.cli import script


def main(
    states: int = 1000, samples: int = 1000, generations: int = 50, vocabulary: int = 100, block: int = 20
) -> list[cj.Experiment]:
    """How fast words vanish: Zipf–Mandelbrot chains of single states and of bigram language models.

    Args:
        states: States of the discrete chains (published: 1,000).
        samples: Samples a generation, and tokens a generation of the bigram models (published: 1,000).
        generations: Synthetic generations.
        vocabulary: Of the bigram models' language.
        block: Tokens of a block of that language.
    """
    grid = []
    for a, b in ((1.0, 2.7), (2.0, 5.0)):
        law = cj.sources.ZipfMandelbrot(a, b, states)
        base = cj.Experiment(law, cj.families.Discrete(states), cj.regimes.Replace(), samples, generations)
        language = cj.sources.ZipfLanguage(vocabulary, block, a, b)
        bigrams = cj.varied(base, source=language, family=cj.families.NGram(2, vocabulary), samples=samples // max(block, 1))
        smoothed = cj.varied(bigrams, **{"family.smoothing": cj.families.AddK(0.01)})
        for name, cell in {"states": base, "bigrams": bigrams, "bigrams, add 0.01": smoothed}.items():
            grid.append(cj.varied(cell, label=f"{name} ({a:g}, {b:g})"))
    return grid


if __name__ == "__main__":
    script(main)
