"""How text is drawn against which data are kept: beam search and greedy text loops, honest sampling drifts to noise.

Claim: with deterministic decoding diversity is lost and loops appear; with ancestral sampling distinct-2 rises instead while perplexity
on real text grows all the same; 10 % of original data slows both (Herel & Mikolov 2404.02305, Marchi et al. 2404.02325 on temperature).
Command: collapse run experiments/lm_decoding.py --chains 6
Seen at tiny scale (6 chains, 2 cores, 12 min; rise of perplexity from 28.2 over 5 generations, with 10 % original data; distinct-2): beam 5
19.0, 7.1, .092 -> .013; greedy 17.7, 10.3, .107 -> .017; top-k 50 7.2, 4.5, .498 -> .340; temperature 1 3.8, 2.2, .564 -> .534: restarting from
a base, honest sampling loses least and its distinct-2 falls a little; it rises where models are trained from scratch (the demo).
"""

from lm_base import Scale, check, conclusion, protocol, protocol_family, with_original  # noqa: F401

import collapse_jax as cj
from collapse_jax.cli import script

DECODING = {
    "beam 5": cj.decoding.Beam(5),
    "greedy": cj.decoding.Greedy(),
    "top-k 50": cj.decoding.Ancestral(top_k=50),
    "temperature 1": cj.decoding.Ancestral(),
}


def main(
    scale: Scale = "tiny",
    weights: str = "",
    dataset: str = "",
    files: str = "",
    samples: int = 0,
    generations: int = 5,
    epochs: int = 5,
    original: float = 0.1,
) -> list[cj.Experiment]:
    """Ways of decoding against regimes.

    Args:
        scale: tiny: a base pretrained here; small: hours; paper: with --weights.
        weights: Folder (or hub name) of a pretrained OPT, GPT-2 or Llama model.
        dataset: kjv, wikitext2, text_files or a prepared data set (default: kjv; at paper scale wikitext2).
        files: The data set's folder, zip or file.
        samples: Blocks a generation, at least 128 (0: the scale's; at paper scale all).
        generations: Synthetic generations.
        epochs: Passes of a fit.
        original: Share of original data in the second regime.
    """
    check(dataset, files, samples, scale, share=original, generations=generations, epochs=epochs)
    family = protocol_family(scale, weights, epochs)
    base = protocol(family, scale, dataset, files, samples, generations)
    regimes = {
        "": cj.regimes.Replace(),
        f", {original:.0%} original": with_original(original),
    }
    return [
        cj.varied(base, decoding=rule, regime=regime, label=name + more)
        for name, rule in DECODING.items()
        for more, regime in regimes.items()
    ]


if __name__ == "__main__":
    script(main)
